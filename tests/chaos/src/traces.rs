//! Spans as a receiver of OTLP that is not ours has them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Deserialize;

/// How long the spans of a rotation that has ended may be on their way.
const PATIENCE: Duration = Duration::from_secs(20);

/// A span.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    /// Whose, as `operational-unit op-1`.
    pub service: String,
    /// What was done.
    pub name: String,
    /// Its trace.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// The span that it is below; none for a root.
    pub parent_span_id: Option<String>,
    /// When it began, in nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// When it ended.
    pub end_unix_nano: u64,
    /// How it ended.
    pub status: Status,
}

/// How a span ended.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// OpenTelemetry's number.
    pub code: i32,
}

impl Span {
    /// How long it took.
    pub const fn took(&self) -> Duration {
        Duration::from_nanos(self.end_unix_nano.saturating_sub(self.start_unix_nano))
    }

    /// Whether what it stands for failed (`STATUS_CODE_ERROR`).
    pub const fn has_failed(&self) -> bool {
        self.status.code == 2
    }
}

/// A rotation's spans, each once.
#[derive(Debug)]
pub struct Trace {
    /// By id.
    pub spans: BTreeMap<String, Span>,
}

impl Trace {
    /// Reads the spans of a trace from the receiver until the rotation's own is there.
    pub async fn of(port: u16, trace_id: &str) -> anyhow::Result<Self> {
        let until = Instant::now() + PATIENCE;
        loop {
            let trace = Self::read(port, trace_id).await?;
            let has_root = trace.spans.values().any(|span| span.name == "rotation");
            // Whoever spoke last may still hold its spans back for a moment.
            let is_whole = has_root && trace.orphans().is_empty() && trace.has_clears();
            if is_whole {
                return Ok(trace);
            }
            ensure!(Instant::now() < until, "the trace {trace_id} is not whole: {trace:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn read(port: u16, trace_id: &str) -> anyhow::Result<Self> {
        let url = format!("http://127.0.0.1:{port}/received?trace={trace_id}");
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        let mut spans = BTreeMap::new();
        for line in text.lines() {
            let span: Span = serde_json::from_str(line)?;
            spans.insert(span.span_id.clone(), span);
        }
        Ok(Self { spans })
    }

    /// Spans whose parent is not in the trace.
    pub fn orphans(&self) -> Vec<&Span> {
        let has_parent = |span: &&Span| {
            span.parent_span_id.as_ref().is_none_or(|parent| self.spans.contains_key(parent))
        };
        self.spans.values().filter(|span| !has_parent(span)).collect()
    }

    fn has_clears(&self) -> bool {
        self.named("clear").filter(|span| span.service.contains("-unit ")).count() >= 5
    }

    /// Spans without a parent.
    pub fn roots(&self) -> Vec<&Span> {
        self.spans.values().filter(|span| span.parent_span_id.is_none()).collect()
    }

    /// Spans of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.spans.values().filter(move |span| span.name == name)
    }

    /// The parent of a span.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        self.spans.get(span.parent_span_id.as_ref()?)
    }

    /// The services in it.
    pub fn services(&self) -> BTreeSet<&str> {
        self.spans.values().map(|span| span.service.as_str()).collect()
    }
}
