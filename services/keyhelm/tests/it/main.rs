//! The command line: its pure parts, and its screens against the binary.

#![allow(clippy::unwrap_used)]

mod between;
mod binary;
mod bulk;
mod cluster;
mod context_file;
mod database_rights;
mod dishonest;
mod endings;
mod explaining;
mod holders;
mod holds;
mod import_file;
mod manifests;
mod orders;
mod parsing;
mod receipts;
mod recover;
mod runbook;
mod screens;
mod setup;
mod sigkeys;
mod sse;
mod unreachable;
mod watch;
mod with_cluster;
