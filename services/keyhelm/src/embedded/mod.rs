//! A whole cluster in one process: the same services over the in-memory bus and SQLite.

pub mod cluster;
pub mod demo;
pub mod dev;
pub mod founding;
pub mod proof;
