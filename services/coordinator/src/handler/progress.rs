//! What is told of a rotation's progress to those who look from outside: spans and metrics.
//!
//! Everything follows from the record, so that a coordinator that comes back goes on in the same
//! trace: a phase that had ended before is told again, the same, as it may have been lost.

use std::time::{Duration, SystemTime};

use machines::rotation::Rotation;
use machines::rotation::record::{Record, Verdict};
use protocol::audit::Phase;
use protocol::{RotationId, UnixMillis};
use telemetry::metric;
use telemetry::trace::{Context, Span};

/// The rotation's place in a trace, and that of whoever asked for it. Without one its trace has the
/// rotation's own id.
fn root(record: &Record, rotation: RotationId) -> (Context, Option<Context>) {
    let asked = record.traceparent.as_deref().and_then(Context::parse);
    match asked {
        Some(asked) => (asked.child(&format!("rotation {rotation}")), Some(asked)),
        None => (Context::root(*rotation.bytes()), None),
    }
}

fn phase_context(root: &Context, number: usize, phase: Phase) -> Context {
    root.child(&format!("phase {number} {phase}"))
}

/// The place in a trace of what is asked in the phase that the rotation is in.
pub(super) fn current(record: &Record, rotation: RotationId) -> Context {
    let (root, _) = root(record, rotation);
    phase_context(&root, record.phases.len().saturating_sub(1), record.phase())
}

/// Most records that are looked through for the last rotation that ended well.
pub(super) const LOOKED_BACK: u32 = 50;

/// What is told of an instance as soon as it is known; `records` are its rotations, newest first.
/// What has not happened yet is a zero: a counter that is born at 1 shows no increase to Prometheus.
pub(super) fn known(instance: &str, records: &[Record]) {
    let_go(instance);
    for outcome in [Phase::Done, Phase::Aborted] {
        metric::count_many(metric::ROTATIONS, &by_outcome(instance, outcome), 0);
    }
    let ended_well = |record: &&Record| record.phase() == Phase::Done && !is_recovery(record);
    let last = records.iter().find(ended_well).and_then(|record| record.finished_at);
    if let Some(finished) = last {
        tell_last(instance, finished);
    }
}

/// How much of the newest rotation has been told.
#[derive(Debug, Default)]
pub(super) struct Told {
    rotation: Option<RotationId>,
    phases: usize,
    is_ended: bool,
}

/// What there is to tell, for after the save.
pub(super) type Telling = Box<dyn FnOnce() + Send>;

impl Told {
    /// Says nothing more of a rotation that had ended before this process began.
    pub(super) fn all_of(rotation: RotationId, record: &Record) -> Self {
        Self { rotation: Some(rotation), phases: record.phases.len(), is_ended: true }
    }

    /// What has not been told yet of the rotation as it stands.
    pub(super) fn news(&mut self, instance: &str, rotation: &Rotation) -> Option<Telling> {
        holding(instance, rotation.holds_until().is_some());
        let (rotation, record) = (rotation.reference().rotation, rotation.record());
        if self.rotation != Some(rotation) {
            *self = Self { rotation: Some(rotation), ..Self::default() };
            running(instance, true);
        }
        let ended = record.phases.len().saturating_sub(1);
        let is_over = record.finished_at.is_some();
        let is_news = ended > self.phases || (is_over && !self.is_ended);
        if !is_news {
            return None;
        }
        let (from, was_ended) = (self.phases, self.is_ended);
        (self.phases, self.is_ended) = (ended, is_over);
        let (record, instance) = (record.clone(), instance.to_owned());
        Some(Box::new(move || {
            for number in from..ended {
                tell_phase(&record, rotation, number);
            }
            if is_over && !was_ended {
                tell_end(&instance, &record, rotation);
            }
        }))
    }
}

