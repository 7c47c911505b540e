//! The rotation record: what a coordinator saves. Units and keystore are the truth, this is a
//! convenience, but for one thing: *decided* and *aborted* exclude each other in it.

use bincode::{Decode, Encode};
use protocol::audit::Phase;
use protocol::order::{Order, OrderRef, SignedHoldEnd, SignedOrder};
use protocol::{Digest, Epoch, KeystoreId, Pattern, ProcessId, UnixMillis};

use crate::leave::{self, LeaveRefusal};

/// How a rotation stands as a coordinator has decided.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// Neither: it may still go either way.
    Open,
    /// All units committed, the new generation complete; or a unit has promoted, or a keystore flipped, which
    /// shows as much: it only goes forward.
    Decided,
    /// It ends before the decision.
    Aborted {
        /// Why, in a sentence.
        because: String,
    },
}

/// What is saved of one rotation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// The order as it was given.
    pub signed_order: SignedOrder,
    /// The epoch under which this coordinator commands.
    pub epoch: Epoch,
    /// Decided, aborted or neither.
    pub verdict: Verdict,
    /// Pattern of the new master key, once a report has shown it.
    pub to: Option<Pattern>,
    /// Whether every page is opened by another unit before the decision.
    pub verify_all: bool,
    /// Who asked for it.
    pub actor: String,
    /// When each phase began.
    pub phases: Vec<(Phase, UnixMillis)>,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// When key creation began to be refused, and when it was served again.
    pub gate_closed: Option<(UnixMillis, Option<UnixMillis>)>,
    /// Key versions of the set, as last reported, and how many were written.
    pub keys: (u64, u64),
    /// W3C trace context of the rotation's root, so that it stays one trace.
    pub traceparent: Option<String>,
    /// Envelope of each keystore's *flipped* report, for the receipt: later ones say *dropped*.
    pub flipped: Vec<(KeystoreId, Vec<u8>)>,
    /// Hash of the receipt, once it is made.
    pub receipt: Option<Digest>,
    /// What the administrators have signed to end its holds.
    pub hold_ends: Vec<SignedHoldEnd>,
    /// Key versions that no unit opened and that are carried in quarantine, as last reported.
    pub keys_quarantined: u64,
    /// Each unit's report with its highest state counter: a unit whose state is set back is shown it.
    pub latest: Vec<LatestReport>,
    /// Serial of the manifest under which the verdict was reached. Administrators can turn a verdict by
    /// a newer one; nothing else ever does. The last field: the record of before has none.
    pub verdict_under: Option<u64>,
}

/// A unit's report, as far as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LatestReport {
    /// Whose.
    pub unit: ProcessId,
    /// The state counter in it.
    pub state_counter: u64,
    /// The envelope as received.
    pub envelope: Vec<u8>,
}

/// Who has asked for what is rebuilt from reports.
const REBUILT: &str = "coordinator (rebuilt from reports)";

impl Record {
    /// One that is rebuilt from reports: decided, or else to be ended in whoever is in it.
    pub fn rebuilt(signed_order: SignedOrder, verdict: Verdict, now: UnixMillis) -> Self {
        let record = Self::new(signed_order, Epoch::default(), REBUILT.to_owned(), now);
        Self { verdict, ..record }
    }

    /// Whether it is, so that nothing else is known of what has come of its rotation: the event of its end claims
    /// nothing of that.
    pub fn is_rebuilt(&self) -> bool {
        self.actor == REBUILT
    }

    /// A new rotation's.
    pub fn new(signed_order: SignedOrder, epoch: Epoch, actor: String, now: UnixMillis) -> Self {
        Self {
            signed_order,
            epoch,
            verdict: Verdict::Open,
            to: None,
            verify_all: false,
            actor,
            phases: vec![(Phase::Inspect, now)],
            finished_at: None,
            gate_closed: None,
            keys: (0, 0),
            traceparent: None,
            flipped: Vec::new(),
            receipt: None,
            hold_ends: Vec::new(),
            keys_quarantined: 0,
            latest: Vec::new(),
            verdict_under: None,
        }
    }

    /// The order, read, and its name.
    pub fn order(&self) -> Result<(Order, OrderRef), LeaveRefusal> {
        leave::read(&self.signed_order)
    }

    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        self.phases.last().map_or(Phase::Survey, |(phase, _)| *phase)
    }

    /// When it was asked for.
    pub fn started_at(&self) -> UnixMillis {
        self.phases.first().map_or(UnixMillis(0), |(_, at)| *at)
    }
}
