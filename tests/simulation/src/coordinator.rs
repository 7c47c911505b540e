//! The coordinator's process: the shipped conductor and its saved record.

use std::sync::Arc;

use crypto::identity::{self, Identity};
use crypto::secret::Secret;
use machines::conductor::{Answer, Ask, Conductor, Effects, Input, Message, Times};
use machines::receipt::{receipt_hash, verify};
use machines::rotation::record::Record;
use machines::rotation::{Lacking, Limits};
use machines::trust::Trust;
use protocol::order::SignedStandingOrder;
use protocol::receipt::{AuditHead, RotationReceipt};
use protocol::{Digest, ProcessId, Role, RotationId, UnixMillis};
use rand_chacha::ChaCha8Rng;

use crate::records::RecordTable;

/// What is wrong with a rotation's receipt.
pub enum ReceiptFault {
    /// It does not hold.
    Wrong(String),
    /// There is none.
    Lacking(Lacking),
}

/// The coordinator's process.
pub struct CoordinatorNode {
    /// Its id.
    pub id: ProcessId,
    /// What it has saved of rotations.
    records: RecordTable,
    /// Why something could not be saved.
    pub record_fault: Option<&'static str>,
    /// The last receipt that it made.
    pub receipt: Option<RotationReceipt>,
    /// The hash of it.
    receipt_hash: Option<Digest>,
    /// What is wrong with it, or why there is none.
    pub receipt_fault: Option<ReceiptFault>,
    seed: [u8; 32],
    /// Another coordinator of the manifest, which waits for the lease.
    other: Option<[u8; 32]>,
    trust: Trust,
    standing: Option<SignedStandingOrder>,
    conductor: Option<Conductor>,
    /// One of before, which has not noticed that it is none any more.
    zombie: Option<(ProcessId, Conductor)>,
    next_ask: u64,
}

impl CoordinatorNode {
    /// A new one.
    pub fn new(seed: [u8; 32], trust: Trust) -> Self {
        let identity = Identity::from_seed(Secret::copied_from(&seed));
        let id = identity::process_id(&identity.public_key());
        Self {
            id,
            records: RecordTable::default(),
            record_fault: None,
            receipt: None,
            receipt_hash: None,
            receipt_fault: None,
            seed,
            other: None,
            trust,
            standing: None,
            conductor: None,
            zombie: None,
            next_ask: 1,
        }
    }

    /// Beside another one.
    pub const fn with(mut self, other: [u8; 32]) -> Self {
        self.other = Some(other);
        self
    }

    /// The identity of the other one.
    pub fn other(&self) -> Option<Identity> {
        self.other.map(|seed| Identity::from_seed(Secret::copied_from(&seed)))
    }

    /// Whether this is its id, or that of the other one.
    pub fn is_either(&self, who: ProcessId) -> bool {
        let id = |other: Identity| identity::process_id(&other.public_key());
        who == self.id || self.other().map(id) == Some(who)
    }

