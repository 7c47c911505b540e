//! Serving HTTP until the process stops: requests in hand are answered first.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use crate::Shutdown;

/// How long open requests may take after the process was asked to stop; a stream of events never
/// ends by itself.
const DRAIN: Duration = Duration::from_secs(3);

/// Listens.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

/// Where a listener listens, with the port that the system chose.
pub fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("the address of a listener")
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let stop = shutdown.clone();
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.requested().await })
        .into_future();
    let overdue = async {
        shutdown.requested().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = served => served.context("serving HTTP"),
        () = overdue => Ok(()),
    }
}
