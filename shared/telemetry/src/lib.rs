//! How a process is looked into: its log, its metrics, its traces. Nothing here knows what a key is;
//! `docs/LOGGING.md` says what is never told.

pub mod log;
pub mod metric;
pub mod trace;
