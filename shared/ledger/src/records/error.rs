//! Why the coordinator's store did not do what it was asked.

use protocol::ProcessId;

/// Why the store did not do what it was asked. Nothing was written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The URL of the store. It is not repeated: it may hold a password.
    #[error(
        "the URL of the coordinator's database is not understood ({0}): give sqlite:PATH or \
         postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded"
    )]
    Url(&'static str),
    /// The database, in its own words.
    #[error("coordinator's database: {0}")]
    Database(String),
    /// Something in it cannot be read.
    #[error("coordinator's database holds a {what} that cannot be read: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The audit log has been changed; the first entry that is not as it was written.
    #[error("the audit log is broken at entry {0}: it was changed or removed after it was written")]
    AuditBroken(u64),
    /// The lease is not this handle's: it stops acting and acquires the lease anew.
    #[error("{}: nothing was written; stop acting and acquire the lease anew", fenced(.ours, .newest, .holder))]
    Fenced {
        /// Number of the lease that this handle acquired, if it ever did.
        ours: Option<u64>,
        /// Number of the newest lease.
        newest: u64,
        /// Who holds the newest lease; nobody once it is released.
        holder: Option<ProcessId>,
    },
    /// A second rotation beside one that has not ended.
    #[error("another rotation of this instance has not ended: nothing was written")]
    AnotherOpen,
    /// What is decided cannot be undecided or aborted, and the other way round, but under a newer
    /// manifest while the rotation runs.
    #[error("a verdict is never taken back: nothing was written")]
    VerdictStands,
}

fn fenced(ours: &Option<u64>, newest: &u64, holder: &Option<ProcessId>) -> String {
    match (ours, holder) {
        (Some(ours), Some(holder)) => {
            format!("lease {ours} is over: process {holder} holds lease {newest}")
        }
        (Some(ours), None) => format!("lease {ours} is over and nobody holds a newer one"),
        (None, Some(holder)) => {
            format!("process {holder} holds lease {newest} and this one has acquired none")
        }
        (None, None) => "no lease has been acquired".to_owned(),
    }
}
