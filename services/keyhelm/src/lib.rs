//! Master-key rotation for a cluster of crypto units, at the command line.

pub mod cli;
pub mod embedded;
pub mod show;
