//! Only in test builds: holds every rotation at a phase, by keeping its commands back, as if the
//! broker lost each of them. Asked for again by `desired`, they go out once the hold is over.

use std::sync::RwLock;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{delete, put};
use protocol::audit::Phase;

static HELD: RwLock<Option<Phase>> = RwLock::new(None);

/// Whether commands of this phase are kept back.
pub(crate) fn is_held(phase: Phase) -> bool {
    HELD.read().is_ok_and(|held| *held == Some(phase))
}

/// `PUT /testing/hold/{phase}` and `DELETE /testing/hold`.
pub(crate) fn routes() -> Router {
    Router::new().route("/testing/hold/{phase}", put(hold)).route("/testing/hold", delete(release))
}

async fn hold(Path(name): Path<String>) -> StatusCode {
    let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name);
    match (phase, HELD.write()) {
        (Some(phase), Ok(mut held)) => {
            *held = Some(phase);
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::NOT_FOUND,
    }
}

async fn release() -> StatusCode {
    if let Ok(mut held) = HELD.write() {
        *held = None;
    }
    StatusCode::NO_CONTENT
}
