//! What a process keeps must be there again after any end, and nobody may change it unseen: the
//! sealed folder, and the coordinator's records over SQLite and over a real PostgreSQL.
#![allow(clippy::unwrap_used, missing_docs)]

mod audit;
mod folder;
mod lease;
mod receipts;
mod requests;
mod rotations;
mod schema;
mod setup;
