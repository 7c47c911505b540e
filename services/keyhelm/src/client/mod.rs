//! HTTP to the coordinator and the gateway: one way to send, one way to fail.

pub mod coordinator;
pub mod gateway;
pub mod sse;

use std::time::Duration;

use protocol::api::{Problem, Unmet};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::SecretText;

use crate::failure::{Exit, Failure, Outcome};

/// A server that does not take the connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for an ordinary answer. A survey of silent units takes a few seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest part of an answer that is no problem document which is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// A server refused. Nothing has changed, unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Stable word.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What is safe now.
    pub safe: Option<String>,
    /// The one next command.
    pub next: Option<String>,
    /// Unmet conditions of a precheck.
    pub unmet: Vec<Unmet>,
    /// When to come again, in seconds.
    pub retry_after_s: Option<u64>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum CallError {
    /// No connection, or it was lost: whether the request was taken is not known.
    Unreachable(String),
    /// The server said no.
    Refused(Box<Refused>),
    /// The answer is not what this program expects.
    Unreadable(String),
}

impl CallError {
    /// Whether trying again later may help: nobody there, or not ready.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(refused) => matches!(refused.status, 429 | 502..=504),
            Self::Unreadable(_) => false,
        }
    }

    /// Whether the thing asked for does not stand as it would have to.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == 409)
    }

    /// Whether the server does not know the thing asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == 404)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(what) => Self::new(Exit::Unreachable, "unreachable", what),
            CallError::Unreadable(what) => Self::new(Exit::Failed, "unreadable", what)
                .next("keyhelm --version, to compare it with the server's"),
            CallError::Refused(refused) => refused_failure(*refused),
        }
    }
}

fn refused_failure(refused: Refused) -> Failure {
    let Refused { status, code, detail, safe, next, unmet, .. } = refused;
    let exit = match status {
        401 | 403 => Exit::NotPermitted,
        _ if !unmet.is_empty() => Exit::Unmet,
        // Coming again does not help: the instance has to be founded first.
        _ if code == "NOT_INITIALISED_ERR" => Exit::Unmet,
        429 | 503 => Exit::Unfinished,
        502 | 504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let what = what_of(detail, &unmet);
    let mut failure = Failure::new(exit, &code, what).unmet(unmet);
    if let Some(safe) = safe {
        failure = failure.safe(safe);
    }
    let own_next = match status {
        401 => Some("keyhelm token issue, then --token-file FILE"),
        _ => None,
    };
    match next.as_deref().or(own_next) {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// A server's sentence repeats all conditions, which are shown as a table.
pub fn what_of(detail: String, unmet: &[Unmet]) -> String {
    match unmet.len() {
        0 => detail,
        1 => "one condition is not met".to_owned(),
        many => format!("{many} conditions are not met"),
    }
}

/// One server.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    base: Url,
    name: &'static str,
    token: Option<SecretText>,
}

impl Http {
    /// Of a server (`name` for people) at a URL.
    pub fn new(name: &'static str, url: &str, token: Option<SecretText>) -> Outcome<Self> {
        let base = base_url(name, url)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("keyhelm/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Failure::new(Exit::Failed, "client", format!("no HTTP client: {}", chain(&error)))
        })?;
        Ok(Self { client, base, name, token })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether a token would cross a network in the clear.
    pub fn is_token_in_clear(&self) -> bool {
        self.token.is_some() && !is_loopback(&self.base)
    }

    /// A request to a path of parts, each of which is escaped.
    pub fn request(&self, method: Method, parts: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        let request = self.client.request(method, url).timeout(ANSWER_TIMEOUT);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Gets JSON.
    pub async fn get<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<T, CallError> {
        self.read(self.request(Method::GET, parts)).await.map(|(_, found)| found)
    }

    /// Posts JSON and reads JSON.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        parts: &[&str],
        body: &B,
    ) -> Result<(StatusCode, T), CallError> {
        self.read(self.request(Method::POST, parts).json(body)).await
    }

    /// Sends and reads JSON.
    pub async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), CallError> {
        let response = self.send(request).await?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.lost(&error))?;
        let found = serde_json::from_slice(&bytes).map_err(|error| {
            let (name, url) = (self.name, self.url());
            CallError::Unreadable(format!(
                "the {name} at {url} answers what is not expected: {error}"
            ))
        })?;
        Ok((status, found))
    }

    /// Sends; an answer that is no success is a refusal.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refused(response).await),
        }
    }

    /// The connection did not come about, or broke.
    pub fn lost(&self, error: &reqwest::Error) -> CallError {
        let (name, url) = (self.name, self.url());
        CallError::Unreachable(format!("the {name} at {url} does not answer: {}", chain(error)))
    }

    async fn refused(&self, response: Response) -> CallError {
        let status = response.status();
        let retry_after_s = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        let bytes = match response.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return self.lost(&error),
        };
        let mut refused = self.understand(status, &bytes);
        refused.status = status.as_u16();
        refused.retry_after_s = retry_after_s;
        CallError::Refused(Box::new(refused))
    }

    fn understand(&self, status: StatusCode, bytes: &[u8]) -> Refused {
        if let Ok(problem) = serde_json::from_slice::<Problem>(bytes) {
            let Problem { code, detail, safe, next_command, unmet, .. } = problem;
            let safe = Some(safe).filter(|text| !text.is_empty());
            return Refused { code, detail, safe, next: next_command, unmet, ..Refused::default() };
        }
        if let Some(refused) = gateway::key_protect_error(bytes) {
            return refused;
        }
        let text: String = String::from_utf8_lossy(bytes).chars().take(MAX_SHOWN_CHARS).collect();
        let (name, url) = (self.name, self.url());
        let detail = format!("the {name} at {url} answers {status} {}", text.trim());
        let code = "unexpected-status".to_owned();
        Refused { code, detail: detail.trim_end().to_owned(), ..Refused::default() }
    }
}

fn base_url(name: &str, url: &str) -> Outcome<Url> {
    let refused =
        |why: &str| Failure::usage(format!("the {name}'s URL {url} is not usable: {why}"));
    let base = Url::parse(url).map_err(|error| refused(&error.to_string()))?;
    if base.host_str().is_none() {
        return Err(refused("it names no host"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(refused("a password in a URL is seen by everybody: use --token-file"));
    }
    match base.scheme() {
        "http" => Ok(base),
        "https" => Err(refused("this program speaks plain http only").next(
            "run keyhelm where the server is, or through a tunnel (ssh -L), and give http://...",
        )),
        _ => Err(refused("it does not begin with http://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// An error with its causes, but without the URL, which the caller names.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "its time is up".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
