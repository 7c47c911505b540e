//! What people look at.

pub mod compare;
pub mod progress;
pub mod time;
