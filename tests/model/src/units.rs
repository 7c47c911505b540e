//! Units, as the shipped machine makes them: each saved state is kept once, and so is what comes of
//! each message in it. Signatures, seals and the draw of a key are real; randomness is a function of
//! who uses it for what.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, RwLock};

use machines::envelope::{self, Outgoing};
use machines::unit::Unit;
use machines::unit::keyring::Keyring;
use machines::unit::state::UnitState;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, SignedTransfer, Step, Transfer, Transfers};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::report::{Standing, UnitReport};
use protocol::{MessageId, Pattern};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::founding::{EPOCH, Founding, NOW, OrderKey, config, coordinator, identity, unit_id};

/// Names a state, a transfer or a report by its content.
pub type Id = u64;

/// What a unit is asked. Evidence is named, not carried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// How it stands.
    Survey,
    /// To take this order.
    Inspect(OrderKey),
    /// To end this order.
    Abort(OrderKey),
    /// To draw the key.
    Draw,
    /// To seal the key to the offer in this report.
    Seal(Id),
    /// To install this copy.
    Install(Id),
    /// To commit what it has.
    Commit,
    /// To promote, with these reports.
    Promote(Vec<Id>),
    /// To clear, with this report of the keystore.
    Clear(Id),
    /// To look at this report of its own.
    Remind(Id),
}

/// A saved state, read, with the report that it is published by.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) bytes: Vec<u8>,
    pub(crate) report: UnitReport,
    pub(crate) envelope: Vec<u8>,
    pub(crate) keyring: Keyring,
    /// State counter of the report that it has been reminded of.
    pub(crate) reminded_of: Option<u64>,
}

/// A transfer that somebody has seen.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) recipient: usize,
    signed: SignedTransfer,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) saved: Id,
    pub(crate) copies: Vec<Id>,
}

type Asked = (usize, Id, u8, Ask);

/// Everything that has been found out about units.
#[derive(Debug)]
pub(crate) struct Units {
    states: RwLock<HashMap<Id, Arc<Saved>>>,
    copies: RwLock<HashMap<Id, Arc<Copy>>>,
    came: RwLock<HashMap<Asked, Came>>,
}

