//! The documentation of metrics is what the code says, and places in traces are what W3C says.

#![allow(clippy::unwrap_used)]

mod monitoring;
mod trace;
