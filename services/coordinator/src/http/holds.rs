//! What administrators sign while a rotation runs: the end of a hold, and what an amendment of the
//! manifest must carry.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use machines::conductor::{Answer, Ask, Conductor};
use protocol::api::{RotationView, UnitEnvelope};
use protocol::order::SignedHoldEnd;

use super::HttpState;
use super::body::Body;
use super::caller::{Caller, OPERATE};
use super::path::Rotation;
use super::problem::Fault;
use super::rotations::{find, permitted};
use crate::handle::Asker;

/// `POST /v1/rotations/{id}/hold-end`: hands in the administrators' statement; units judge it.
pub(crate) async fn end(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
    Body(signed): Body<SignedHoldEnd>,
) -> Result<(StatusCode, Json<RotationView>), Fault> {
    let before = permitted(&state, &caller, rotation, &OPERATE).await?;
    let statement = signed
        .unverified()
        .map_err(|error| Fault::malformed(format!("bytes: they are no end of a hold: {error}.")))?;
    if statement.rotation != rotation {
        return Err(Fault::malformed("bytes: they name another rotation."));
    }
    let asker = Asker { actor: caller.sub().to_owned(), remember_as: None };
    let refusal =
        match state.handle.ask_as(asker, before.instance, Ask::HoldEnd(signed.clone())).await? {
            Answer::Taken => None,
            Answer::Refused(refusal) => Some(refusal),
            _ => return Err(Fault::unexpected("the end of a hold")),
        };
    // What has ended a hold is taken for ever, whatever has happened since.
    let was_taken = || async {
        let record = state.records.rotation(rotation).await?;
        Ok::<_, Fault>(record.is_some_and(|record| record.hold_ends.contains(&signed)))
    };
    match refusal {
        Some(refusal) if !was_taken().await? => {
            Err(Fault::refused(&rotation.to_string(), &refusal))
        }
        _ => Ok((StatusCode::ACCEPTED, Json(find(&state, rotation).await?))),
    }
}

/// `GET /v1/rotations/{id}/reports`: each crypto unit's last signed report, byte for byte.
pub(crate) async fn reports(
    State(state): State<HttpState>,
    caller: Caller,
    Rotation(rotation): Rotation,
) -> Result<Json<Vec<UnitEnvelope>>, Fault> {
    let before = permitted(&state, &caller, rotation, &OPERATE).await?;
    let look = move |found: Option<&Conductor>| {
        let running = found?.rotation()?;
        (running.reference().rotation == rotation).then(|| running.unit_envelopes())
    };
    match state.handle.see(before.instance, look).await? {
        Some(found) => Ok(Json(found)),
        None if before.phase.is_ended() => Err(Fault::reports_gone(rotation)),
        None => Err(Fault::starting(rotation)),
    }
}
