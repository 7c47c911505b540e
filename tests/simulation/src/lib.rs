//! A seeded world around the shipped machines: a bus that drops, doubles, delays and reorders,
//! nodes that crash before and after a save, a clock per node, key writers and purges whose
//! transactions interleave with a rotation, and a rogue that holds the coordinator's identity.
//! After every event the checkers look at everything; then faults stop and all must converge.
//!
//! The same seed gives the same trace, byte for byte: nothing here reads a clock, the system's
//! randomness or the order of a hash map.

mod administrators;
mod broker;
pub mod checkers;
pub mod clients;
mod converging;
pub mod coordinator;
mod driving;
mod events;
pub mod fault_table;
mod faults;
mod founding;
pub mod quarantine;
mod records;
pub mod reencryptor;
mod requests;
mod restore;
mod rewrapping;
pub mod rogue;
pub mod second_look;
mod set_back;
pub mod store;
pub mod unit;
pub mod world;
mod zombie;

pub use store::Rules;
pub use world::{Config, Outcome, run};
