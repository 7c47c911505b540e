//! The decisions of keyhelm, pure: no tokio, broker, SQL, clock or randomness of the system.
//! Time and randomness are arguments; what shall be saved and sent is returned as data.
//!
//! - [`unit`]: one crypto unit, its registers and how it answers each command.
//! - [`rotation`]: the coordinator's brain: what is still lacking, and what to ask next.
//! - [`conductor`]: a coordinator for one instance: surveys, precheck, the one rotation.
//! - [`rewrap`]: the reencryptor's brain: which pages are out, when a generation is complete.
//! - [`gate`]: the rules of the keystore row, used inside its transactions.
//! - [`explain`]: what goes on, what is safe, and the one next command.
//! - [`trust`], [`envelope`], [`leave`], [`certificate`]: who may say what.
//! - [`receipt`]: whether a rotation's receipt holds, for whoever has the manifests.

pub mod amendment;
pub mod certificate;
pub mod conductor;
pub mod envelope;
pub mod explain;
pub mod gate;
pub mod hold_end;
pub mod leave;
pub mod receipt;
pub mod rotation;
pub mod trust;
pub mod unit;

pub mod rewrap;
