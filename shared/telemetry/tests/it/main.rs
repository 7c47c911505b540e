//! The documentation of metrics is what the code says, what callers choose names none, and places in
//! traces are what W3C says.

#![allow(clippy::unwrap_used)]

mod metric;
mod monitoring;
mod trace;