/// What there is to tell of the end of an earlier rotation; another one may run by now.
pub(super) fn closed(
    instance: &str,
    rotation: RotationId,
    record: &Record,
    is_rotating: bool,
) -> Telling {
    let (record, instance) = (record.clone(), instance.to_owned());
    Box::new(move || {
        tell_end(&instance, &record, rotation);
        running(&instance, is_rotating);
    })
}

fn tell_phase(record: &Record, rotation: RotationId, number: usize) {
    let (Some((phase, begun)), Some((_, ended))) =
        (record.phases.get(number), record.phases.get(number + 1))
    else {
        return;
    };
    let (root, _) = root(record, rotation);
    let took = Duration::from_millis(ended.since(*begun));
    metric::took(metric::PHASE_SECONDS, &[("phase", phase.name().to_owned())], took);
    Span::begin(phase.name(), phase_context(&root, number, *phase), Some(root))
        .since(time(*begun))
        .end_at(time(*ended));
}

fn tell_end(instance: &str, record: &Record, rotation: RotationId) {
    let Some(finished) = record.finished_at else { return };
    running(instance, false);
    // A unit that recovers is no rotation in these: it is in the trace and in the audit log.
    if !is_recovery(record) {
        count_rotation(instance, record, finished);
    }
    tell_root(instance, record, rotation, finished);
}

fn is_recovery(record: &Record) -> bool {
    record.order().is_ok_and(|(order, _)| order.purpose.recovery().is_some())
}

fn count_rotation(instance: &str, record: &Record, finished: UnixMillis) {
    let by_instance = [("instance", instance.to_owned())];
    let took = Duration::from_millis(finished.since(record.started_at()));
    metric::count(metric::ROTATIONS, &by_outcome(instance, record.phase()));
    if record.phase() == Phase::Done {
        metric::took(metric::ROTATION_SECONDS, &by_instance, took);
        tell_last(instance, finished);
    }
    if let Some((from, Some(until))) = record.gate_closed {
        let closed = Duration::from_millis(until.since(from));
        metric::took(metric::GATE_CLOSED_SECONDS, &by_instance, closed);
    }
}

/// The span of the whole.
fn tell_root(instance: &str, record: &Record, rotation: RotationId, finished: UnixMillis) {
    let (root, asked) = root(record, rotation);
    let outcome = record.phase().name();
    let (total, done) = record.keys;
    let mut span = Span::begin("rotation", root, asked)
        .since(time(record.started_at()))
        .with("keyhelm.instance", instance.to_owned())
        .with("keyhelm.rotation", rotation.to_string())
        .with("keyhelm.outcome", outcome)
        .with("keyhelm.keys_total", total as i64)
        .with("keyhelm.keys_done", done as i64);
    if let Verdict::Aborted { because } = &record.verdict {
        span = span.failed(because.clone());
    }
    span.end_at(time(finished));
}

/// Nothing runs here: nothing yet, or not any more, as another coordinator drives it, and alerts go by what that
/// one says.
pub(super) fn let_go(instance: &str) {
    running(instance, false);
    holding(instance, false);
}

fn by_outcome(instance: &str, outcome: Phase) -> [(&'static str, String); 2] {
    [("instance", instance.to_owned()), ("outcome", outcome.name().to_owned())]
}

fn tell_last(instance: &str, finished: UnixMillis) {
    let labels = [("instance", instance.to_owned())];
    metric::gauge(metric::LAST_ROTATION, &labels, finished.0 as f64 / 1000.0);
}

fn running(instance: &str, is_running: bool) {
    let labels = [("instance", instance.to_owned())];
    metric::gauge(metric::ROTATION_RUNNING, &labels, f64::from(u8::from(is_running)));
}

fn holding(instance: &str, is_holding: bool) {
    let labels = [("instance", instance.to_owned())];
    metric::gauge(metric::ROTATION_HOLDING, &labels, f64::from(u8::from(is_holding)));
}

fn time(at: UnixMillis) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)
}
