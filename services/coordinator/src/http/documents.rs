//! What administrators sign: manifests, standing orders, and the drafts of orders.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use machines::conductor::{Answer, Ask, DraftRequest};
use protocol::api::{ManifestRequest, ManifestView, OrderDraft, OrderDraftRequest};
use protocol::order::SignedStandingOrder;

use super::HttpState;
use super::body::Body;
use super::caller::{Caller, OPERATE};
use super::instances::manifest_of;
use super::path::Instance;
use super::problem::Fault;
use crate::handle::Asker;

pub(crate) async fn manifest(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    Body(given): Body<ManifestRequest>,
) -> Result<(StatusCode, Json<ManifestView>), Fault> {
    let manifest = given.manifest();
    if let Err(error) = manifest.unverified() {
        return Err(Fault::malformed(format!("bytes: they are no manifest: {error}.")));
    }
    if let Some(Err(error)) = given.standing_order.as_ref().map(SignedStandingOrder::unverified) {
        return Err(Fault::malformed(format!("standing_order: it is none: {error}.")));
    }
    let ask = Ask::Manifest(manifest, given.standing_order);
    take(&state, &caller, &instance, ask).await
}

pub(crate) async fn standing_order(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    Body(signed): Body<SignedStandingOrder>,
) -> Result<(StatusCode, Json<ManifestView>), Fault> {
    if let Err(error) = signed.unverified() {
        return Err(Fault::malformed(format!("bytes: they are no standing order: {error}.")));
    }
    take(&state, &caller, &instance, Ask::Standing(signed)).await
}

/// Hands in a document; the answer shows what is in force now.
async fn take(
    state: &HttpState,
    caller: &Caller,
    instance: &Instance,
    ask: Ask,
) -> Result<(StatusCode, Json<ManifestView>), Fault> {
    match asked(state, caller, instance, ask).await? {
        Answer::Taken => Ok((StatusCode::CREATED, Json(manifest_of(state, instance).await?))),
        Answer::Refused(refusal) => Err(Fault::refused(&instance.shown, &refusal)),
        _ => Err(Fault::unexpected("a document")),
    }
}

pub(crate) async fn draft(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    Body(draft): Body<OrderDraftRequest>,
) -> Result<Json<OrderDraft>, Fault> {
    if draft.valid_for_s == 0 {
        return Err(Fault::malformed("valid_for_s: no unit could take an order of 0 seconds."));
    }
    let request = DraftRequest {
        purpose: draft.purpose,
        joining: draft.joining,
        quarantined: draft.quarantined,
        mode: draft.mode,
        hold_after_commit_s: draft.hold_after_commit_s,
        hold_before_clear_s: draft.hold_before_clear_s,
        valid_for_s: draft.valid_for_s,
    };
    match asked(&state, &caller, &instance, Ask::Draft(request)).await? {
        Answer::Drafted(order, bytes, reference) => Ok(Json(OrderDraft {
            order: *order,
            bytes_hex: hex::encode(bytes),
            digest: reference.digest,
        })),
        Answer::Unmet(findings) => Err(Fault::unmet(&instance.shown, findings)),
        Answer::Refused(refusal) => Err(Fault::refused(&instance.shown, &refusal)),
        _ => Err(Fault::unexpected("a draft")),
    }
}

async fn asked(
    state: &HttpState,
    caller: &Caller,
    instance: &Instance,
    ask: Ask,
) -> Result<Answer, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    let asker = Asker { actor: caller.sub().to_owned(), remember_as: None };
    Ok(state.handle.ask_as(asker, instance.id, ask).await?)
}