pub(crate) fn hash_of(value: impl Hash) -> Id {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Units {
    pub(crate) fn new() -> Self {
        let (states, copies, came) = Default::default();
        Self { states, copies, came }
    }

    /// Keeps a state.
    pub(crate) fn keep(&self, founding: &Founding, unit: usize, state: &UnitState) -> Id {
        let bytes = state.to_bytes().to_vec();
        let id = hash_of((unit, &bytes));
        if read(&self.states).contains_key(&id) {
            return id;
        }
        let machine = machine(founding, unit, &bytes);
        let report = machine.report(NOW, None);
        let mut rng = ChaCha20Rng::seed_from_u64(id);
        let body = codec::encode(&report);
        let saved = Saved {
            envelope: machine.broadcast(NOW, &mut rng, Kind::UnitReport, &body),
            keyring: machine.keyring(&Keyring::default()),
            reminded_of: report.set_back_from,
            report,
            bytes,
        };
        write(&self.states).insert(id, Arc::new(saved));
        id
    }

    pub(crate) fn saved(&self, id: Id) -> Arc<Saved> {
        Arc::clone(&read(&self.states)[&id])
    }

    pub(crate) fn copy(&self, id: Id) -> Arc<Copy> {
        Arc::clone(&read(&self.copies)[&id])
    }

    /// What comes of an ask in a state. `lives` tells a draw from one before the unit was set back.
    pub(crate) fn ask(
        &self,
        founding: &Founding,
        asked: Asked,
        flipped: impl Fn(Id) -> Vec<u8>,
    ) -> Came {
        if let Some(came) = read(&self.came).get(&asked) {
            return came.clone();
        }
        let (unit, id, lives, ask) = &asked;
        let saved = self.saved(*id);
        let Some(command) = self.command(founding, &saved, ask, flipped) else {
            return Came { saved: *id, copies: Vec::new() };
        };
        let seed = match ask {
            // The same key sealed to the same offer is the same copy.
            Ask::Seal(report) => {
                let offer = self.saved(*report).offer_id();
                hash_of((unit, saved.pattern_in_order().map(|pattern| pattern.0), offer))
            }
            _ => hash_of((unit, id, lives, ask)),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let bytes = sealed(founding, *unit, &command);
        let mut machine = machine(founding, *unit, &saved.bytes);
        let outcome = machine.handle(NOW, &mut rng, &bytes);
        assert_eq!(outcome.dead, None, "{asked:?}");
        let copies = outcome.messages.iter().flat_map(|message| self.copies_in(&message.bytes));
        let came = Came {
            copies: copies.collect(),
            saved: match outcome.is_changed {
                true => self.keep(founding, *unit, machine.state()),
                false => *id,
            },
        };
        write(&self.came).insert(asked, came.clone());
        came
    }

    fn command(
        &self,
        founding: &Founding,
        saved: &Saved,
        ask: &Ask,
        flipped: impl Fn(Id) -> Vec<u8>,
    ) -> Option<Command> {
        let step = |step| {
            let order = saved.report.rotation.as_ref()?.order;
            Some(Command::Step { order, step })
        };
        match ask {
            Ask::Survey => Some(Command::Survey { order: None }),
            Ask::Inspect(key) => Some(Command::Inspect { order: founding.order(*key) }),
            Ask::Abort(key) => Some(Command::Abort { order: founding.order(*key) }),
            Ask::Draw => step(Step::Generate { offers: Vec::new() }),
            Ask::Seal(report) => {
                let offer = self.saved(*report).report.rotation.as_ref()?.offer.clone()?;
                step(Step::Generate { offers: vec![offer] })
            }
            Ask::Install(copy) => step(Step::Install { transfer: self.copy(*copy).signed.clone() }),
            Ask::Commit => step(Step::Commit { pattern: saved.pattern_in_order()? }),
            Ask::Promote(reports) => step(Step::Promote { certificate: self.certificate(reports) }),
            Ask::Clear(report) => {
                let envelopes = vec![flipped(*report)];
                step(Step::Clear { certificate: Certificate { envelopes, manifests: Vec::new() } })
            }
            Ask::Remind(report) => {
                Some(Command::Remind { report: self.saved(*report).envelope.clone() })
            }
        }
    }

    pub(crate) fn certificate(&self, reports: &[Id]) -> Certificate {
        let envelopes = reports.iter().map(|id| self.saved(*id).envelope.clone()).collect();
        Certificate { envelopes, manifests: Vec::new() }
    }

    fn copies_in(&self, bytes: &[u8]) -> Vec<Id> {
        let found = Envelope::parse(bytes).ok().filter(|it| it.header.kind == Kind::Transfers);
        let sent = found.and_then(|found| codec::decode::<Transfers>(found.body).ok());
        let each = sent.into_iter().flat_map(|sent| sent.transfers);
        each.map(|signed| {
            let id = hash_of(&signed.bytes);
            let Ok(transfer) = codec::decode::<Transfer>(&signed.bytes) else {
                panic!("a unit made a transfer that cannot be read")
            };
            let is_it = |unit: &usize| unit_id(*unit) == transfer.recipient;
            let recipient = (0..16).find(is_it).unwrap_or(usize::MAX);
            write(&self.copies).insert(id, Arc::new(Copy { recipient, signed }));
            id
        })
        .collect()
    }
}

impl Saved {
    /// Pattern of the order's key in it.
    pub(crate) fn pattern_in_order(&self) -> Option<Pattern> {
        match self.standing()? {
            Standing::Bound => self.report.registers.new.map(|new| new.pattern),
            Standing::Promoted | Standing::Cleared => self.report.registers.current,
            Standing::Aborted => None,
        }
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        self.report.rotation.as_ref().map(|rotation| rotation.standing)
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.report.registers.new.is_some_and(|new| new.is_committed)
    }

    /// Names its offer.
    pub(crate) fn offer_id(&self) -> Option<Id> {
        let offer = self.report.rotation.as_ref()?.offer.as_ref()?;
        Some(hash_of(&offer.bytes))
    }
}

fn machine(founding: &Founding, unit: usize, bytes: &[u8]) -> Unit {
    match UnitState::from_bytes(bytes) {
        Ok(state) => Unit::new(config(unit, founding.roles[unit]), identity(unit), state),
        Err(error) => panic!("a saved state cannot be read: {error}"),
    }
}

/// As the rogue, which holds the coordinator's identity, sends it.
fn sealed(founding: &Founding, unit: usize, command: &Command) -> Vec<u8> {
    let outgoing = Outgoing {
        id: MessageId::from_bytes([0; 16]),
        in_answer_to: None,
        instance: founding.instance,
        recipient: Recipient::Process(unit_id(unit)),
        manifest_serial: 1,
        rotation: None,
        epoch: EPOCH,
        kind: Kind::Command,
    };
    envelope::seal(&coordinator(), &outgoing, &codec::encode(command))
}
