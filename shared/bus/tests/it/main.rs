//! What any bus must do, run over the in-memory one and over a real RabbitMQ; and the driver loop.
#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;
mod driver;
mod outages;
mod relay;

use bus::{AmqpBus, Bus, MemoryBus, Topology};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_bus_conforms() {
    conformance::all(&Bus::Memory(MemoryBus::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_conforms() {
    let Some(url) = broker() else { return };
    let bus = AmqpBus::connect(&url, "conformance", None, Topology::Made).await.unwrap();
    conformance::all(&Bus::Amqp(bus)).await;
}

/// Where the tests' RabbitMQ is; none if there is none, and nobody requires one.
fn broker() -> Option<String> {
    let url = std::env::var("KEYHELM_TEST_AMQP_URL").ok();
    if url.is_none() {
        let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
        assert!(!required.contains("amqp"), "KEYHELM_TEST_AMQP_URL is required");
        println!("NOT RUN: RabbitMQ (KEYHELM_TEST_AMQP_URL unset)");
    }
    url
}
