//! A client of the HTTP interface, and of its events.

use std::net::SocketAddr;
use std::time::Duration;

use identity::{AUDIENCE, Claims, Issuer, Role};
use protocol::RotationId;
use protocol::api::{Problem, RotationEvent};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::INSTANCE;

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A token for `instances`.
pub fn token(issuer: &Issuer, sub: &str, roles: &[Role], instances: &[&str]) -> String {
    let now_s = service::now().0 / 1000;
    let claims = Claims {
        iss: "test".to_owned(),
        sub: sub.to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: now_s,
        exp: now_s + 600,
        jti: "1".to_owned(),
        roles: roles.to_vec(),
        instances: instances.iter().map(|&name| name.to_owned()).collect(),
    };
    issuer.issue(&claims).unwrap()
}

#[derive(Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

impl Api {
    /// A manager of the instance, `alice`.
    pub fn new(address: SocketAddr, issuer: &Issuer) -> Self {
        let http = reqwest::Client::new();
        let token = Some(token(issuer, "alice", &[Role::Manager], &[INSTANCE]));
        Self { base: format!("http://{address}"), http, token }
    }

    /// The same with another token, or none.
    pub fn with(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).timeout(PATIENCE);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// What a successful GET answers.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        json(self.get(path).await, StatusCode::OK).await
    }

    /// Follows a rotation after an event.
    pub async fn follow(&self, rotation: RotationId, after: Option<u64>) -> Events {
        let mut request = self.request(Method::GET, &format!("/v1/rotations/{rotation}/events"));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, buffer: String::new() }
    }

    /// All events of a rotation after one of them, to its end.
    pub async fn events(&self, rotation: RotationId, after: Option<u64>) -> Vec<RotationEvent> {
        let mut events = self.follow(rotation, after).await;
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        all
    }
}

/// The body of an answer with this status.
pub async fn json<T: DeserializeOwned>(response: Response, status: StatusCode) -> T {
    let (found, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A problem with this status and code, whole.
pub async fn problem(response: Response, status: StatusCode, code: &str) -> Problem {
    let kind = response.headers().get("content-type").cloned();
    let problem: Problem = json(response, status).await;
    assert_eq!(kind.unwrap(), "application/problem+json");
    assert_eq!((problem.status, problem.code.as_str()), (status.as_u16(), code), "{problem:?}");
    assert_eq!(problem.kind, format!("https://keyhelm.dev/problems/{code}"));
    assert_eq!(problem.title, status.canonical_reason().unwrap());
    assert!(problem.detail.ends_with('.') && problem.safe.ends_with('.'), "{problem:?}");
    problem
}

/// A stream of server-sent events.
pub struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<RotationEvent> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// Reads until an event of this phase, which is given.
    pub async fn until(&mut self, phase: protocol::audit::Phase) -> RotationEvent {
        loop {
            let event = self.next().await.unwrap();
            if event.rotation.phase == phase {
                return event;
            }
        }
    }
}

fn parse(block: &str) -> Option<RotationEvent> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let event: RotationEvent = serde_json::from_str(field("data: ")?).unwrap();
    assert_eq!(field("id: ").unwrap(), event.seq.to_string());
    Some(event)
}
