//! Clients that read and unwrap without an end while something is killed: whatever they are answered
//! is right, or a refusal that says that it is one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos::Gateway;
use chaos::compose::PATIENCE;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::witness::Witness;

/// Between two requests, so that the machine has time for others.
const PAUSE: Duration = Duration::from_millis(15);
/// What says that nothing has been done, and that somebody may come again.
const REFUSALS: [u16; 3] = [409, 429, 503];

#[derive(Default)]
struct Counted {
    right: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

/// How often clients were answered.
#[derive(Debug)]
pub struct Reads {
    /// As it should be.
    pub right: u64,
    /// With a refusal for now.
    pub refused: u64,
    /// Not at all.
    pub cut: u64,
}

/// Clients at work; they end when this is dropped.
pub struct Readers {
    counted: Arc<Counted>,
    _tasks: JoinSet<()>,
}

impl Readers {
    /// Lets them begin.
    pub fn begin(gateway: &Gateway, witness: &Witness) -> Self {
        let counted = Arc::new(Counted::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(read(gateway.clone(), witness.clone(), counted.clone()));
        Self { counted, _tasks: tasks }
    }

    /// Waits until one of them is served once more.
    pub async fn until_served(&self) {
        let before = self.counted.right.load(Ordering::Relaxed);
        let until = Instant::now() + PATIENCE;
        while self.counted.right.load(Ordering::Relaxed) == before {
            assert!(Instant::now() < until, "no client is served");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends them; nobody may have been told anything wrong.
    pub fn end(self, after: &str) -> Reads {
        let Counted { right, refused, cut, wrong } = &*self.counted;
        let wrong = wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{after}: clients were answered {wrong:?}");
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Reads { right: count(right), refused: count(refused), cut: count(cut) }
    }
}

async fn read(gateway: Gateway, witness: Witness, counted: Arc<Counted>) {
    let payload = format!("/api/v2/keys/{}", witness.standard);
    let (unwrap, body) = witness.unwrapping();
    let are_ours = |answer: &Value| {
        let keys = answer["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_ours = |key: &Value| key["id"].as_str().is_some_and(|id| witness.ids.contains(id));
        keys.len() == 10 && keys.iter().all(is_ours)
    };
    loop {
        let answer = gateway.call("GET", &payload, None).await;
        counted.note("read", answer, Witness::is_payload);
        let answer = gateway.call("POST", &unwrap, Some(&body)).await;
        counted.note("unwrap", answer, Witness::is_plaintext);
        let answer = gateway.call("GET", "/api/v2/keys?limit=10", None).await;
        counted.note("list", answer, are_ours);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Counted {
    fn note(
        &self,
        what: &str,
        answer: anyhow::Result<(u16, Value)>,
        is_right: impl Fn(&Value) -> bool,
    ) {
        let counter = match &answer {
            Ok((200, found)) if is_right(found) => &self.right,
            Ok((status, _)) if REFUSALS.contains(status) => &self.refused,
            Err(_) => &self.cut,
            Ok((status, found)) => {
                let mut wrong = self.wrong.lock().unwrap_or_else(|held| held.into_inner());
                wrong.push(format!("{what}: {status} {found}"));
                return;
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
