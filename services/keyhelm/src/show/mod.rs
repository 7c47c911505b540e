//! What people look at.

pub mod colour;
pub mod compare;
pub mod differences;
pub mod explanation;
pub mod instances;
pub mod manifest;
pub mod manifest_changes;
pub mod progress;
pub mod receipts;
pub mod recover;
pub mod rotations;
pub mod table;
pub mod time;
pub mod units;
pub mod visible;
