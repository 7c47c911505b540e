//! The formats: what is written is read again, what is not ours is refused and never a panic, and the
//! bytes do not change by accident.
#![allow(clippy::unwrap_used, missing_docs)]

mod decoders;
mod golden;
mod json;
mod samples;
mod source;
