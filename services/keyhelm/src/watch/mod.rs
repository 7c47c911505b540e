//! The live screen of `keyhelm watch`: an instance and its rotation, as the coordinator tells them.
//!
//! What is known is a pure function of what came in ([`model`]), and what is shown is a pure function
//! of what is known ([`screen`]). [`feed`] asks the coordinator, [`terminal`] holds the terminal, and
//! the verb joins them. Deliberately absent: anything that changes an instance.

pub mod board;
pub mod connection;
pub mod feed;
pub mod input;
pub mod journal;
pub mod model;
pub mod news;
pub mod pace;
pub mod screen;
pub mod terminal;
