//! Orders that the administrators sign themselves: drafted by the coordinator, read, signed.

use crypto::domain;
use machines::leave::{self, MAX_CLOCK_SKEW_MS};
use protocol::UnixMillis;
use protocol::api::{ManifestView, OrderDraft, OrderDraftRequest};
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::order::{Authority, Order, Purpose, SignedOrder};

use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure};
use crate::sigkeys::signer::Signer;

/// For how long units may take an order that somebody has signed by hand.
const VALID_FOR_S: u32 = 15 * 60;

/// What is asked for.
pub const fn request(purpose: Purpose, mode: GateMode) -> OrderDraftRequest {
    OrderDraftRequest {
        purpose,
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        valid_for_s: VALID_FOR_S,
    }
}

/// Asks for an order, sees that it says what was asked for and nothing else, and signs it.
pub async fn drafted(
    coordinator: &Coordinator,
    view: &ManifestView,
    request: &OrderDraftRequest,
    signer: &Signer,
) -> Result<SignedOrder, DraftError> {
    let draft = coordinator.draft(view.manifest.instance, request).await?;
    signed(view, request, &draft, signer)
}

/// Signs a draft, if it says what was asked for and nothing else.
pub fn signed(
    view: &ManifestView,
    request: &OrderDraftRequest,
    draft: &OrderDraft,
    signer: &Signer,
) -> Result<SignedOrder, DraftError> {
    let bytes = read(view, request, draft, service::now()).map_err(DraftError::Dishonest)?;
    let signatures = signer.sign(domain::ORDER, &bytes);
    Ok(SignedOrder { bytes, authority: Authority::Quorum(signatures) })
}

/// Why there is no signed order.
#[derive(Debug)]
pub enum DraftError {
    /// The coordinator gave none.
    Call(CallError),
    /// What it gave is not what was asked for.
    Dishonest(String),
}

impl From<CallError> for DraftError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<DraftError> for Failure {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Call(error) => error.into(),
            DraftError::Dishonest(why) => {
                let what = format!("the coordinator's draft is not what was asked for: {why}");
                Self::new(Exit::Failed, "draft-differs", what)
                    .safe("nothing was signed, nothing has changed")
                    .next("look at the coordinator before you sign anything")
            }
        }
    }
}

/// The bytes of a draft, if they are an order that says what was asked for, now: one that is dated ahead
/// would be good for as much longer.
pub fn read(
    view: &ManifestView,
    request: &OrderDraftRequest,
    draft: &OrderDraft,
    now: UnixMillis,
) -> Result<Vec<u8>, String> {
    let bytes = hex::decode(&draft.bytes_hex).map_err(|_| "its bytes are no hex".to_owned())?;
    let order: Order = codec::decode(&bytes).map_err(|error| error.to_string())?;
    let manifest = &view.manifest;
    let is_generator =
        |id| manifest.member(id).is_some_and(|member| member.role == protocol::Role::RecoveryUnit);
    let checks = [
        (order == draft.order, "its bytes are another order than the one shown"),
        (leave::order_digest(&bytes) == draft.digest, "its digest is another one"),
        (order.instance == manifest.instance, "it is for another instance"),
        (order.number.manifest_serial == manifest.serial, "it is under another manifest"),
        (order.purpose == request.purpose, "its purpose is another one"),
        (order.mode == request.mode, "its mode is another one"),
        (order.hold_after_commit_s == request.hold_after_commit_s, "its holds are others"),
        (order.hold_before_clear_s == request.hold_before_clear_s, "its holds are others"),
        (
            order.issued_at.0.abs_diff(now.0) <= MAX_CLOCK_SKEW_MS,
            "it is dated more than 30 s from the clock of this workstation: compare the clocks",
        ),
        (
            order.expires_at.since(order.issued_at) <= u64::from(request.valid_for_s) * 1000,
            "it is valid for longer",
        ),
        (is_generator(order.generator), "no recovery unit of the manifest makes the key"),
        (order.joining == request.joining, "others join than were named"),
        (order.quarantined == request.quarantined, "it carries other keys in quarantine"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        None => Ok(bytes),
        Some((_, why)) => Err((*why).to_owned()),
    }
}
