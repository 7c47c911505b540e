//! A check of all keys before a start: every keystore's reencryptor has them opened in the units,
//! and says how far it has come. Nothing is saved; whoever asks while one runs shares it.

use std::collections::BTreeMap;

use protocol::api::KeyCheckView;
use protocol::command::KeystoreCommand;
use protocol::order::Order;
use protocol::page::{KeyCheck, KeyCheckEnd, UnopenedRow};
use protocol::report::KeystoreReport;
use protocol::{CheckId, KeystoreId, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::{Ask, AskId, Conductor, Effects, StartAsk};
use crate::rotation::precheck::Findings;

/// How often a reencryptor that has not said that it is done is asked how far it is.
const ASK_EVERY_MS: u64 = 2_000;
/// A check that does not come further for so long is given up.
const STANDS_STILL_MS: u64 = 15_000;

/// A check that runs, or the last one.
#[derive(Debug)]
pub(super) struct Check {
    id: CheckId,
    started_at: UnixMillis,
    /// What was said last of each keystore, and by whom it is checked.
    keystores: BTreeMap<KeystoreId, Checking>,
    ask_at: UnixMillis,
    further_at: UnixMillis,
    is_ended: bool,
    waiting: Vec<(AskId, StartAsk)>,
}

#[derive(Debug)]
struct Checking {
    by: ProcessId,
    said: Option<KeyCheck>,
}

/// What a check came to, for the start that asked for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    /// Of each keystore what its reencryptor said last.
    pub(super) keystores: Vec<KeyCheck>,
    /// Why it has not come to its end, of each keystore where it has not.
    failed: Vec<(KeystoreId, String)>,
}

impl Checked {
    /// Keys that do not open, but for those that the order carries in quarantine, and checks that
    /// have not come to their end.
    pub(super) fn note(&self, order: Option<&Order>, findings: &mut Findings) {
        for (keystore, why) in &self.failed {
            let text = format!("the check of the keys of keystore {keystore} has not ended: {why}");
            let mend = "keyhelm auto-mk-rotate --check-keys".to_owned();
            findings.unmet("key-check-failed", &format!("keystore {keystore}"), text, mend);
        }
        let is_carried =
            |row: &UnopenedRow| order.is_some_and(|order| order.quarantined.contains(&row.key));
        for check in &self.keystores {
            for row in check.unopened.iter().filter(|row| !is_carried(row)) {
                let UnopenedRow { version, key, reason } = row;
                let text = format!("version {version} of key {key} does not open: {reason}");
                let mend = format!(
                    "bring its row back from a backup, purge the key, or carry it as it is: \
                     keyhelm auto-mk-rotate --quarantine {key}"
                );
                findings.unmet("key-unopened", &format!("key {key}"), text, mend);
            }
            let unnamed = check.unopened_count.saturating_sub(check.unopened.len() as u64);
            if unnamed > 0 {
                let text = format!("{unnamed} more key versions do not open");
                let mend = "keyhelm keys check".to_owned();
                findings.unmet("key-unopened", &format!("keystore {}", check.keystore), text, mend);
            }
        }
    }

    /// How long the slowest took.
    pub(super) fn took_ms(&self) -> u64 {
        self.keystores.iter().map(|check| check.took_ms).max().unwrap_or_default()
    }

    /// Versions that opened, and those that did not.
    pub(super) fn counts(&self) -> (u64, u64) {
        let unopened = self.keystores.iter().map(|check| check.unopened_count).sum();
        let checked: u64 = self.keystores.iter().map(|check| check.checked_count).sum();
        (checked.saturating_sub(unopened), unopened)
    }
}

impl Conductor {
    /// The check that runs, else the last one.
    pub fn key_check(&self) -> Option<KeyCheckView> {
        let check = self.check.as_ref()?;
        let said = |checking: &Checking| checking.said.clone();
        Some(KeyCheckView {
            check: check.id,
            started_at: check.started_at,
            is_ended: check.is_ended,
            keystores: check.keystores.values().filter_map(said).collect(),
        })
    }

