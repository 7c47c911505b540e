//! One crypto unit: its registers, and how it answers each command.
//!
//! A unit answers every command, taken or refused, new or repeated, with the same state-carrying
//! report. What changes the state is saved by the caller before the answer leaves.

pub mod admission;
pub mod hold;
pub mod keyring;
pub mod keys;
pub mod page;
mod recover;
pub mod refusal;
pub mod set_back;
pub mod state;
mod steps;
mod telling;
mod transfers;

use crypto::identity::{self, Identity};
use protocol::codec;
use protocol::command::{Command, Transfers};
use protocol::envelope::{Header, Kind};
use protocol::report::{Answering, Standing};
use protocol::{ProcessId, PublicKey, Role, UnixMillis};
use rand::CryptoRng;

use self::admission::Admission;
use self::refusal::UnitRefusal;
use self::state::UnitState;
use crate::amendment::{self, Binding};
use crate::envelope::{self, Reader};
use crate::leave;

/// What a unit is told by its configuration.
#[derive(Clone, Debug)]
pub struct UnitConfig {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Recovery or operational.
    pub role: Role,
    /// Name of its instance.
    pub instance_name: String,
    /// Administrators that a first manifest must have.
    pub pinned_administrators: Vec<PublicKey>,
    /// The storage key was made by the unit itself, on its own volume.
    pub is_storage_key_local: bool,
    /// Version of the protocol that it says it speaks; another than the program's own only in tests.
    pub protocol_version: u32,
}

/// One crypto unit.
#[derive(Debug)]
pub struct Unit {
    config: UnitConfig,
    identity: Identity,
    id: ProcessId,
    state: UnitState,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub to: ProcessId,
    /// The sealed envelope.
    pub bytes: Vec<u8>,
}

/// What handling a message came to.
#[derive(Debug, Default)]
pub struct UnitOutcome {
    /// The state has changed and must be saved before anything is published.
    pub is_changed: bool,
    /// To be published after the save.
    pub messages: Vec<Message>,
    /// The message could not be taken: the reason for the dead-letter queue.
    pub dead: Option<&'static str>,
    /// The command and what it came to, for logs and metrics.
    pub noted: Option<(&'static str, Option<UnitRefusal>)>,
}

/// What doing a command came to.
pub(crate) struct Done {
    pub(crate) is_changed: bool,
    pub(crate) transfers: Option<Transfers>,
}

impl Done {
    pub(crate) const CHANGED: Self = Self { is_changed: true, transfers: None };
    pub(crate) const BEFORE: Self = Self { is_changed: false, transfers: None };
}

impl Unit {
    /// A unit with the state that its process has saved.
    pub fn new(config: UnitConfig, identity: Identity, state: UnitState) -> Self {
        let id = identity::process_id(&identity.public_key());
        Self { config, identity, id, state }
    }

    /// Its id.
    pub const fn id(&self) -> ProcessId {
        self.id
    }

    /// Its state, to be saved or looked at.
    pub const fn state(&self) -> &UnitState {
        &self.state
    }

    /// Its identity, to sign receipts and session offers.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its configuration.
    pub const fn config(&self) -> &UnitConfig {
        &self.config
    }

    /// How it reads envelopes.
    pub const fn reader(&self) -> Reader {
        Reader { id: self.id, role: self.config.role }
    }

