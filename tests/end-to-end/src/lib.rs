//! A cluster of the real binaries over a real RabbitMQ and PostgreSQL, for tests: each service a
//! process of its own, in a folder of its own, all of it gone at the end.
//!
//! Needs `KEYHELM_TEST_AMQP_URL` and `KEYHELM_TEST_POSTGRES_URL` (`scripts/servers` gives both) and
//! the binaries of `cargo build --release --workspace`.

pub mod cluster;
pub mod counters;
pub mod database;
pub mod keys;
pub mod leaks;
pub mod master_keys;
pub mod memory;
pub mod port;
pub mod process;
pub mod proxy;
pub mod sender;
pub mod tap;

pub use cluster::{Cluster, Flavour};
