//! By whose leave an order is given: signatures, standing orders, and the one look at the clock.

use crypto::{digest, domain, identity};
use protocol::manifest::Manifest;
use protocol::order::{
    Authority, Order, OrderRef, SignedOrder, SignedStandingOrder, StandingOrder,
};
use protocol::{Digest, ProcessId, Role, UnixMillis};

use crate::amendment;
use crate::trust::{Trust, verify_signatures};

/// How far an order's date of issue may lie ahead of a unit's clock.
pub const MAX_CLOCK_SKEW_MS: u64 = 30_000;

/// Why an order is not given by anybody's leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaveRefusal {
    /// Bytes that are no order.
    #[error("the order cannot be read: {0}")]
    Malformed(String),
    /// Of another instance.
    #[error("the order is of another instance")]
    OtherInstance,
    /// Drafted under another manifest.
    #[error("the order names manifest {named}, the newest is {newest}: draft it again")]
    OtherManifest {
        /// Serial named.
        named: u64,
        /// Newest serial.
        newest: u64,
    },
    /// The administrators' signatures do not suffice.
    #[error("the order is not signed: {0}")]
    NotSigned(String),
    /// The standing order's signatures do not suffice.
    #[error("the standing order is not signed: {0}")]
    StandingNotSigned(String),
    /// The standing order is of another instance or manifest, or leaves other holds.
    #[error("the standing order does not cover this order: {0}")]
    NotCovered(String),
    /// The coordinator's signature is not one.
    #[error("the order is not signed by a coordinator of the manifest")]
    NotByCoordinator,
    /// Too late.
    #[error("the order has expired: draft it again")]
    Expired,
    /// Too early.
    #[error("the order is dated in the future: compare the clocks")]
    NotYetIssued,
    /// The standing order has run out.
    #[error("the standing order has ended: sign another with auto-init --standing-order")]
    StandingEnded,
    /// Rotated too recently.
    #[error("the standing order allows one rotation in {interval_s} s: the next in {wait_s} s")]
    TooOften {
        /// D.
        interval_s: u32,
        /// Seconds left.
        wait_s: u64,
    },
    /// Tried too recently.
    #[error("the standing order wants {pause_s} s between two tries: the next in {wait_s} s")]
    TooSoonAfterTry {
        /// The pause.
        pause_s: u32,
        /// Seconds left.
        wait_s: u64,
    },
}

impl LeaveRefusal {
    /// Stable word: what only clocks and manifests differ in has its own.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherManifest { .. } => "other-manifest",
            Self::Expired => "order-expired",
            Self::NotYetIssued => "order-not-yet-issued",
            _ => "no-leave",
        }
    }
}

/// When the unit last did what a standing order limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Last promote, that of initialisation not counted.
    pub last_promoted_at: Option<UnixMillis>,
    /// Last order taken under a standing order.
    pub last_tried_at: Option<UnixMillis>,
}

/// Digest of an order's bytes.
pub fn order_digest(bytes: &[u8]) -> Digest {
    digest::sha256(domain::ORDER, &[bytes])
}

/// Reads an order and names it; says nothing about its leave.
pub fn read(signed: &SignedOrder) -> Result<(Order, OrderRef), LeaveRefusal> {
    let order = signed.unverified().map_err(|error| LeaveRefusal::Malformed(error.to_string()))?;
    let digest = order_digest(&signed.bytes);
    let reference = OrderRef { rotation: order.rotation, number: order.number, digest };
    Ok((order, reference))
}

/// Checks the leave, but no time: for orders that have been taken before.
pub fn verify(signed: &SignedOrder, trust: &Trust) -> Result<(Order, OrderRef), LeaveRefusal> {
    verify_by(signed, trust, manifest_of)
}

/// Checks the leave of an order that is to be remembered as ended, by the manifest that it was
/// drafted under: whoever has taken a later one since must not be left open to a late inspect, and
/// must not keep the abort from its end.
pub fn verify_ended(
    signed: &SignedOrder,
    trust: &Trust,
) -> Result<(Order, OrderRef), LeaveRefusal> {
    verify_by(signed, trust, named_by)
}

fn verify_by(
    signed: &SignedOrder,
    trust: &Trust,
    ruler: fn(&Order, &Trust) -> Result<Manifest, LeaveRefusal>,
) -> Result<(Order, OrderRef), LeaveRefusal> {
    let (order, reference) = read(signed)?;
    if order.instance != trust.instance() {
        return Err(LeaveRefusal::OtherInstance);
    }
    let manifest = ruler(&order, trust)?;
    match &signed.authority {
        Authority::Quorum(signatures) => {
            let threshold = manifest.signature_threshold;
            verify_signatures(&manifest, domain::ORDER, &signed.bytes, signatures, threshold)
                .map_err(LeaveRefusal::NotSigned)?;
        }
        Authority::Standing { standing, coordinator, signature } => {
            let standing = judge_standing(standing, &manifest)?;
            covers(&standing, &order)?;
            let key = manifest
                .member(*coordinator)
                .filter(|member| member.role == Role::Coordinator)
                .map(|member| member.identity)
                .ok_or(LeaveRefusal::NotByCoordinator)?;
            if !identity::verify(&key, domain::ORDER, &signed.bytes, signature) {
                return Err(LeaveRefusal::NotByCoordinator);
            }
        }
    }
    Ok((order, reference))
}

