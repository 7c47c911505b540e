//! The HTTP door in front of a real cluster, over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod bursts;
mod client;
mod cluster;
mod lifecycle;
mod lists;
mod log;
mod lost;
mod own;
mod refusals;
mod roles;
mod rotation;
