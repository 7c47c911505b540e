//! Around every request: its correlation id, the bound on how many are served at once, the error
//! document, and one line in the log. Never a body or a query.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use crypto::random::{process_rng, uuid_v4};
use protocol::InstanceId;
use telemetry::metric;

use super::error::ApiError;
use super::{HttpState, body, drain};

/// The header that names the instance.
pub(super) const INSTANCE: &str = "bluemix-instance";
const CORRELATION: HeaderName = HeaderName::from_static("correlation-id");
/// Where a caller's correlation id may stand, in this order.
const CORRELATION_FROM: [&str; 3] = ["correlation-id", "x-correlation-id", "x-request-id"];
/// Longest correlation id that is echoed.
const MAX_CORRELATION: usize = 128;
/// Routes that are answered however busy the gateway is.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

pub(super) async fn observe(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let request = request.map(drain::drained);
    let correlation = correlation(request.headers());
    let method = request.method().clone();
    let instance = header_text(request.headers(), INSTANCE).map(InstanceId::named);
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let mut response = match PROBES.contains(&route.as_str()) {
        true => next.run(request).await,
        false => match state.permits.try_acquire() {
            Ok(_permit) => next.run(request).await,
            Err(_) => ApiError::busy().into_response(),
        },
    };
    let mut code = "";
    if let Some(error) = refusal(&mut response) {
        code = error.code;
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = answer(&error, what(&method, &route));
        if let Some(methods) = allowed {
            response.headers_mut().insert(header::ALLOW, methods);
        }
    }
    metric::request(&route, method.as_str(), response.status().as_u16(), begun.elapsed());
    tracing::info!(
        method = %metric::method(method.as_str()),
        %route,
        status = response.status().as_u16(),
        code,
        correlation_id = correlation.to_str().unwrap_or_default(),
        instance = instance.map(|id| id.to_string()).unwrap_or_default(),
        ms = begun.elapsed().as_millis() as u64,
        "request"
    );
    response.headers_mut().insert(CORRELATION, correlation);
    response
}

/// Why the request was refused, if it was: by a handler, or by the router before any handler.
fn refusal(response: &mut Response) -> Option<ApiError> {
    let by_handler = response.extensions_mut().remove::<ApiError>();
    by_handler.or_else(|| {
        let text = "The path or the query of the request cannot be read".to_owned();
        let status = response.status();
        status.is_client_error().then(|| ApiError::new(status, "BAD_BODY_ERR", text))
    })
}

fn answer(error: &ApiError, what: &str) -> Response {
    let mut response = body::json(error.status, body::JSON, &error.document(what));
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.status == axum::http::StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What the request was to do, in the words of IBM's error texts.
fn what(method: &Method, route: &str) -> &'static str {
    let is_action = route.contains("/actions/");
    match (method.as_str(), route) {
        ("POST", "/api/v2/keys") => "Key could not be created",
        ("POST", "/v1/key-batches") => "Keys could not be created",
        ("GET" | "HEAD", "/api/v2/keys") => "Keys could not be retrieved",
        ("GET", "/api/v2/keys/{id}") => "Key could not be retrieved",
        ("GET", "/api/v2/keys/{id}/metadata") => "Key metadata could not be retrieved",
        ("GET", "/api/v2/keys/{id}/versions") => "Key versions could not be retrieved",
        ("DELETE", "/api/v2/keys/{id}") => "Key could not be deleted",
        ("DELETE", "/api/v2/keys/{id}/purge") => "Key could not be purged",
        ("POST", "/api/v2/keys/{id}") => "Action could not be performed on key",
        _ if is_action => "Action could not be performed on key",
        _ => "Request could not be performed",
    }
}

/// The caller's correlation id, or a new one.
fn correlation(headers: &HeaderMap) -> HeaderValue {
    let given = CORRELATION_FROM.into_iter().filter_map(|name| headers.get(name)).find(|value| {
        !value.is_empty() && value.len() <= MAX_CORRELATION && value.to_str().is_ok()
    });
    given.cloned().unwrap_or_else(|| {
        let text = uuid_v4(&mut process_rng()).to_string();
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// A header's text, if it is there and says something.
pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then_some(text)
}
