//! The Compose cluster, started from nothing, looked into and broken, for tests: containers of the
//! real images under the file that users have.
//!
//! Needs a Docker engine, Compose, and `KEYHELM_TEST_COMPOSE_ENV`: the file of variables that
//! `scripts/images/local` writes.

pub mod compose;
pub mod draw;
pub mod gateway;
pub mod shell;
pub mod traces;

pub use compose::Stack;
pub use draw::Draw;
pub use gateway::Gateway;
pub use shell::Shell;
