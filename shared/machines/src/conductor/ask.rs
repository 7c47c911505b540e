//! What a conductor can be asked, and what it answers.

use protocol::api::{PlanView, RotationView};
use protocol::keystore::GateMode;
use protocol::manifest::SignedManifest;
use protocol::order::{Order, OrderRef, SignedHoldEnd, SignedOrder, SignedStandingOrder};
use protocol::report::Refusal;
use protocol::{Digest, Pattern, RotationId};

use super::DraftRequest;
use crate::rotation::precheck::Findings;

/// Names a request until it is answered.
pub type AskId = u64;

/// A request to start a rotation, or to say what one would come to.
#[derive(Clone, Debug)]
pub struct StartAsk {
    /// A signed order; without one the coordinator writes its own under the standing order.
    pub order: Option<SignedOrder>,
    /// What clients may do meanwhile, where the coordinator writes the order.
    pub mode: GateMode,
    /// Refuses if the current pattern is another one.
    pub expect_current: Option<Pattern>,
    /// Nothing starts.
    pub dry_run: bool,
    /// Every page is opened by another unit before the decision.
    pub verify_all: bool,
    /// Every key is opened in the units before anything starts.
    pub check_keys: bool,
    /// Starts only if this is still the plan.
    pub plan: Option<Digest>,
    /// Who asks.
    pub actor: String,
    /// W3C trace context of the rotation's root.
    pub traceparent: Option<String>,
}

impl StartAsk {
    /// A start with nothing asked besides.
    pub fn plain(order: Option<SignedOrder>, mode: GateMode, actor: &str) -> Self {
        Self {
            order,
            mode,
            expect_current: None,
            dry_run: false,
            verify_all: false,
            check_keys: false,
            plan: None,
            actor: actor.to_owned(),
            traceparent: None,
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub enum Ask {
    /// How does everybody stand?
    Look,
    /// Start, join or try out a rotation.
    Start(Box<StartAsk>),
    /// The exact bytes of an order, to be signed.
    Draft(DraftRequest),
    /// End the rotation before its decision.
    Abort {
        /// Which; none for whichever is running.
        rotation: Option<RotationId>,
        /// Why, in a sentence.
        because: String,
    },
    /// A new manifest, and the standing order under it, if there shall be one: every new manifest ends
    /// the one before. Both are taken, or none.
    Manifest(SignedManifest, Option<SignedStandingOrder>),
    /// A new standing order.
    Standing(SignedStandingOrder),
    /// The end of a hold before its time.
    HoldEnd(SignedHoldEnd),
}

/// What a request comes to.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Everybody has been asked; [`super::Conductor::heard`] has what they said.
    Looked(Findings),
    /// The rotation runs.
    Started {
        /// As it stands.
        rotation: Box<RotationView>,
        /// It was running already.
        joined: bool,
        /// What is worth knowing.
        warnings: Findings,
    },
    /// What a rotation would do.
    Planned(PlanView, Findings),
    /// Conditions are not met; nothing has changed.
    Unmet(Findings),
    /// Not done; nothing has changed.
    Refused(Refusal),
    /// The order to be signed.
    Drafted(Box<Order>, Vec<u8>, OrderRef),
    /// The rotation is being ended.
    Aborting(RotationId),
    /// The manifest or standing order was taken.
    Taken,
}
