//! Going on: with the saved rotation after a start, and with one that nobody drives.

use std::collections::BTreeSet;

use protocol::audit::Phase;
use protocol::order::Purpose;
use protocol::report::UnitReport;
use protocol::{KeystoreId, UnixMillis};
use rand::CryptoRng;

use super::survey::Answered;
use super::{Answer, AskId, Conductor, Effects};
use crate::rotation::precheck::{Findings, TAKE_UP};
use crate::rotation::record::{Record, Verdict};
use crate::rotation::recovery::{self, Reports};
use crate::rotation::{Event, Input as RotationInput};

/// Says that what is joined is not what was asked for, but comes first.
pub(super) fn taken_up((id, mut answer): (AskId, Answer)) -> (AskId, Answer) {
    if let Answer::Started { rotation, warnings, .. } = &mut answer {
        let name = rotation.rotation;
        let text =
            format!("rotation {name} was left behind by whoever drove it: it is ended first");
        warnings.warn("taken-up", "instance", text, TAKE_UP.to_owned());
    }
    (id, answer)
}

/// Says that the order is used up by closing a keystore, and why it is ended from its beginning.
pub(super) fn closes_left_open(findings: &mut Findings, record: &mut Record) -> Event {
    let left = findings.unmet.drain(..).map(|found| found.text).collect::<Vec<_>>().join("; ");
    let because = format!("{left}, which no unit knows any more: the end of this order closes it");
    findings.warn("taken-up", "instance", because.clone(), TAKE_UP.to_owned());
    record.verdict = Verdict::Aborted { because: because.clone() };
    Event { phase: Phase::Survey, text: format!("taken up: {because}") }
}

impl Conductor {
    /// The answer to whoever asks for a rotation while one is running.
    pub(super) fn joined(&self, id: AskId) -> Option<(AskId, Answer)> {
        let rotation = self.rotation.as_ref().filter(|found| !found.is_ended())?;
        let (rotation, warnings) = (Box::new(rotation.to_view()), Findings::default());
        Some((id, Answer::Started { rotation, joined: true, warnings }))
    }

    /// Goes on after a start, with all that was ever heard. What is rebuilt from reports and to be aborted
    /// is so only after a round of *inspect* like any other abort, while a unit has not been heard: it may
    /// have promoted. While a keystore has not, it is gone on with: it may have flipped, and to go forward is
    /// never wrong.
    pub(super) fn recovered<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        record: Option<Record>,
        answered: &Answered,
        effects: &mut Effects,
    ) {
        let reports = self.reports();
        let saved = record.as_ref().map(|record| record.signed_order.clone());
        let found = recovery::recover(record, &reports, now);
        effects.closed = found.closed;
        let Some(mut record) = found.go_on else { return };
        let is_sure =
            saved.as_ref() == Some(&record.signed_order) || self.has_heard_everybody(answered);
        let unsure = match &record.verdict {
            Verdict::Aborted { because } if !is_sure => Some(because.clone()),
            _ => None,
        };
        if unsure.is_some() {
            record.verdict = Verdict::Open;
        }
        self.go_on(now, rng, record, answered, effects);
        if let Some(because) = unsure {
            self.turn(now, rng, RotationInput::Abort { because }, effects);
        }
    }

    /// What everybody last said.
    fn reports(&self) -> Reports<'_> {
        Reports {
            units: self.heard.units.values().map(|heard| &heard.said).collect(),
            keystores: self.heard.keystores.values().map(|heard| &heard.said).collect(),
        }
    }

    /// Keystores that have just said how they stand.
    pub(super) fn surveyed_keystores(&self, answered: &Answered) -> BTreeSet<KeystoreId> {
        self.heard
            .keystores_among(answered)
            .filter_map(|heard| Some(heard.said.row.as_ref()?.keystore))
            .collect()
    }

    /// Whether everybody has just said how it stands.
    fn has_heard_everybody(&self, answered: &Answered) -> bool {
        let Some(newest) = self.trust.newest() else { return true };
        let keystores = self.surveyed_keystores(answered);
        newest.crypto_units().all(|unit| answered.contains(&unit.id))
            && newest.keystores.iter().all(|id| keystores.contains(id))
    }

    /// Takes up a rotation that units or a keystore are in and that nobody drives: a coordinator
    /// that lost its record, or one that was none of ours, has left it behind. Only when everybody
    /// has just been heard: a unit that is silent could have promoted, a keystore flipped. Whether there
    /// was one.
    pub(super) fn take_up<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        answered: &Answered,
        effects: &mut Effects,
    ) -> bool {
        if self.trust.newest().is_none() || self.is_rotating() {
            return false;
        }
        if !self.has_heard_everybody(answered) {
            return false;
        }
        let surveyed = self.look(answered, Purpose::Rotate, None, &[]);
        let units = surveyed.units.iter().map(|(report, _)| *report).collect();
        let keystores = surveyed.keystores.iter().map(|(report, _)| *report).collect();
        let found = recovery::recover(None, &Reports { units, keystores }, now);
        let Some(record) = found.go_on else { return false };
        let text = "taken up: units or the keystore were in a rotation that nobody drove";
        effects.events.push(Event { phase: Phase::Survey, text: text.to_owned() });
        self.go_on(now, rng, record, answered, effects);
        true
    }

    /// Whether a unit has taken a later order, and by what everybody has said this one has ended: the record
    /// that is gone on with is an old one, and who was silent after the start has not told. What is being
    /// aborted is aborted all the same in whoever is still bound to it.
    pub(super) fn is_superseded(&self, report: &UnitReport) -> bool {
        let running = self.rotation.as_ref().filter(|found| {
            let is_aborted = matches!(found.record().verdict, Verdict::Aborted { .. });
            !found.is_ended() && !is_aborted
        });
        running.is_some_and(|found| {
            report.last_number() > found.reference().number
                && !self.reports().goes_on(found.reference())
        })
    }

    pub(super) fn go_on<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        mut record: Record,
        answered: &Answered,
        effects: &mut Effects,
    ) {
        let base = record.order().map(|(_, order)| order.number.manifest_serial).ok();
        record.epoch = self.next_epoch(base, Some(record.epoch));
        if let Err(error) = self.start_rotation(now, rng, record, answered, effects) {
            let text = format!("the saved rotation cannot be gone on with: {error}");
            effects.events.push(Event { phase: Phase::Survey, text });
        }
        // An old record does not know that a manifest has ended its order to recover.
        if base.is_some_and(|serial| serial < self.trust.serial()) {
            self.end_recovery_by_manifest(now, rng, effects);
        }
    }
}