/// The manifest that an order was drafted under: the newest one, or one that has only been amended
/// for this very rotation since.
pub fn manifest_of(order: &Order, trust: &Trust) -> Result<Manifest, LeaveRefusal> {
    let (named, newest) = (order.number.manifest_serial, trust.serial());
    match amendment::only_amends(trust, named, order.rotation) {
        true => named_by(order, trust),
        false => Err(LeaveRefusal::OtherManifest { named, newest }),
    }
}

/// The manifest that an order was drafted under, whatever has followed it.
fn named_by(order: &Order, trust: &Trust) -> Result<Manifest, LeaveRefusal> {
    let (named, newest) = (order.number.manifest_serial, trust.serial());
    trust.manifest_at(named).ok_or(LeaveRefusal::OtherManifest { named, newest })
}

/// Judges time, once, when a unit takes the order.
pub fn judge_time(
    signed: &SignedOrder,
    order: &Order,
    history: History,
    now: UnixMillis,
) -> Result<(), LeaveRefusal> {
    if order.expires_at <= now {
        return Err(LeaveRefusal::Expired);
    }
    if order.issued_at > now.plus_ms(MAX_CLOCK_SKEW_MS) {
        return Err(LeaveRefusal::NotYetIssued);
    }
    let Authority::Standing { standing, .. } = &signed.authority else { return Ok(()) };
    let standing =
        standing.unverified().map_err(|error| LeaveRefusal::Malformed(error.to_string()))?;
    if standing.until <= now {
        return Err(LeaveRefusal::StandingEnded);
    }
    let interval_s = standing.not_more_often_than_s;
    if let Some(wait_s) = seconds_left(history.last_promoted_at, interval_s, now) {
        return Err(LeaveRefusal::TooOften { interval_s, wait_s });
    }
    let pause_s = standing.pause_between_tries_s;
    if let Some(wait_s) = seconds_left(history.last_tried_at, pause_s, now) {
        return Err(LeaveRefusal::TooSoonAfterTry { pause_s, wait_s });
    }
    Ok(())
}

/// Checks the administrators' signatures under a standing order, and its manifest.
pub fn verify_standing(
    signed: &SignedStandingOrder,
    trust: &Trust,
) -> Result<StandingOrder, LeaveRefusal> {
    match trust.newest() {
        Some(newest) => judge_standing(signed, newest),
        None => Err(LeaveRefusal::OtherManifest { named: 0, newest: 0 }),
    }
}

pub(crate) fn judge_standing(
    signed: &SignedStandingOrder,
    manifest: &Manifest,
) -> Result<StandingOrder, LeaveRefusal> {
    let standing =
        signed.unverified().map_err(|error| LeaveRefusal::Malformed(error.to_string()))?;
    if standing.instance != manifest.instance {
        return Err(LeaveRefusal::OtherInstance);
    }
    let (named, newest) = (standing.manifest_serial, manifest.serial);
    if named != newest {
        return Err(LeaveRefusal::OtherManifest { named, newest });
    }
    let threshold = manifest.signature_threshold;
    verify_signatures(
        manifest,
        domain::STANDING_ORDER,
        &signed.bytes,
        &signed.signatures,
        threshold,
    )
    .map_err(LeaveRefusal::StandingNotSigned)?;
    let hold_s = standing.hold_before_clear_s;
    if hold_s > 0 && standing.not_more_often_than_s <= hold_s {
        let reason = "its interval is not above its hold before clear".to_owned();
        return Err(LeaveRefusal::NotCovered(reason));
    }
    Ok(standing)
}

fn covers(standing: &StandingOrder, order: &Order) -> Result<(), LeaveRefusal> {
    let lacking = if order.hold_after_commit_s != standing.hold_after_commit_s
        || order.hold_before_clear_s != standing.hold_before_clear_s
    {
        Some("other holds")
    } else if order.purpose != protocol::order::Purpose::Rotate {
        Some("it leaves rotations only")
    } else if !order.joining.is_empty() {
        Some("units that join need signatures")
    } else if !order.quarantined.is_empty() {
        Some("keys that are carried in quarantine need signatures")
    } else {
        None
    };
    lacking.map_or(Ok(()), |reason| Err(LeaveRefusal::NotCovered(reason.to_owned())))
}

fn seconds_left(last: Option<UnixMillis>, interval_s: u32, now: UnixMillis) -> Option<u64> {
    let due = last?.plus_ms(u64::from(interval_s) * 1000);
    (due > now).then(|| due.since(now).div_ceil(1000))
}

/// Whether a process may speak as a coordinator.
pub fn is_coordinator(trust: &Trust, process: ProcessId) -> bool {
    trust.names(process, Role::Coordinator)
}
