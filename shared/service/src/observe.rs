//! Looking into a process from outside: `/healthz`, `/readyz` and `/metrics` on an address of its
//! own, and the verb that asks there. No token is needed, and nothing secret is shown.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use telemetry::metric;
use tokio::net::TcpListener;

use crate::{Shutdown, Status, http};

/// How long a process may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    tracing::info!(address = %http::address(&listener)?, "serving health and metrics");
    http::serve(listener, router(status), shutdown).await
}

/// The routes.
pub fn router(status: Status) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(status)
}

/// A process that answers lives: one that cannot go on ends.
async fn alive() -> impl IntoResponse {
    Json(json!({ "status": "alive" }))
}

async fn ready(State(status): State<Status>) -> impl IntoResponse {
    match status.because() {
        None => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        Some(because) => {
            let body = json!({ "status": "not ready", "because": because });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PROMETHEUS)], metric::render())
}

/// Asks a process at its `observe_listen` how it is: exit code 0 if it lives, or, with `is_ready`,
/// if it can do its work; 1 otherwise.
pub fn ask(listen: &str, is_ready: bool) -> ExitCode {
    if listen.is_empty() {
        eprintln!("observe_listen is not set: nobody can be asked");
        return ExitCode::from(2);
    }
    let path = if is_ready { "/readyz" } else { "/healthz" };
    match get_from(listen, path) {
        Ok((true, body)) => {
            println!("{body}");
            ExitCode::SUCCESS
        }
        Ok((false, body)) => {
            println!("{body}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("no answer from {listen}: {error}");
            ExitCode::from(1)
        }
    }
}

fn get_from(listen: &str, path: &str) -> std::io::Result<(bool, String)> {
    let address = reachable(listen)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok((answer.starts_with("HTTP/1.1 200"), body))
}

/// Whoever listens on every address is asked on the loopback.
fn reachable(listen: &str) -> std::io::Result<SocketAddr> {
    let none = || std::io::Error::other("it is no address with a port");
    let mut address = listen.to_socket_addrs()?.next().ok_or_else(none)?;
    if address.ip().is_unspecified() {
        let loopback: IpAddr = match address.ip() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    Ok(address)
}