    /// Verifies, decodes, validates and does one command.
    pub fn handle<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        bytes: &[u8],
    ) -> UnitOutcome {
        let dead = |reason| UnitOutcome { dead: Some(reason), ..UnitOutcome::default() };
        let opened = match envelope::open(bytes, self.reader(), &self.state.trust) {
            Ok(opened) => opened,
            Err(refusal) => return dead(refusal.reason()),
        };
        if opened.header.kind != Kind::Command {
            return dead("unexpected-kind");
        }
        let command: Command = match codec::decode(opened.body) {
            Ok(command) => command,
            Err(error) => return dead(error.reason()),
        };
        let (header, role) = (opened.header, opened.sender_role);
        let name = command.name();
        let mut shown_refusal = None;
        let epoch_before = self.state.epoch;
        let done = self
            .may_command(&header, role, &command)
            .and_then(|()| self.take_epoch(&header, role, &command))
            .and_then(|()| self.obey(now, rng, command, &mut shown_refusal));
        let is_changed =
            done.as_ref().is_ok_and(|done| done.is_changed) || self.state.epoch != epoch_before;
        if is_changed {
            self.state.counter += 1;
            self.catch_up();
        }
        let (transfers, refusal) = match done {
            Ok(done) => (done.transfers, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let mut messages = Vec::new();
        if let Some(transfers) = transfers {
            let body = codec::encode(&transfers);
            messages.push(self.message(now, rng, Some(&header), Kind::Transfers, &body));
        }
        let answering =
            Answering { message: header.id, refusal: refusal.as_ref().map(UnitRefusal::to_report) };
        let mut report = self.report(now, Some(answering));
        report.facts.would_refuse = shown_refusal.as_ref().map(UnitRefusal::to_report);
        let body = codec::encode(&report);
        messages.push(self.message(now, rng, Some(&header), Kind::UnitReport, &body));
        UnitOutcome { is_changed, messages, dead: None, noted: Some((name, refusal)) }
    }

    /// Without a manifest a unit answers a survey and takes a manifest, which prove themselves; with
    /// one it obeys the coordinators that the manifest names. A survey saves nothing and shows
    /// nothing that is secret, so any signed one is answered.
    fn may_command(
        &self,
        header: &Header,
        role: Option<Role>,
        command: &Command,
    ) -> Result<(), UnitRefusal> {
        match command {
            _ if proves_itself(command) => Ok(()),
            _ if self.state.trust.newest().is_none() => Err(UnitRefusal::Imprint),
            _ if !self.may_be_commanded(header.sender, role, command) => {
                Err(UnitRefusal::NotACoordinator)
            }
            _ if self.is_removed() && !self.is_let_go(command) => Err(UnitRefusal::Removed),
            _ if header.epoch.manifest_serial > self.state.trust.serial() => {
                let newest = self.state.trust.serial();
                Err(UnitRefusal::EpochAhead { given: header.epoch, newest })
            }
            _ if header.epoch < self.state.epoch => {
                Err(UnitRefusal::StaleEpoch { given: header.epoch, highest: self.state.epoch })
            }
            _ => Ok(()),
        }
    }

    /// Whether the newest manifest does not name it, or in another role.
    fn is_removed(&self) -> bool {
        !self.state.trust.names(self.id, self.config.role)
    }

    /// Whoever was removed in the midst of a rotation may be told that it has ended: it takes no manifest that
    /// names it again before.
    fn is_let_go(&self, command: &Command) -> bool {
        let Command::Abort { order } = command else { return false };
        let is_it = |taken: &state::TakenRotation| {
            matches!(taken.standing, Standing::Bound | Standing::Aborted)
                && leave::read(order).is_ok_and(|(_, reference)| reference == taken.reference)
        };
        self.state.rotation.as_ref().is_some_and(is_it)
    }

    fn may_be_commanded(&self, by: ProcessId, role: Option<Role>, command: &Command) -> bool {
        let is_abort = matches!(command, Command::Abort { .. });
        role == Some(Role::Coordinator) || (is_abort && self.state.trust.may_end(by))
    }

    /// Only a coordinator in force raises it.
    fn take_epoch(
        &mut self,
        header: &Header,
        role: Option<Role>,
        command: &Command,
    ) -> Result<(), UnitRefusal> {
        let is_in_force = role == Some(Role::Coordinator) && !proves_itself(command);
        if is_in_force && header.epoch > self.state.epoch {
            self.state.epoch = header.epoch;
        }
        Ok(())
    }

    fn obey<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        command: Command,
        shown_refusal: &mut Option<UnitRefusal>,
    ) -> Result<Done, UnitRefusal> {
        match command {
            Command::Survey { order } => {
                *shown_refusal = order
                    .and_then(|order| admission::admit(self.id, &self.state, &order, now).err());
                Ok(Done::BEFORE)
            }
            Command::Inspect { order } => self.take_order(now, rng, order),
            Command::Step { order, step } => self.step(now, rng, &order, step),
            Command::Abort { order } => self.abort(order),
            Command::EndHold { statement } => self.end_hold(now, &statement),
            Command::Remind { report } => self.remind(&report),
            Command::TakeManifest { chain } => self.take_manifest(&chain),
        }
    }

    fn take_manifest(
        &mut self,
        chain: &[protocol::manifest::SignedManifest],
    ) -> Result<Done, UnitRefusal> {
        let mut trust = self.state.trust.clone();
        let bound = self.state.rotation.as_ref().filter(|taken| {
            self.state.is_in_rotation() && taken.order.purpose.recovery().is_none()
        });
        let is_new = match bound {
            Some(taken) => match amendment::take(&mut trust, chain, &self.binding(taken)) {
                Ok(is_new) => is_new,
                Err(refusal) => {
                    self.state.trust.note_waiting(chain);
                    return Err(refusal.into());
                }
            },
            None => {
                let who = Some((self.id, self.config.role));
                trust.take(chain, who, &self.config.pinned_administrators)?
            }
        };
        if !is_new {
            return Ok(Done::BEFORE);
        }
        self.state.trust = trust;
        self.end_by_manifest();
        Ok(Done::CHANGED)
    }

    /// The rotation that the unit is bound to, as an amendment is judged by it.
    fn binding(&self, taken: &state::TakenRotation) -> Binding {
        let registers = self.state.registers();
        let to = match taken.standing {
            Standing::Bound => registers.new.map(|new| new.pattern),
            _ => registers.current,
        };
        Binding {
            order: taken.reference,
            from: taken.order.from,
            to,
            is_promoted: taken.standing == Standing::Promoted,
            who: self.id,
        }
    }

    fn take_order<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        signed_order: protocol::order::SignedOrder,
    ) -> Result<Done, UnitRefusal> {
        match admission::admit(self.id, &self.state, &signed_order, now)? {
            Admission::Known => Ok(Done::BEFORE),
            Admission::New { order, reference } => {
                if matches!(signed_order.authority, protocol::order::Authority::Standing { .. }) {
                    self.state.history.last_tried_at = Some(now);
                }
                let recovery = order.purpose.recovery();
                let installs = recovery.is_none_or(|recovery| recovery.target == self.id);
                let transport = installs.then(|| self.make_offer(rng, &order));
                self.state.rotation = Some(state::TakenRotation {
                    signed_order,
                    order: *order,
                    reference,
                    standing: Standing::Bound,
                    holds: hold::Holds::default(),
                    transport,
                });
                Ok(Done::CHANGED)
            }
        }
    }
}

/// Commands that need no coordinator's word: a survey changes nothing, a manifest is signed by the
/// administrators, a reminder by the unit itself.
const fn proves_itself(command: &Command) -> bool {
    matches!(
        command,
        Command::Survey { .. } | Command::TakeManifest { .. } | Command::Remind { .. }
    )
}
