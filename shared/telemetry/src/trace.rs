//! Traces: spans under the W3C trace context, sent over OTLP.
//!
//! A rotation goes over many processes, and outlives any of them. So a span's id is not drawn but
//! follows from its parent and its name ([`Context::child`]): a process that comes back after a
//! crash goes on under the same span, and what others did meanwhile has a parent in the trace. Spans
//! are told when they end, with the time of their beginning.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};
use sha2::{Digest, Sha256};

use crate::metric;

/// Spans wait for so long before they are sent together: a process that is killed loses no more.
const DELAY: Duration = Duration::from_millis(500);
/// Most spans that wait; more are dropped.
const MAX_WAITING: usize = 8_192;
/// How long the receiver may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);

static PROCESSOR: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// A place in a trace (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    trace: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

impl Context {
    /// The root of a trace of its own. The bytes must be random; those of a UUID are.
    pub fn root(random: [u8; 16]) -> Self {
        let span = derived(&[b"keyhelm root span", &random]);
        Self { trace: random, span, is_sampled: true }
    }

    /// Reads a `traceparent`; none if it is malformed or names no trace.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_known = version.len() == 2 && version != "ff";
        if !is_known || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (hex::<16>(trace)?, hex::<8>(span)?);
        let [flags] = hex::<1>(flags)?;
        let is_there = trace != [0; 16] && span != [0; 8];
        is_there.then_some(Self { trace, span, is_sampled: flags & 1 == 1 })
    }

    /// The place below this one that a name leads to: the same each time.
    pub fn child(&self, name: &str) -> Self {
        let span = derived(&[b"keyhelm child span", &self.trace, &self.span, name.as_bytes()]);
        Self { span, ..*self }
    }

    /// The same place, of which nothing is told.
    pub const fn unsampled(self) -> Self {
        Self { is_sampled: false, ..self }
    }

    /// The same place, told if the other is.
    #[must_use]
    pub const fn sampled_as(self, other: &Self) -> Self {
        Self { is_sampled: other.is_sampled, ..self }
    }

    /// Whether spans here are told.
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

/// As `traceparent` has it.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", u8::from(self.is_sampled))
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(is_lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn derived(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    id
}

/// Something that takes time. It is told by [`Span::end`], if it is sampled and spans are sent.
#[derive(Debug)]
pub struct Span {
    context: Context,
    parent: Option<Context>,
    name: &'static str,
    kind: SpanKind,
    begun: SystemTime,
    attributes: Vec<KeyValue>,
    error: Option<String>,
}

impl Span {
    /// Begins now. Without a parent it is the root of its trace.
    pub fn begin(name: &'static str, context: Context, parent: Option<Context>) -> Self {
        Self {
            context,
            parent,
            name,
            kind: SpanKind::Internal,
            begun: SystemTime::now(),
            attributes: Vec::new(),
            error: None,
        }
    }

    /// What a process does because a message asked it to.
    pub fn of_message(name: &'static str, context: Context, parent: Context) -> Self {
        Self { kind: SpanKind::Consumer, ..Self::begin(name, context, Some(parent)) }
    }

    /// It began at another time.
    #[must_use]
    pub const fn since(mut self, begun: SystemTime) -> Self {
        self.begun = begun;
        self
    }

    /// Something worth knowing about it; never a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// It did not succeed.
    #[must_use]
    pub fn failed(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Ends now.
    pub fn end(self) {
        self.end_at(SystemTime::now());
    }

    /// Ended at a time.
    pub fn end_at(self, ended: SystemTime) {
        let Some(processor) = PROCESSOR.get().filter(|_| self.context.is_sampled) else { return };
        processor.on_end(self.into_data(ended));
    }

    fn into_data(self, ended: SystemTime) -> SpanData {
        let flags = TraceFlags::SAMPLED;
        let span_context = SpanContext::new(
            TraceId::from_bytes(self.context.trace),
            SpanId::from_bytes(self.context.span),
            flags,
            false,
            TraceState::NONE,
        );
        let parent = self.parent.map_or(SpanId::INVALID, |it| SpanId::from_bytes(it.span));
        SpanData {
            span_context,
            parent_span_id: parent,
            parent_span_is_remote: self.kind == SpanKind::Consumer,
            span_kind: self.kind,
            name: self.name.into(),
            start_time: self.begun,
            end_time: ended.max(self.begun),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: self.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("keyhelm").build(),
        }
    }
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to {endpoint}: {reason}")]
pub struct TraceError {
    endpoint: String,
    reason: String,
}

/// Sends spans from now on to an OTLP receiver (gRPC), as those of the service `name`. To be called
/// within a runtime. A receiver that is away costs spans, never a rotation.
pub fn start(endpoint: &str, name: &str, version: &'static str) -> Result<(), TraceError> {
    let refused = |reason: String| TraceError { endpoint: endpoint.to_owned(), reason };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let batches = BatchConfigBuilder::default()
        .with_scheduled_delay(DELAY)
        .with_max_queue_size(MAX_WAITING)
        .build();
    let mut processor =
        BatchSpanProcessor::builder(Counted(exporter)).with_batch_config(batches).build();
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", name.to_owned()),
            KeyValue::new("service.namespace", "keyhelm"),
            KeyValue::new("service.version", version),
        ])
        .build();
    processor.set_resource(&resource);
    PROCESSOR.set(processor).map_err(|_| refused("they are sent already".to_owned()))
}

/// Sends what waits; spans that end afterwards are dropped. Blocks for a few seconds at most.
pub fn stop() {
    if let Some(processor) = PROCESSOR.get() {
        let _ = processor.shutdown_with_timeout(PATIENCE);
    }
}

/// Counts batches that did not arrive, and says so.
#[derive(Debug)]
struct Counted<E>(E);

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.0.export(batch).await;
        if let Err(error) = &exported {
            metric::count(metric::TRACE_EXPORT_FAILURES, &[]);
            tracing::debug!(%error, "spans were lost: the receiver of traces did not take them");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
