//! The reencryptor's process: the shipped judgement around the store.

use crypto::identity::{self, Identity};
use crypto::secret::Secret;
use machines::envelope::{self, Outgoing, Reader};
use machines::gate::{Change, GateRefusal, OpenRequest};
use machines::leave;
use machines::rewrap::{self, DoneChunk, KeystoreRefusal, Received};
use machines::trust::Trust;
use machines::unit::Message;
use protocol::codec;
use protocol::command::KeystoreCommand;
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::order::OrderRef;
use protocol::page::WrappedRow;
use protocol::report::{Answering, KeystoreReport};
use protocol::{Epoch, GenerationId, KeyId, MessageId, ProcessId, Role, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::rewrapping::Job;
use crate::store::Store;

/// The reencryptor's process.
pub struct ReencryptorNode {
    /// Its id.
    pub id: ProcessId,
    /// Whether it runs.
    pub is_up: bool,
    identity: Identity,
    /// What it believes; saved with every manifest taken.
    pub trust: Trust,
    pub(crate) job: Option<Job>,
    last_clock: UnixMillis,
    /// The flip that has been done and not been read back, and who asked for it.
    to_read_back: Option<(OrderRef, Header)>,
    /// How likely a transaction takes place and its answer is lost.
    pub lost_commit: f64,
    /// How likely one is aborted.
    pub aborted_commit: f64,
    /// How likely a page is written later than it is judged.
    pub late_write: f64,
    /// Whichever of these has happened.
    pub database_faults: Vec<&'static str>,
    /// One that is still to be written.
    pub late: Option<(DoneChunk, Vec<WrappedRow>)>,
    /// Whether every page is shown to another unit before it is written.
    pub has_second_looks: bool,
    /// Keys that the order carries in quarantine.
    pub(crate) carried: Vec<KeyId>,
    /// What the next report names: it restates *flipped*.
    hold_ends: Vec<(ProcessId, u64)>,
}

/// What handling a message came to.
pub enum Handled {
    /// These messages are to be published.
    Sent(Vec<Message>, String),
    /// A writer holds the row's lock: the same message again a little later.
    Waits,
    /// The active row has moved; what it points to is read back a little later.
    Flipped,
}

impl ReencryptorNode {
    /// A new one.
    pub fn new(seed: [u8; 32], trust: Trust) -> Self {
        let identity = Identity::from_seed(Secret::copied_from(&seed));
        let id = identity::process_id(&identity.public_key());
        let last_clock = UnixMillis(0);
        Self {
            id,
            is_up: true,
            identity,
            trust,
            job: None,
            last_clock,
            to_read_back: None,
            lost_commit: 0.0,
            aborted_commit: 0.0,
            late_write: 0.0,
            database_faults: Vec::new(),
            late: None,
            has_second_looks: false,
            carried: Vec::new(),
            hold_ends: Vec::new(),
        }
    }

    /// Whether the answer to a transaction that has just taken place is lost: the caller sees an
    /// error, and has to find out by asking again.
    pub(crate) fn is_answer_lost(&mut self, rng: &mut ChaCha8Rng) -> bool {
        let is_lost = rng.random_bool(self.lost_commit);
        self.database_faults.extend(is_lost.then_some("lost-commit"));
        is_lost
    }

    /// Whether a transaction that is about to begin is aborted.
    pub(crate) fn is_aborted(&mut self, rng: &mut ChaCha8Rng) -> bool {
        let is_aborted = rng.random_bool(self.aborted_commit);
        self.database_faults.extend(is_aborted.then_some("aborted-commit"));
        is_aborted
    }

    /// Its identity.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its data folder is gone: it comes back as another, without a manifest.
    pub fn lose_identity(&mut self, seed: [u8; 32], imprint: Trust) {
        self.identity = Identity::from_seed(Secret::copied_from(&seed));
        self.id = identity::process_id(&self.identity.public_key());
        self.trust = imprint;
    }

    /// Ends the process: pages that are out and a flip that is being read back are forgotten.
    pub fn crash(&mut self) {
        self.is_up = false;
        self.job = None;
        self.to_read_back = None;
        self.hold_ends.clear();
    }

    /// Handles a message.
    pub fn handle(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        bytes: &[u8],
    ) -> Handled {
        if !self.is_up {
            return Handled::Sent(Vec::new(), "is down".to_owned());
        }
        let reader = Reader { id: self.id, role: Role::Reencryptor };
        match Envelope::parse(bytes).map(|found| found.header.kind) {
            Ok(Kind::PageAnswer) => return self.take_answer(now, rng, store, reader, bytes),
            Ok(Kind::CheckAnswer) => return self.take_look(now, rng, store, reader, bytes),
            _ => {}
        }
        let received = match rewrap::receive(bytes, reader, &self.trust) {
            Ok(received) => received,
            Err(reason) => return Handled::Sent(Vec::new(), format!("dead: {reason}")),
        };
        let is_update = !matches!(
            received.command,
            KeystoreCommand::Survey | KeystoreCommand::TakeManifest { .. }
        );
        if is_update && store.must_wait() {
            return Handled::Waits;
        }
        let name = received.command.name();
        let before = store.row.clone();
        let obeyed = match is_update && self.is_aborted(rng) {
            true => Err(KeystoreRefusal::Busy("the transaction was aborted".to_owned())),
            false => self.obey(now, rng, store, &received),
        };
        let (done, mut messages) = match obeyed {
            Ok(_) if store.row != before && self.is_answer_lost(rng) => {
                (self.job, self.to_read_back) = (None, None);
                (Some(KeystoreRefusal::Busy("the connection is lost".to_owned())), Vec::new())
            }
            Ok(messages) => (None, messages),
            Err(refusal) => (Some(refusal), Vec::new()),
        };
        let note = match &done {
            None => name.to_owned(),
            Some(refusal) => format!("{name} refused: {refusal}"),
        };
        if done.is_none() && matches!(received.command, KeystoreCommand::Flip { .. }) {
            return Handled::Flipped;
        }
        messages.push(self.report(now, rng, store, Some(&received.header), done.as_ref()));
        Handled::Sent(messages, note)
    }

    /// Reads the flip back, if it was not forgotten meanwhile, and saves *flipped*.
    pub fn read_back(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
    ) -> Handled {
        if self.to_read_back.is_some() && store.must_wait() {
            return Handled::Waits;
        }
        let Some((order, header)) = self.to_read_back.take() else {
            return Handled::Sent(Vec::new(), "read-back forgotten".to_owned());
        };
        let refusal = match store.read_back() {
            Some(root) => match store.mark_flipped(&order, root) {
                Ok(Change::Now) if self.is_answer_lost(rng) => {
                    Some(KeystoreRefusal::Busy("the connection is lost".to_owned()))
                }
                marked => marked.err().map(KeystoreRefusal::from),
            },
            None => Some(KeystoreRefusal::ReadBack("a chunk differs".to_owned())),
        };
        let note = match &refusal {
            None => "read back".to_owned(),
            Some(refusal) => format!("read-back refused: {refusal}"),
        };
        Handled::Sent(vec![self.report(now, rng, store, Some(&header), refusal.as_ref())], note)
    }

    fn obey(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        received: &Received,
    ) -> Result<Vec<Message>, KeystoreRefusal> {
        rewrap::may_command(received, &self.trust)?;
        let epoch = received.header.epoch;
        match &received.command {
            // No keys are checked here: nothing of it is saved.
            KeystoreCommand::Survey | KeystoreCommand::CheckKeys { .. } => {}
            KeystoreCommand::TakeManifest { chain } => {
                rewrap::take_manifests(&mut self.trust, chain, &store.row, (self.id, &[]))?;
            }
            KeystoreCommand::Reencrypt { order, to, certificate, .. } => {
                let (order, reference) =
                    rewrap::judge_opening(order, *to, certificate, &self.trust)?;
                let generation = GenerationId::from_uuid(crypto::random::uuid_v4(rng));
                let request = OpenRequest {
                    order: reference,
                    epoch,
                    from: order.from,
                    to: *to,
                    generation,
                    mode: order.mode,
                };
                let mut opened = store.open(&request);
                if matches!(opened, Err(GateRefusal::OtherRotation(_)))
                    && let Some(left) = rewrap::left_unread(&store.row, &reference, order.from)
                {
                    let differs = || KeystoreRefusal::ReadBack("a chunk differs".to_owned());
                    store.mark_flipped(&left, store.read_back().ok_or_else(differs)?)?;
                    opened = store.open(&request);
                }
                opened?;
                store.write_empty_chunk();
                self.carried = order.quarantined;
                return Ok(self.go_on(now, rng, store, reference, &received.header));
            }
            KeystoreCommand::Flip { order, certificate } => {
                rewrap::judge_flip(&store.row, order, certificate, &self.trust)?;
                store.flip(order, epoch)?;
                self.to_read_back = Some((*order, received.header.clone()));
            }
            KeystoreCommand::Restate { order, hold_ends } => {
                rewrap::judge_restate(&store.row, order)?;
                self.hold_ends = hold_ends.clone();
            }
            KeystoreCommand::Drop { order, certificate } => {
                rewrap::judge_drop(&store.row, order, certificate, &self.trust)?;
                store.drop_retired(order, epoch)?;
            }
            KeystoreCommand::Abort { order, certificate } => {
                let request = rewrap::judge_abort(order, certificate, epoch, &self.trust)?;
                if store.abort(&request)? == Change::Now {
                    self.job = None;
                }
            }
        }
        Ok(Vec::new())
    }

    pub(crate) fn report(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &Store,
        answered: Option<&Header>,
        refusal: Option<&KeystoreRefusal>,
    ) -> Message {
        // The clock in reports tells later from earlier ones: never twice the same.
        self.last_clock = self.last_clock.plus_ms(1).max(now);
        let number = store.row.open.as_ref().or(store.row.active.as_ref()).map(|it| it.number);
        let is_complete = store
            .row
            .rotation
            .as_ref()
            .is_some_and(|found| found.standing >= KeystoreStanding::Complete);
        let report = KeystoreReport {
            reencryptor: self.id,
            manifest_serial: self.trust.serial(),
            row: Some(store.row.clone()),
            receipts_digest: number.filter(|_| is_complete).map(|number| store.receipts(number)),
            hold_ends: std::mem::take(&mut self.hold_ends),
            unopened: Vec::new(),
            answering: answered.map(|header| Answering {
                message: header.id,
                refusal: refusal.map(KeystoreRefusal::to_report),
            }),
            clock: self.last_clock,
            check: None,
        };
        let to = answered.map_or(self.id, |header| header.sender);
        let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
        let body = codec::encode(&report);
        let whom = (to, Recipient::Process(to));
        self.seal(id, answered.map(|header| header.id), whom, Kind::KeystoreReport, &body)
    }

    pub(crate) fn seal(
        &self,
        id: MessageId,
        in_answer_to: Option<MessageId>,
        (to, recipient): (ProcessId, Recipient),
        kind: Kind,
        body: &[u8],
    ) -> Message {
        let outgoing = Outgoing {
            id,
            in_answer_to,
            instance: self.trust.instance(),
            recipient,
            manifest_serial: self.trust.serial(),
            rotation: None,
            epoch: Epoch::default(),
            kind,
        };
        Message { to, bytes: envelope::seal(&self.identity, &outgoing, body) }
    }
}

/// Names an order for the trace.
pub fn order_name(order: &protocol::order::SignedOrder) -> String {
    leave::read(order).map_or_else(|_| "?".to_owned(), |(_, found)| found.number.to_string())
}
