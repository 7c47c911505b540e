//! The console: a page for people in a browser, out of files in this binary. The files hold no
//! secret and are given without a token; whatever the page shows, it asks of `/v1` with the token
//! of whoever signed in.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::HttpState;
use super::problem::Fault;

/// Where the console is.
const PLACE: &str = "/console/";
/// Its routes, as the router names them.
pub(crate) const ROUTES: [&str; 4] = ["/", "/console", PLACE, "/console/{file}"];

/// Only what this server gives runs or is shown, and it speaks to this server alone; nobody may put
/// the page into a frame, where clicks could be led astray.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

/// What every file is sent with. A browser keeps a copy and asks each time whether it is the newest.
static HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-cache"),
];

/// A file of the console.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $kind:ident),* $(,)?) => {
        [$(Asset {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("../../console/", $name)),
        }),*]
    };
}

static ASSETS: [Asset; 13] = assets![
    "index.html": HTML,
    "console.css": CSS,
    "parts.css": CSS,
    "narrow.css": CSS,
    "console.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "instance.js": SCRIPT,
    "units.js": SCRIPT,
    "rotation.js": SCRIPT,
    "phases.js": SCRIPT,
    "dialogs.js": SCRIPT,
    "icon.svg": SVG,
];

pub(crate) fn routes() -> Router<HttpState> {
    let [root, bare, index, file] = ROUTES;
    Router::new()
        .route(root, get(lead))
        .route(bare, get(lead))
        .route(index, get(page))
        .route(file, get(asset))
}

/// The way there from where people begin.
async fn lead() -> Redirect {
    Redirect::temporary(PLACE)
}

async fn page(headers: HeaderMap, uri: Uri) -> Response {
    sent("index.html", &headers, &uri)
}

async fn asset(Path(file): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    sent(&file, &headers, &uri)
}

fn sent(name: &str, request: &HeaderMap, uri: &Uri) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Fault::no_path(uri.path()).into_response();
    };
    let tag = asset.tag();
    let mut response = match is_known(request, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, asset.kind)], asset.text).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    response
}

/// Whether the browser's copy is this one (RFC 9110, section 13.1.2).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut named = values.flat_map(|value| value.split(','));
    named.any(|named| named.trim().trim_start_matches("W/") == tag)
}

impl Asset {
    /// Tells one text from another; nothing relies on that nobody can find two with the same tag.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}