    /// When the check that runs wants to be looked at again.
    pub(super) fn check_deadline(&self) -> Option<UnixMillis> {
        let check = self.check.as_ref().filter(|check| !check.is_ended)?;
        Some(check.ask_at.min(check.further_at.plus_ms(STANDS_STILL_MS)))
    }

    /// Begins a check, or shares the one that runs; the start is gone on with at its end.
    pub(super) fn check_keys<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        id: AskId,
        start: StartAsk,
        effects: &mut Effects,
    ) {
        if let Some(check) = self.check.as_mut().filter(|check| !check.is_ended) {
            check.waiting.push((id, start));
            return;
        }
        self.check = Some(Check {
            id: CheckId::from_uuid(crypto::random::uuid_v7(now, rng)),
            started_at: now,
            keystores: self.served_keystores(),
            ask_at: now,
            further_at: now,
            is_ended: false,
            waiting: vec![(id, start)],
        });
        self.go_on_checking(now, rng, effects);
    }

    /// The keystores of the manifest, each with a reencryptor that has reported it.
    fn served_keystores(&self) -> BTreeMap<KeystoreId, Checking> {
        let Some(manifest) = self.trust.newest() else { return BTreeMap::new() };
        let mut served = BTreeMap::new();
        for (id, heard) in &self.heard.keystores {
            let Some(row) = &heard.said.row else { continue };
            if manifest.keystores.contains(&row.keystore) {
                served.entry(row.keystore).or_insert(Checking { by: *id, said: None });
            }
        }
        served
    }

    /// Notes how far a reencryptor says that a check is.
    pub(super) fn note_check(&mut self, now: UnixMillis, report: &KeystoreReport) {
        let Some(check) = self.check.as_mut().filter(|check| !check.is_ended) else { return };
        let Some(said) = report.check.as_ref().filter(|said| said.check == check.id) else {
            return;
        };
        let Some(checking) = check.keystores.get_mut(&said.keystore) else { return };
        // One that was started anew begins anew.
        let is_news = checking.by == report.reencryptor && checking.said.as_ref() != Some(said);
        if is_news {
            check.further_at = now;
            checking.said = Some(said.clone());
        }
    }

    /// Asks how far it is, or ends it; those who wait start again with what it came to.
    pub(super) fn go_on_checking<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        let Some(check) = self.check.as_mut().filter(|check| !check.is_ended) else { return };
        let is_open =
            |checking: &Checking| checking.said.as_ref().is_none_or(|said| said.end.is_none());
        let open: Vec<_> =
            check.keystores.values().filter(|it| is_open(it)).map(|it| it.by).collect();
        let is_given_up = now >= check.further_at.plus_ms(STANDS_STILL_MS);
        if open.is_empty() || is_given_up {
            check.is_ended = true;
            let checked = check.checked();
            for (id, start) in std::mem::take(&mut check.waiting).into_iter().rev() {
                self.checked.insert(id, checked.clone());
                self.waiting.push_front((id, Ask::Start(Box::new(start))));
            }
            return;
        }
        if now >= check.ask_at {
            check.ask_at = now.plus_ms(ASK_EVERY_MS);
            let command = KeystoreCommand::CheckKeys { check: check.id };
            for who in open {
                let message = self.seal_keystore(now, rng, who, &command);
                effects.send.push(message);
            }
        }
    }
}

impl Check {
    fn checked(&self) -> Checked {
        let mut checked = Checked::default();
        for (keystore, Checking { said, .. }) in &self.keystores {
            let end = said.as_ref().and_then(|said| said.end.as_ref());
            match end {
                Some(KeyCheckEnd::Done { .. }) => {}
                Some(KeyCheckEnd::Failed(why)) => checked.failed.push((*keystore, why.clone())),
                None => {
                    let why = "its reencryptor does not come further".to_owned();
                    checked.failed.push((*keystore, why));
                }
            }
            checked.keystores.extend(said.clone());
        }
        checked
    }
}
