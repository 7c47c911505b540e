//! The machines by themselves: a hand-made coordinator sends signed commands to real units, and
//! every rule is tried by breaking it alone.
#![allow(clippy::unwrap_used, missing_docs)]

mod aborts;
mod amendments;
mod certificates;
mod ends;
mod envelope;
mod every_state;
mod exchanged;
mod explain;
mod gate;
mod gone_on;
mod hearing;
mod holds;
mod joining;
mod key_checks;
mod manifests;
mod mixed;
mod numbers;
mod pages;
mod precheck;
mod receipts;
mod recover;
mod recovering;
mod recovery;
mod replay;
mod rogues;
mod sealing;
mod second_looks;
mod set_back;
mod starts;
mod state_bytes;
mod transfer;
mod world;
