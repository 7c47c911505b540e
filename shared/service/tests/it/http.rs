//! What a caller without a token can take up, and what is still answered when a process stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use service::Shutdown;
use service::http::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
const HEAD: Duration = Duration::from_millis(300);
const WHOLE: &str = "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    async fn start(router: Router, connections: usize) -> Self {
        let listener = service::http::listen("127.0.0.1:0").await.unwrap();
        let address = service::http::address(&listener).unwrap();
        let shutdown = Shutdown::new();
        let bounds = Bounds { head: HEAD, connections };
        let serving = service::http::serve_within(bounds, listener, router, shutdown.clone());
        Self { address, shutdown, serving: tokio::spawn(serving) }
    }

    /// A connection on which so much has been said.
    async fn connect(&self, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Everything that is answered until the connection is closed.
async fn until_closed(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    // A connection that is reset is closed too.
    let _ = read.await.expect("the connection is closed");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_connection_without_the_whole_head_of_a_request_is_closed() {
    let server = Server::start(hello(), 10).await;
    let half = &WHOLE[..WHOLE.len() - 4];
    let asked = until_closed(server.connect(WHOLE).await).await;
    assert!(asked.starts_with("HTTP/1.1 200") && asked.ends_with("hello"), "{asked}");
    for said in ["", "G", half] {
        let answer = until_closed(server.connect(said).await).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{said}: {answer}");
    }
    // Nor is one kept on which nothing more is asked.
    let kept = WHOLE.replace("Connection: close\r\n", "");
    let answer = until_closed(server.connect(&kept).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_connection_too_many_is_taken_when_another_ends() {
    let server = Server::start(hello(), 1).await;
    let begun = Instant::now();
    let silent = server.connect("").await;
    let answer = until_closed(server.connect(WHOLE).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() >= HEAD, "it was answered beside the other");
    assert_eq!(until_closed(silent).await, "");
}

#[tokio::test]
async fn a_request_in_hand_is_answered_when_the_process_stops() {
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (arrived.clone(), go_on.clone());
    let slow = async move || {
        told.notify_one();
        wait.notified().await;
        "at last"
    };
    let server = Server::start(Router::new().route("/", get(slow)), 10).await;
    let asked = server.connect(WHOLE).await;
    arrived.notified().await;
    server.shutdown.trigger();
    // Nobody listens any more.
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.expect("the listener is closed");
    go_on.notify_one();
    let answer = until_closed(asked).await;
    assert!(answer.ends_with("at last"), "{answer}");
    server.serving.await.unwrap().unwrap();
}
