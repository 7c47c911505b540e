//! What goes over the wire, and nothing else: ids, the signed documents (manifest, order, standing
//! order), the envelope, commands, reports, page messages, queue names, the codec, and the JSON of
//! the coordinator's HTTP interface.
//!
//! Deliberately absent: ciphers and signatures (`crypto`), decisions (`machines`), I/O (`bus`), and
//! any secret in the clear. Every type here may be logged.

pub mod api;
pub mod audit;
pub mod certificate;
pub mod codec;
pub mod codes;
pub mod command;
pub mod envelope;
pub mod ids;
pub mod key_api;
pub mod keystore;
pub mod manifest;
pub mod order;
pub mod page;
pub mod receipt;
pub mod report;
pub mod request;
pub mod rows;
pub mod session;
pub mod topology;

pub use envelope::{Envelope, Header, Kind, Recipient};
pub use ids::*;
pub use rows::{Blobs, RowRef, Rows};
