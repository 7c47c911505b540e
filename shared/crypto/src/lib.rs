//! The only crate that names a cipher: master keys and what is sealed with them, transfers between
//! units, sessions, signatures, sealed files.
//!
//! Secrets live in [`secret::Secret`]: boxed in locked pages, wiped when dropped, never cloned,
//! printed or compared but in constant time. Randomness is always an argument.

pub mod blob;
pub mod data;
pub mod digest;
pub mod domain;
mod hpke_suite;
pub mod identity;
#[allow(unsafe_code)]
mod locked;
pub mod master_key;
pub mod merkle;
pub mod quorum;
pub mod random;
pub mod remembered;
pub mod sealed_state;
pub mod secret;
pub mod session;
pub mod sigkey_file;
mod stack;
pub mod transfer;
mod xchacha;

pub use locked::lock_status;
pub use stack::wiping_stack;

/// Takes bytes over that shall be wiped when they are dropped.
pub fn wiped(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}
