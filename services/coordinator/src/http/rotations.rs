//! Rotations: start, list, look, abort.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use identity::Role;
use machines::conductor::{Answer, Ask, Conductor, StartAsk};
use protocol::RotationId;
use protocol::api::{RotationView, StartRotation, Started};
use protocol::keystore::GateMode;
use protocol::topology::TRACEPARENT_HEADER;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::HttpState;
use super::body::Body;
use super::caller::{Caller, OPERATE, SEE};
use super::path::{Instance, Parameters, Rotation};
use super::problem::Fault;
use crate::handle::Asker;
use crate::request::MAX_ID;
use crate::{handler, views};

/// Rotations in a list, if nothing is said.
const DEFAULT_LIMIT: u32 = 20;
/// Most rotations in a list.
const MAX_LIMIT: u32 = 200;
/// Longest reason of an abort, in bytes.
const MAX_BECAUSE: usize = 500;

pub(crate) async fn start(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    headers: HeaderMap,
    Body(request): Body<StartRotation>,
) -> Result<Response, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    if request.order.is_some() && request.mode.is_some() {
        return Err(Fault::malformed("mode: an order names its own; leave one of them out."));
    }
    if let Some(Err(error)) = request.order.as_ref().map(|order| order.unverified()) {
        return Err(Fault::malformed(format!("order.bytes: they are no order: {error}.")));
    }
    let remember_as = match &request.request_id {
        Some(id) if id.is_empty() || id.len() > MAX_ID => {
            return Err(Fault::malformed(format!("request_id: it has 1 to {MAX_ID} bytes.")));
        }
        // Nobody hears what somebody else was answered.
        Some(id) => Some(json!(["http", instance.id, caller.sub(), id]).to_string()),
        None => None,
    };
    if let Some(name) = &remember_as
        && let Some(text) = state.records.answered(name.clone()).await?
        && let Ok(before) = serde_json::from_str(&text)
    {
        return Ok(answer(before));
    }
    let asker = Asker { actor: caller.sub().to_owned(), remember_as };
    let ask = Ask::Start(Box::new(StartAsk {
        order: request.order,
        mode: request.mode.unwrap_or(GateMode::Strict),
        expect_current: request.expect_current_pattern,
        dry_run: request.dry_run,
        verify_all: request.verify_all,
        check_keys: request.check_keys,
        plan: request.plan,
        actor: asker.actor.clone(),
        traceparent: traceparent(&headers),
    }));
    match state.handle.ask_as(asker, instance.id, ask).await? {
        Answer::Unmet(findings) => Err(Fault::unmet(&instance.shown, findings)),
        Answer::Refused(refusal) => Err(Fault::refused(&instance.shown, &refusal)),
        found => match handler::started(&found) {
            Some(started) => Ok(answer(started)),
            None => Err(Fault::unexpected("a start")),
        },
    }
}

/// 201 for a new rotation, 200 for one that was joined and for a dry run.
fn answer(started: Started) -> Response {
    let location = |rotation: &RotationView| format!("/v1/rotations/{}", rotation.rotation);
    match started.rotation.as_ref().filter(|_| !started.joined).map(location) {
        Some(place) => {
            let headers = [(header::LOCATION, place)];
            (StatusCode::CREATED, headers, Json(started)).into_response()
        }
        None => Json(started).into_response(),
    }
}

/// W3C trace context, if it looks like one.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(HeaderName::from_static(TRACEPARENT_HEADER))?.to_str().ok()?;
    let is_sound = text.len() == 55
        && text.split('-').map(str::len).eq([2, 32, 16, 2])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_sound.then(|| text.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    Parameters(Limit { limit }): Parameters<Limit>,
) -> Result<Json<Vec<RotationView>>, Fault> {
    caller.must_in(&SEE, instance.id, &instance.shown)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Fault::malformed(format!("limit: it is 1 to {MAX_LIMIT}, not {limit}.")));
    }
    let records = state.records.list(instance.id, limit).await?;
    let look = move |found: Option<&Conductor>| {
        let conductor = found?;
        let view = |record| {
            let view = views::recorded(record, conductor.trust());
            views::live(conductor, view.rotation).unwrap_or(view)
        };
        Some(records.iter().map(view).collect::<Vec<_>>())
    };
    let found = state.handle.see(instance.id, look).await?;
    found.map(Json).ok_or_else(|| Fault::unknown_instance(&instance.shown))
}

pub(crate) async fn one(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
) -> Result<Json<RotationView>, Fault> {
    let found = permitted(&state, &caller, rotation, &SEE).await?;
    Ok(Json(found))
}

/// The receipt as it was saved with the rotation's end, to the byte.
pub(crate) async fn receipt(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
) -> Result<Response, Fault> {
    let found = permitted(&state, &caller, rotation, &SEE).await?;
    let receipt = state.records.receipt(rotation).await?;
    let receipt = receipt.ok_or_else(|| Fault::no_receipt(&found))?;
    let name = format!("attachment; filename=\"receipt-{rotation}.json\"");
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, receipt).into_response())
}

/// A rotation that the caller, in one of these roles, may see or act on.
pub(crate) async fn permitted(
    state: &HttpState,
    caller: &Caller,
    rotation: RotationId,
    roles: &[Role],
) -> Result<RotationView, Fault> {
    caller.must(roles)?;
    let found = find(state, rotation).await?;
    caller.must_in(roles, found.instance, &found.instance.to_string())?;
    Ok(found)
}

/// A rotation of any instance: as its conductor sees it, else as it was saved.
pub(crate) async fn find(state: &HttpState, rotation: RotationId) -> Result<RotationView, Fault> {
    let live = move |all: &[crate::Known<'_>]| {
        all.iter().find_map(|known| views::live(known.conductor, rotation))
    };
    if let Some(view) = state.handle.see_all(live).await? {
        return Ok(view);
    }
    let unknown = || Fault::unknown_rotation(rotation);
    let record = state.records.rotation(rotation).await?.ok_or_else(unknown)?;
    let (order, _) = record.order().map_err(|_| unknown())?;
    let look = move |found: Option<&Conductor>| {
        found.map(|conductor| views::recorded(&record, conductor.trust()))
    };
    state.handle.see(order.instance, look).await?.ok_or_else(unknown)
}

/// `POST /v1/rotations/{id}/abort`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbortRotation {
    /// Why, in a sentence; it is shown to whoever follows the rotation.
    pub because: String,
}

pub(crate) async fn abort(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
    Body(AbortRotation { because }): Body<AbortRotation>,
) -> Result<(StatusCode, Json<RotationView>), Fault> {
    let instance = permitted(&state, &caller, rotation, &OPERATE).await?.instance;
    if because.trim().is_empty() || because.len() > MAX_BECAUSE {
        let text = format!("because: say why, in 1 to {MAX_BECAUSE} bytes.");
        return Err(Fault::malformed(text));
    }
    let asker = Asker { actor: caller.sub().to_owned(), remember_as: None };
    let ask = Ask::Abort { rotation: Some(rotation), because };
    match state.handle.ask_as(asker, instance, ask).await? {
        Answer::Aborting(_) => Ok((StatusCode::ACCEPTED, Json(find(&state, rotation).await?))),
        Answer::Refused(refusal) => {
            let is_unfinished = !find(&state, rotation).await?.phase.is_ended();
            match refusal.code == "not-running" && is_unfinished {
                true => Err(Fault::starting(rotation)),
                false => Err(Fault::refused(&rotation.to_string(), &refusal)),
            }
        }
        _ => Err(Fault::unexpected("an abort")),
    }
}
