//! The documentation of metrics is what the code says, and places in traces are what W3C says.

mod monitoring;
mod trace;
