//! What any bus must do, run over the in-memory one and over a real RabbitMQ; and the driver loop.
#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;
mod driver;

use bus::{AmqpBus, Bus, MemoryBus, Topology};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_bus_conforms() {
    conformance::all(&Bus::Memory(MemoryBus::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_conforms() {
    let Ok(url) = std::env::var("KEYHELM_TEST_AMQP_URL") else {
        let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
        assert!(!required.contains("amqp"), "KEYHELM_TEST_AMQP_URL is required");
        println!("NOT RUN: RabbitMQ (KEYHELM_TEST_AMQP_URL unset)");
        return;
    };
    let bus = AmqpBus::connect(&url, "conformance", None, Topology::Made).await.unwrap();
    conformance::all(&Bus::Amqp(bus)).await;
}
