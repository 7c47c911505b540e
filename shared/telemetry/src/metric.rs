//! Metrics for Prometheus: every name, its kind and its meaning stand here and nowhere else.
//!
//! Names follow Prometheus' conventions: `_total` counts, `_seconds` and `_bytes` are base units.
//! Labels take few values: roles, phases, reasons, never an id of a key or a person.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often what was how large.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says, with its labels.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident, $kind:ident, $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help };)*
        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO, Gauge, "keyhelm_build_info",
        "1, with `version` and `process` of the program.";
    READY, Gauge, "keyhelm_ready",
        "1 if the process can do its work: it has a manifest, its broker and its database.";
    MESSAGES_HANDLED, Counter, "keyhelm_messages_handled_total",
        "Messages taken from a queue and acknowledged, by `queue`.";
    MESSAGES_REFUSED, Counter, "keyhelm_messages_refused_total",
        "Messages that could not be taken and went to the dead queue, by `queue` and `reason`.";
    MESSAGES_PUBLISHED, Counter, "keyhelm_messages_published_total",
        "Messages that the broker confirmed.";
    MESSAGES_UNDELIVERED, Counter, "keyhelm_messages_undelivered_total",
        "Messages that no queue took or the broker did not confirm, by `reason`; all can be asked again.";
    STATE_SAVES, Counter, "keyhelm_state_saves_total",
        "Saves of a process's state before it answered.";
    COMMANDS_REFUSED, Counter, "keyhelm_commands_refused_total",
        "Commands that a crypto unit or reencryptor refused, by `command` and `reason`.";
    MK_HOLDERS, Gauge, "keyhelm_mk_holders",
        "Crypto units that hold the current master key of the keystore, by `instance` and `role`, as of the last survey.";
    UNITS_EXPECTED, Gauge, "keyhelm_units_expected",
        "Crypto units that the manifest names, by `instance` and `role`.";
    UNITS_SILENT, Gauge, "keyhelm_units_silent",
        "Crypto units that did not answer the last survey, by `instance`.";
    PRECHECK_UNMET, Gauge, "keyhelm_precheck_unmet",
        "Conditions that would keep a rotation from starting, by `instance`, as of the last survey.";
    KEY_VERSIONS, Gauge, "keyhelm_key_versions",
        "Key versions in the keystore, by `instance`, as of the last survey.";
    LEASE_HELD, Gauge, "keyhelm_lease_held",
        "1 if this coordinator holds the lease and acts.";
    ROTATION_RUNNING, Gauge, "keyhelm_rotation_running",
        "1 while a rotation or a recovery runs, by `instance`.";
    ROTATION_HOLDING, Gauge, "keyhelm_rotation_holding",
        "1 while a hold of its order keeps the rotation that runs from going on, by `instance`.";
    ROTATIONS, Counter, "keyhelm_rotations_total",
        "Rotations that ended, by `instance` and `outcome` (done, aborted).";
    ROTATION_SECONDS, Histogram, "keyhelm_rotation_duration_seconds",
        "How long rotations took that ended well, by `instance`.";
    PHASE_SECONDS, Histogram, "keyhelm_rotation_phase_seconds",
        "How long each phase of a rotation or a recovery took, by `phase`.";
    GATE_CLOSED_SECONDS, Histogram, "keyhelm_gate_closed_seconds",
        "For how long rotations kept keys from being created, by `instance`.";
    LAST_ROTATION, Gauge, "keyhelm_last_rotation_timestamp_seconds",
        "When the last rotation ended well (Unix time), by `instance`; absent if none of the last 50 did.";
    KEYS_REWRAPPED, Counter, "keyhelm_keys_rewrapped_total",
        "Key versions written into a new generation.";
    PAGES, Counter, "keyhelm_pages_total",
        "Pages of re-encryption, by `outcome` (done, again).";
    PAGE_SECONDS, Histogram, "keyhelm_page_seconds",
        "How long a page took from asking to the unit's answer.";
    UNIT_PAGE_SECONDS, Histogram, "keyhelm_unit_page_seconds",
        "How long an operational unit worked on a page.";
    KEY_REQUESTS, Counter, "keyhelm_key_requests_total",
        "Requests of gateways that an operational unit answered.";
    HTTP_REQUESTS, Counter, "keyhelm_http_requests_total",
        "HTTP requests, by `route`, `method` (`other` if it is none of the common ones) and `status`.";
    HTTP_SECONDS, Histogram, "keyhelm_http_request_duration_seconds",
        "How long HTTP requests took, by `route`.";
    TRACE_EXPORT_FAILURES, Counter, "keyhelm_trace_export_failures_total",
        "Batches of spans that the receiver of traces did not take.";
}

/// Upper bounds of histograms, in seconds: from a page to a rotation of millions of keys.
const SECONDS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Methods that are told by their names. To HTTP any word is a method, and callers choose it: each
/// would be a series of its own, and a line of the log could say anything.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

static RENDERED: OnceLock<PrometheusHandle> = OnceLock::new();

/// Collects metrics from now on. A second call in one process does nothing.
pub fn start(process: &str, version: &'static str) {
    if RENDERED.get().is_some() {
        return;
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS);
    let Ok(handle) = builder.and_then(PrometheusBuilder::install_recorder) else {
        tracing::warn!("metrics are collected by somebody else in this process");
        return;
    };
    if RENDERED.set(handle).is_ok() {
        ALL.iter().for_each(describe);
        gauge(BUILD_INFO, &[("version", version.to_owned()), ("process", process.to_owned())], 1.0);
    }
}

fn describe(metric: &Metric) {
    let Metric { name, kind, help } = *metric;
    match kind {
        Kind::Counter => metrics::describe_counter!(name, help),
        Kind::Gauge => metrics::describe_gauge!(name, help),
        Kind::Histogram => metrics::describe_histogram!(name, help),
    }
}

/// All of them in Prometheus' text format; empty before [`start`].
pub fn render() -> String {
    let Some(handle) = RENDERED.get() else { return String::new() };
    handle.run_upkeep();
    handle.render()
}

/// Labels of one sample.
pub type Labels<'a> = &'a [(&'static str, String)];

/// One more.
pub fn count(metric: Metric, labels: Labels<'_>) {
    count_many(metric, labels, 1);
}

/// So many more.
pub fn count_many(metric: Metric, labels: Labels<'_>, many: u64) {
    debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
    metrics::counter!(metric.name, labels).increment(many);
}

/// A method as it is told, in metrics and in the log: its name, or `other`.
pub fn method(given: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == given).unwrap_or("other")
}

/// An HTTP request was answered. `route` is a pattern, never what a caller put into a path.
pub fn request(route: &str, method: &str, status: u16, took_so_long: Duration) {
    let route = [("route", route.to_owned())];
    took(HTTP_SECONDS, &route, took_so_long);
    let [route] = route;
    let labels =
        [route, ("method", self::method(method).to_owned()), ("status", status.to_string())];
    count(HTTP_REQUESTS, &labels);
}

/// As it stands now.
pub fn gauge(metric: Metric, labels: Labels<'_>, value: f64) {
    debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
    metrics::gauge!(metric.name, labels).set(value);
}

/// It took so long.
pub fn took(metric: Metric, labels: Labels<'_>, duration: Duration) {
    debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
    metrics::histogram!(metric.name, labels).record(duration.as_secs_f64());
}
