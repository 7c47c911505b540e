//! In front of every route: a bound on what is worked on at once and for how long, the token, and
//! one line in the log.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use telemetry::metric;

use super::caller::Caller;
use super::console;
use super::problem::Fault;
use super::{HttpState, MAX_CHECK_TIME, MAX_TIME};

/// Routes that need no token.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// Where rotations are started.
pub(super) const START: &str = "/v1/instances/{instance}/rotations";

pub(crate) async fn front(
    State(state): State<HttpState>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    // The pattern, not the path: what people put into paths is theirs.
    let route = route.map(|route| route.as_str().to_owned());
    let is_open = route.as_deref().is_none_or(|route| {
        // Nothing of a cluster is in the console's files.
        OPEN.contains(&route) || console::ROUTES.contains(&route)
    });
    let caller = match is_open {
        true => Ok(None),
        false => Caller::verify(&state.verifier, request.headers()).map(Some),
    };
    let (sub, response) = match caller {
        Err(refusal) => (None, Fault::unauthenticated(&refusal).into_response()),
        Ok(caller) => {
            let sub = caller.as_ref().map(|caller| caller.sub().to_owned());
            // A start may have every key opened first.
            let may_check = method == Method::POST && route.as_deref() == Some(START);
            let limit = if may_check { MAX_CHECK_TIME } else { MAX_TIME };
            (sub, bounded(&state, caller, limit, request, next).await)
        }
    };
    log(&method, route.as_deref(), response.status(), began, sub.as_deref());
    response
}

async fn bounded(
    state: &HttpState,
    caller: Option<Caller>,
    limit: Duration,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = state.requests.try_acquire() else {
        return Fault::busy("too many requests are being worked on").into_response();
    };
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::no_answer().into_response(),
    }
}

fn log(
    method: &Method,
    route: Option<&str>,
    status: StatusCode,
    began: Instant,
    sub: Option<&str>,
) {
    let (route, sub) = (route.unwrap_or("none"), sub.unwrap_or("-"));
    metric::request(route, method.as_str(), status.as_u16(), began.elapsed());
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // `?`: a subject with control characters must not make a line of its own.
    let method = metric::method(method.as_str());
    tracing::info!(%method, route, status = status.as_u16(), ms, ?sub, "request");
}

pub(crate) async fn no_such_path(uri: Uri) -> Fault {
    Fault::no_path(uri.path())
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Fault {
    Fault::no_method(method.as_str(), uri.path())
}
