//! Serving HTTP until the process stops: requests in hand are answered first, and a caller who says
//! nothing keeps no connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Shutdown;

/// How long open requests may take after the process was asked to stop; a stream of events never
/// ends by itself.
const DRAIN: Duration = Duration::from_secs(10);

/// What callers may take up before they have shown a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long a connection may take for the head of its next request, silence included.
    pub head: Duration,
    /// Connections at once; the next one is taken when one of them ends.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { head: Duration::from_secs(60), connections: 4_096 }
    }
}

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
    serve_within(Bounds::default(), listener, router, shutdown).await
}

/// The same within other bounds.
pub async fn serve_within(
    bounds: Bounds,
    mut listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    // Without a timer the head of a request is waited for without end.
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    let open = GracefulShutdown::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&mut listener, &places) => accepted?,
            () = shutdown.requested() => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let served = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                // Callers go away when they like.
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    // Who is not answered by then is not waited for.
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
    Ok(())
}

/// The next connection, as soon as there is a place for it.
async fn accept(
    listener: &mut TcpListener,
    places: &Arc<Semaphore>,
) -> anyhow::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.context("places for connections")?;
    let (stream, _) = Listener::accept(listener).await;
    Ok((stream, place))
}
