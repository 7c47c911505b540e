//! A TCP proxy on loopback whose connections a test can cut, and whose server can be "not there yet".

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::port;

/// A proxy to one server.
pub struct Proxy {
    address: SocketAddr,
    target: String,
    cut: Arc<watch::Sender<u64>>,
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Takes a free port; nothing listens on it yet.
    pub fn reserve(target: String) -> std::io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()?));
        Ok(Self { address, target, cut: Arc::new(watch::Sender::new(0)), task: None })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Starts to listen.
    pub async fn open(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let (target, cut) = (self.target.clone(), self.cut.clone());
        self.task = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut cut) = (target.clone(), cut.subscribe());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(&target).await else { return };
                    let (mut client, mut server) = (client, server);
                    // Small messages must not wait for one another's acknowledgement.
                    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
                        return;
                    }
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        }));
        Ok(())
    }

    /// Cuts every connection that is open; new ones are taken.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Cuts every connection and takes no more until it is opened again.
    pub fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.cut();
    }
}