    /// The other one takes the lease.
    pub fn change_over(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.seed, other);
            self.id = identity::process_id(&self.identity().public_key());
        }
    }

    /// The manifests that it has saved.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The rotation that it drives.
    pub fn running(&self) -> Option<RotationId> {
        let rotation = self.conductor.as_ref()?.rotation()?;
        (!rotation.is_ended()).then(|| rotation.reference().rotation)
    }

    /// Whether a new manifest has ended its standing order, and nothing runs.
    pub fn needs_standing_order(&self) -> bool {
        let ended = self.conductor.as_ref().is_some_and(|it| it.standing_order().is_none());
        ended && self.standing.is_some() && !self.is_rotating()
    }

    /// Its identity; the rogue holds it too.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(Secret::copied_from(&self.seed))
    }

    /// Its data folder is gone, and it makes another identity at its start; the database is there.
    pub fn lose_identity(&mut self, seed: [u8; 32]) {
        self.seed = seed;
        self.id = identity::process_id(&self.identity().public_key());
    }

    /// Whether the newest manifest names it.
    pub fn is_named(&self) -> bool {
        self.trust.names(self.id, Role::Coordinator)
    }

    /// Whether it runs.
    pub const fn is_up(&self) -> bool {
        self.conductor.is_some()
    }

    /// Gives it a standing order, saved.
    pub fn keep_standing(&mut self, standing: SignedStandingOrder) {
        self.standing = Some(standing);
    }

    /// Starts the process from what it saved.
    pub fn start(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Effects {
        let times = Times {
            survey_ms: 800,
            order_valid_s: 300,
            rotation: Limits {
                silence_abort_ms: 15_000,
                first_retry_ms: 300,
                max_retry_ms: 2_000,
                abort_grace_ms: 1_500,
            },
        };
        let identity = Arc::new(self.identity());
        let mut conductor =
            Conductor::new(identity, self.trust.clone(), self.standing.clone(), times);
        let saved = self.records.open().into_iter().chain(self.records.newest());
        let effects = conductor.recover(now, rng, saved.cloned());
        self.conductor = Some(conductor);
        effects
    }

    /// Ends the process: what was not saved is gone.
    pub fn crash(&mut self) {
        self.conductor = None;
    }

    /// Somebody else takes the lease, and the process goes on.
    pub fn become_zombie(&mut self) {
        let ended = self.conductor.take().map(|conductor| (self.id, conductor));
        self.zombie = ended.or(self.zombie.take());
    }

    /// One that goes on under an old epoch.
    pub fn zombie(&self) -> Option<ProcessId> {
        self.zombie.as_ref().map(|(id, _)| *id)
    }

    /// Hands something to the zombie. It ends when it wants to save, which needs the lease, or learns
    /// of a higher epoch; else it sends.
    pub fn zombie_acts(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        input: Input,
    ) -> Vec<Message> {
        let Some((_, zombie)) = &mut self.zombie else { return Vec::new() };
        let effects = zombie.handle(now, rng, input);
        let wants_to_save = effects.save || effects.save_documents || effects.closed.is_some();
        if wants_to_save || effects.is_fenced {
            self.zombie = None;
            return Vec::new();
        }
        effects.send
    }

    /// Ends the zombie.
    pub fn bury_zombie(&mut self) {
        self.zombie = None;
    }

    /// Hands a message in.
    pub fn message(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        bytes: Vec<u8>,
    ) -> Option<Effects> {
        Some(self.conductor.as_mut()?.handle(now, rng, Input::Message(bytes)))
    }

    /// Hands a request in.
    pub fn ask(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng, ask: Ask) -> Option<Effects> {
        self.next_ask += 1;
        let id = self.next_ask;
        Some(self.conductor.as_mut()?.handle(now, rng, Input::Ask(id, ask)))
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<Effects> {
        Some(self.conductor.as_mut()?.handle(now, rng, Input::Tick))
    }

    /// After a higher epoch was seen: whoever has the lease is this one, so it is still its own.
    pub fn lease_renewed(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<Effects> {
        Some(self.conductor.as_mut()?.survey_anew(now, rng))
    }

    /// When it wants to be called.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        self.conductor.as_ref()?.next_tick()
    }

    /// Saves the record of an earlier rotation that has ended, and that of the running one.
    pub fn save(&mut self, closed: Option<&Record>) {
        let former = (self.receipt.clone(), self.receipt_hash);
        self.make_receipt();
        if let Some(conductor) = &self.conductor {
            self.trust = conductor.trust().clone();
        }
        let rotation = self.conductor.as_ref().and_then(Conductor::rotation);
        let records = closed.into_iter().chain(rotation.map(|rotation| rotation.record()));
        match self.records.save(records) {
            Err(rule) => self.record_fault = Some(rule),
            // Saved with its record or not at all.
            Ok(false) => (self.receipt, self.receipt_hash) = former,
            Ok(true) => {}
        }
    }

    /// Whether the rotation is taken up again, as a unit was set back into it, and has its receipt.
    fn has_receipt_of_running(&self) -> bool {
        let rotation = self.conductor.as_ref().and_then(Conductor::rotation);
        let running = rotation.map(|rotation| rotation.reference().rotation);
        self.receipt.as_ref().map(|receipt| receipt.rotation) == running
    }

    /// Makes the receipt of a rotation that has ended well, and judges it as anybody could.
    fn make_receipt(&mut self) {
        let Some(conductor) = &mut self.conductor else { return };
        let audit = AuditHead { seq: 0, hash: Digest([0; 32]) };
        let Some(made) = conductor.make_receipt(audit, self.receipt_hash) else { return };
        let receipt = match made {
            Ok(receipt) => receipt,
            Err(_) if self.has_receipt_of_running() => return,
            Err(lacking) => return self.receipt_fault = Some(ReceiptFault::Lacking(lacking)),
        };
        // A rotation whose record was lost may have left none: then this one does not follow.
        let former = self.receipt.as_ref().filter(|former| Some(former.to) == receipt.from);
        let checks = verify(&receipt, conductor.trust().chain(), former);
        let wrong = checks.iter().find_map(|check| check.found.as_ref().err());
        self.receipt_fault = wrong.cloned().map(ReceiptFault::Wrong);
        self.receipt_hash = Some(receipt_hash(&receipt));
        self.receipt = Some(receipt);
    }

    /// The database is gone, or comes back as it was some saves ago.
    pub fn forget(&mut self, rng: &mut ChaCha8Rng) -> &'static str {
        self.records.forget(rng)
    }

    /// The record that has no end, else the one that was saved last.
    pub fn record(&self) -> Option<&Record> {
        self.records.current()
    }

    /// Whether a rotation is running, as far as is saved.
    pub fn is_rotating(&self) -> bool {
        self.records.open().is_some()
    }
}

/// What an answer says, for the trace.
pub fn answer_note(answer: &Answer) -> String {
    match answer {
        Answer::Looked(_) => "looked".to_owned(),
        Answer::Started { rotation, joined: true, .. } => format!("joined {}", rotation.number),
        Answer::Started { rotation, .. } => format!("started {}", rotation.number),
        Answer::Planned(..) => "planned".to_owned(),
        Answer::Unmet(findings) => {
            let codes: Vec<_> = findings
                .unmet
                .iter()
                .map(|unmet| format!("{} {}", unmet.code, unmet.subject))
                .collect();
            format!("unmet: {}", codes.join(", "))
        }
        Answer::Refused(refusal) => format!("refused: {}", refusal.text),
        Answer::Drafted(order, ..) => format!("drafted {}", order.number),
        Answer::Aborting(_) => "aborting".to_owned(),
        Answer::Taken => "taken".to_owned(),
    }
}
