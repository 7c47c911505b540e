//! Reading a message: who says it, whether it is theirs to say, and what it means for the rotation.

use protocol::codec::{self, Decode};
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::Kind;
use protocol::manifest::SignedManifest;
use protocol::report::{Announcement, Answering, KeystoreReport, UnitReport};
use protocol::{ProcessId, Role, UnixMillis};
use rand::CryptoRng;

use super::{Conductor, Effects};
use crate::envelope::{self, EnvelopeRefusal, Opened, Reader};
use crate::rotation::Input as RotationInput;
use crate::trust::Trust;

/// A message that could be taken.
struct Read {
    sender: ProcessId,
    /// It says that the sender would not take the manifest that it was handed.
    is_refusal: bool,
    /// What the rotation learns of it; nothing from whom no manifest vouches for.
    input: Option<RotationInput>,
}

impl Conductor {
    pub(super) fn take_message<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        bytes: &[u8],
        effects: &mut Effects,
    ) {
        match self.read(now, bytes) {
            Err(reason) => effects.dead = Some(reason),
            Ok(Read { sender, is_refusal, input }) => {
                // Who has just refused the manifest would refuse it for ever.
                if !is_refusal {
                    self.catch_up(now, rng, sender, effects);
                }
                if let Some(RotationInput::SetBack(report, _)) = &input {
                    self.remind(now, rng, report, effects);
                }
                if let Some(RotationInput::Unit(report, _)) = &input
                    && self.is_superseded(report)
                {
                    let found = self.survey_anew(now, rng);
                    effects.send.extend(found.send);
                }
                if let Some(RotationInput::Keystore(report, _)) = &input
                    && self.has_asked(sender, report.answering.as_ref())
                    && let Some(rotation) = &mut self.rotation
                {
                    rotation.note_surveyed(report);
                }
                if let Some(input) = input {
                    self.turn(now, rng, input, effects);
                }
            }
        }
    }

    /// Verifies, decodes, and notes what was said; the error is the reason for the dead-letter queue.
    fn read(&mut self, now: UnixMillis, bytes: &[u8]) -> Result<Read, &'static str> {
        let reader = Reader { id: self.id, role: Role::Coordinator };
        let opened = match envelope::open(bytes, reader, &self.trust) {
            Ok(opened) => opened,
            // Who was removed answers the manifest that says so; nothing follows from it.
            Err(EnvelopeRefusal::UnknownSender(sender)) if self.was_member(sender, bytes) => {
                return Ok(Read { sender, is_refusal: true, input: None });
            }
            Err(refusal) => return Err(refusal.reason()),
        };
        let sender = opened.header.sender;
        let is_vouched = opened.sender_role.is_some();
        let (is_refusal, input) = match opened.header.kind {
            Kind::UnitReport => {
                let report: UnitReport = decoded(&opened, Role::is_crypto_unit, "not-a-unit")?;
                is_about(sender, report.unit)?;
                let is_set_back = self.is_set_back(&report);
                self.note_awareness(&report, is_set_back);
                let is_asked_now = self.note_answer(sender, report.answering.as_ref());
                self.heard.take_unit(now, &report, bytes, is_asked_now || is_set_back);
                if self.has_asked(sender, report.answering.as_ref()) {
                    self.heard.answered.insert(sender);
                }
                let is_refusal = refuses_manifest(report.answering.as_ref());
                let (report, bytes) = (Box::new(report), bytes.to_vec());
                match is_set_back {
                    true => (is_refusal, RotationInput::SetBack(report, bytes)),
                    false => (is_refusal, RotationInput::Unit(report, bytes)),
                }
            }
            Kind::KeystoreReport => {
                let is_reencryptor = |role| role == Role::Reencryptor;
                let report: KeystoreReport = decoded(&opened, is_reencryptor, "not-a-reencryptor")?;
                is_about(sender, report.reencryptor)?;
                let is_asked_now = self.note_answer(sender, report.answering.as_ref());
                self.heard.take_keystore(now, &report, is_asked_now);
                self.note_check(now, &report);
                let is_refusal = refuses_manifest(report.answering.as_ref());
                (is_refusal, RotationInput::Keystore(Box::new(report), bytes.to_vec()))
            }
            Kind::Transfers if is_vouched => {
                let is_recovery = |role| role == Role::RecoveryUnit;
                let transfers = decoded(&opened, is_recovery, "not-a-recovery-unit")?;
                (false, RotationInput::Transfers(transfers))
            }
            Kind::Announcement => {
                let announced: Announcement = decoded(&opened, |_| true, "")?;
                is_about(sender, announced.member.id)?;
                self.heard.take_announcement(now, announced);
                return Ok(Read { sender, is_refusal: false, input: None });
            }
            _ => return Err("unexpected-kind"),
        };
        Ok(Read { sender, is_refusal, input: Some(input).filter(|_| is_vouched) })
    }

    /// Whether this was signed by a member of the newest manifest that names it.
    fn was_member(&self, who: ProcessId, bytes: &[u8]) -> bool {
        let reader = Reader { id: self.id, role: Role::Coordinator };
        let chain = self.trust.chain();
        let names = |signed: &SignedManifest| {
            signed.unverified().is_ok_and(|manifest| manifest.member(who).is_some())
        };
        let Some(newest) = chain.iter().rposition(names) else { return false };
        let older = Trust::from_saved(self.trust.instance(), chain[..=newest].to_vec());
        older.is_ok_and(|older| envelope::open(bytes, reader, &older).is_ok())
    }

    /// Whoever reports an older manifest is handed the chain since.
    pub(super) fn catch_up<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        who: ProcessId,
        effects: &mut Effects,
    ) {
        let Some(role) = self.role_by_manifest(who) else { return };
        let Some(serial) = self.heard.manifest_serial(who) else { return };
        if serial >= self.trust.serial() {
            return;
        }
        let chain = self.trust.chain()[serial as usize..].to_vec();
        let message = match role {
            Role::Reencryptor => {
                self.seal_keystore(now, rng, who, &KeystoreCommand::TakeManifest { chain })
            }
            Role::Gateway => {
                let body = codec::encode(&Command::TakeManifest { chain });
                self.seal(now, rng, who, Kind::ManifestNotice, "take-manifest", &body)
            }
            _ => self.seal_unit(now, rng, who, &Command::TakeManifest { chain }),
        };
        effects.send.push(message);
    }

    /// Its role by the newest manifest that names it: whoever has been removed learns of it too.
    pub(super) fn role_by_manifest(&self, who: ProcessId) -> Option<Role> {
        let newest = self.trust.member(who).map(|member| member.role);
        newest.or_else(|| {
            let chain = self.trust.chain().iter().rev();
            let mut older = chain.filter_map(|signed| signed.unverified().ok());
            older.find_map(|manifest| manifest.member(who).map(|member| member.role))
        })
    }
}

/// The body, where a sender whom a manifest names has a role that may say it.
fn decoded<T: Decode<()>>(
    opened: &Opened<'_>,
    may_say: impl Fn(Role) -> bool,
    otherwise: &'static str,
) -> Result<T, &'static str> {
    if opened.sender_role.is_some_and(|role| !may_say(role)) {
        return Err(otherwise);
    }
    codec::decode(opened.body).map_err(|error| error.reason())
}

/// Everybody speaks for itself only.
fn is_about(sender: ProcessId, subject: ProcessId) -> Result<(), &'static str> {
    if sender == subject { Ok(()) } else { Err("speaks-for-another") }
}

/// Whoever refuses anything else is handed the manifest that it lacks: that may be why.
fn refuses_manifest(answering: Option<&Answering>) -> bool {
    let refusal = answering.and_then(|answering| answering.refusal.as_ref());
    refusal.is_some_and(|refusal| refusal.code == "manifest-refused")
}
