//! The events of a rotation, as they happen (server-sent events, HTML standard section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use ledger::AuditQuery;
use protocol::api::{RotationEvent, RotationView};

use super::HttpState;
use super::caller::{Caller, SEE};
use super::follow::{Follow, Told};
use super::path::Rotation;
use super::problem::Fault;
use super::rotations::find;
use crate::handler::read_back;

/// A comment is sent when there was nothing to tell for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After so long a client comes back.
const RECONNECT: Duration = Duration::from_secs(1);
/// What a client sends that comes back: the `id` of the last event that it has.
const LAST_EVENT_ID: &str = "last-event-id";
/// Whether a proxy may collect an answer before it hands it on, as nginx does.
const BUFFERING: &str = "x-accel-buffering";

pub(crate) async fn events(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    caller.must(&SEE)?;
    let after = last_event_id(&headers)?;
    // Before the past is read, so that nothing falls between.
    let live = state.handle.events();
    let view = find(&state, rotation).await?;
    caller.must_in(&SEE, view.instance, &view.instance.to_string())?;
    let Ok(place) = Arc::clone(&state.streams).try_acquire_owned() else {
        return Err(Fault::busy("too many clients follow events"));
    };
    let is_ended = view.phase.is_ended();
    let mut past = past(&state, &view).await?;
    past.retain(|event| event.seq > after);
    if is_ended && past.is_empty() {
        // By the standard this tells a client to stop coming back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let handle = state.handle.clone();
    let stopped = async move { handle.stopped().await };
    let told = Follow::new(rotation, after, past, (!is_ended).then_some(live)).until(stopped);
    let stream = told.map(move |told| {
        let _ = &place;
        Ok::<_, Infallible>(sent(&told))
    });
    let mut response =
        Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // A proxy that keeps a copy back, or waits for more, would keep the news back.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static(BUFFERING), HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, Fault> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Fault::malformed("Last-Event-ID: it is not the id of an event."))
}

/// Every event so far: the coordinator has those of the newest rotation at hand, the audit log has
/// all.
async fn past(state: &HttpState, view: &RotationView) -> Result<Vec<RotationEvent>, Fault> {
    if let Some(events) = state.handle.told(view.rotation).await? {
        return Ok(events);
    }
    let wanted = AuditQuery { rotation: Some(view.rotation), ..AuditQuery::default() };
    let entries = state.records.audit_entries(view.instance, wanted).await?;
    Ok(read_back(&entries, view))
}

fn sent(told: &Told) -> Event {
    match told {
        Told::Event(event) => {
            let data = serde_json::to_string(event).unwrap_or_default();
            Event::default().id(event.seq.to_string()).data(data)
        }
        Told::Lagging => Event::default()
            .event("reconnect")
            .retry(RECONNECT)
            .data("this client was too slow: it comes back with Last-Event-ID and misses nothing"),
    }
}
