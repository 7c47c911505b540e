//! The rules of the lease, pure: who may take it, and who may write. The stores apply them to the
//! one row of the lease, inside transactions that hold it.
//!
//! The number rises with each lease that is given and is what fences: a holder whose time is over
//! may write until somebody else has taken the lease, as a taker waits for transactions in flight.
//! Whether a lease is over is judged by the store's clock alone, never by a coordinator's: two
//! coordinators whose clocks differ would otherwise both believe that they hold it.

use protocol::ProcessId;

use super::RecordsError;

/// Longest lease: for so long a coordinator that has died without a word may hold up the others.
pub const MAX_LEASE_MS: u64 = 10 * 60 * 1000;

/// What came of asking for the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours, under this number: one more than the lease before it, whoever held that.
    Ours(u64),
    /// Somebody else holds it.
    Theirs {
        /// Who.
        holder: ProcessId,
        /// For how long, in milliseconds, if it is not renewed.
        remaining_ms: u64,
    },
}

/// A lease as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) number: u64,
    pub(super) holder: ProcessId,
    pub(super) ttl_ms: u64,
}

/// The lease as saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRow {
    /// 0 before the first lease.
    pub(super) number: u64,
    /// None before the first lease, and after a release.
    pub(super) holder: Option<ProcessId>,
    /// 0 once it is over.
    pub(super) remaining_ms: u64,
}

impl LeaseRow {
    /// Who keeps `who` from taking the lease. Its own lease keeps nobody: a process that was
    /// started again takes it at once, since its folder is locked by one process at a time.
    pub(super) fn held_against(&self, who: ProcessId) -> Option<Acquired> {
        let holder = self.holder.filter(|holder| *holder != who && self.remaining_ms > 0)?;
        Some(Acquired::Theirs { holder, remaining_ms: self.remaining_ms })
    }

    /// Whether a handle may write. A handle that has never acquired a lease (a tool, a test) may
    /// as long as nobody holds one.
    ///
    /// The holder is compared too: a database restored from a backup gives a number again.
    pub(super) fn check(&self, held: Option<Lease>) -> Result<(), RecordsError> {
        let is_allowed = match held {
            Some(held) => self.number == held.number && self.holder == Some(held.holder),
            None => self.holder.is_none() || self.remaining_ms == 0,
        };
        match is_allowed {
            true => Ok(()),
            false => Err(self.fenced(held)),
        }
    }

    /// The refusal that names both leases.
    pub(super) fn fenced(&self, held: Option<Lease>) -> RecordsError {
        let ours = held.map(|held| held.number);
        RecordsError::Fenced { ours, newest: self.number, holder: self.holder }
    }
}
