//! Tokens of people and programs (JWT, EdDSA): who they are, what they may do, in which instances.
//! Pure but for reading key files; time is an argument.
//!
//! Deliberately absent: HTTP, and the identities of processes, which are `crypto::identity`'s.

mod claims;
mod issuer;
mod role;
mod verifier;

pub use claims::{AUDIENCE, Claims};
pub use issuer::{Issuer, IssuerError};
pub use role::Role;
pub use verifier::{KeySetError, TokenRefusal, Verifier};
