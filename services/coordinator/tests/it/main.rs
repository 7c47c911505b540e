//! The coordinator's doors, over a whole cluster in this process: real units, a real reencryptor
//! with SQLite, the in-memory bus, and a real HTTP server on a loopback port.
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod api;
mod cluster;
mod console;
mod events;
mod explaining;
mod founding;
mod holds;
mod metrics;
mod queue;
mod receipts;
mod recovering;
mod refusals;
mod restart;
mod rotations;
mod schemas;
mod seeing;
