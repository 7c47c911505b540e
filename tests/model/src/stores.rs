//! The keystore, as the shipped gate and the reencryptor's judgement make it: each state is kept once,
//! and so is what comes of each command in it.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use machines::envelope::{self, Outgoing};
use machines::gate::OpenRequest;
use machines::rewrap;
use machines::unit::page;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::order::OrderRef;
use protocol::page::RewrapPage;
use protocol::report::KeystoreReport;
use protocol::{GenerationId, MessageId, Pattern, Role};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use simulation::store::Store;

use crate::founding::{EPOCH, Founding, NOW, OrderKey, id_of, identity, reencryptor};
use crate::units::{Id, Saved, Units, hash_of, read, write};

/// What the keystore is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreAsk {
    /// To open a generation under this pattern, with these reports.
    Open(OrderKey, Pattern, Vec<Id>),
    /// To have its page re-wrapped by a unit in this state.
    Page(usize, Id),
    /// To flip, with these reports.
    Flip(Vec<Id>),
    /// To read the flip back.
    ReadBack,
    /// To drop what is retired, with these reports.
    Drop(Vec<Id>),
    /// To end this order, with these reports.
    Abort(OrderKey, Vec<Id>),
}

/// A state of the keystore, with the report that it is published by.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) envelope: Vec<u8>,
}

/// Everything that has been found out about the keystore.
#[derive(Debug)]
pub(crate) struct Stores {
    kept: RwLock<HashMap<Id, Arc<Kept>>>,
    came: RwLock<HashMap<(Id, StoreAsk), Id>>,
    opens: RwLock<HashMap<(Id, Id), bool>>,
    /// Whether a flip is judged by its certificate.
    judges_flip: bool,
}

impl Stores {
    pub(crate) fn new(judges_flip: bool) -> Self {
        let (kept, came, opens) = Default::default();
        Self { kept, came, opens, judges_flip }
    }

    pub(crate) fn keep(&self, founding: &Founding, store: Store) -> Id {
        // Who re-wrapped a page makes no difference here.
        let rows = store.tables.iter().flat_map(|(number, table)| {
            table.values().map(move |stored| (*number, stored.row.blob.clone()))
        });
        let row = codec::encode(&store.row);
        let id = hash_of((row, rows.collect::<Vec<_>>()));
        if !read(&self.kept).contains_key(&id) {
            let envelope = published(founding, &store);
            write(&self.kept).insert(id, Arc::new(Kept { store, envelope }));
        }
        id
    }

    pub(crate) fn kept(&self, id: Id) -> Arc<Kept> {
        Arc::clone(&read(&self.kept)[&id])
    }

    pub(crate) fn ask(&self, founding: &Founding, units: &Units, id: Id, ask: &StoreAsk) -> Id {
        let asked = (id, ask.clone());
        if let Some(came) = read(&self.came).get(&asked) {
            return *came;
        }
        let mut store = self.kept(id).store.clone();
        let came = match self.obey(founding, units, &mut store, ask) {
            Some(()) => self.keep(founding, store),
            None => id,
        };
        write(&self.came).insert(asked, came);
        came
    }

    /// As the reencryptor's process does it; none where it refuses.
    fn obey(
        &self,
        founding: &Founding,
        units: &Units,
        store: &mut Store,
        ask: &StoreAsk,
    ) -> Option<()> {
        let trust = &founding.trust;
        match ask {
            StoreAsk::Open(key, to, reports) => {
                let (signed, certificate) = (founding.order(*key), units.certificate(reports));
                let judged = rewrap::judge_opening(&signed, *to, &certificate, trust);
                let (order, reference) = judged.ok()?;
                let mut generation = [store.row.next_number as u8; 16];
                generation[..8].copy_from_slice(&hash_of((key, to)).to_le_bytes());
                let request = OpenRequest {
                    order: reference,
                    epoch: EPOCH,
                    from: order.from,
                    to: *to,
                    generation: GenerationId::from_bytes(generation),
                    mode: order.mode,
                };
                store.open(&request).ok()?;
            }
            StoreAsk::Page(unit, saved) => {
                rewrapped(founding, &units.saved(*saved), *unit, store)?;
                store.complete(&order_of(store)?).ok()?;
            }
            StoreAsk::Flip(reports) => {
                let order = order_of(store)?;
                if self.judges_flip {
                    let certificate = units.certificate(reports);
                    rewrap::judge_flip(&store.row, &order, &certificate, trust).ok()?;
                }
                store.flip(&order, EPOCH).ok()?;
            }
            StoreAsk::ReadBack => {
                let root = store.read_back()?;
                store.mark_flipped(&order_of(store)?, root).ok()?;
            }
            StoreAsk::Drop(reports) => {
                let (order, certificate) = (order_of(store)?, units.certificate(reports));
                rewrap::judge_drop(&store.row, &order, &certificate, trust).ok()?;
                store.drop_retired(&order, EPOCH).ok()?;
            }
            StoreAsk::Abort(key, reports) => {
                let certificate = units.certificate(reports);
                let signed = founding.order(*key);
                let request = rewrap::judge_abort(&signed, &certificate, EPOCH, trust).ok()?;
                store.abort(&request).ok()?;
            }
        }
        Some(())
    }

    /// Whether a unit in this state really opens every key of the active generation.
    pub(crate) fn opens(&self, units: &Units, saved: Id, id: Id) -> bool {
        if let Some(opens) = read(&self.opens).get(&(saved, id)) {
            return *opens;
        }
        let store = &self.kept(id).store;
        let active = store.row.active.as_ref().and_then(|it| store.tables.get(&it.number));
        let rows = active.into_iter().flatten().map(|(_, it)| it.row.as_ref());
        let wanted = store.versions.len();
        let (opened, unopened) =
            page::check_rows(&units.saved(saved).keyring, rows, std::iter::empty());
        let opens = unopened.is_empty() && opened == wanted as u64;
        write(&self.opens).insert((saved, id), opens);
        opens
    }
}

/// The order that the row is in.
pub(crate) fn order_of(store: &Store) -> Option<OrderRef> {
    let rotation = store.row.rotation.as_ref()?;
    let (number, digest) = (rotation.number, rotation.order_digest);
    Some(OrderRef { rotation: rotation.rotation, number, digest })
}

pub(crate) fn standing_of(store: &Store) -> Option<KeystoreStanding> {
    store.row.rotation.as_ref().map(|rotation| rotation.standing)
}

fn rewrapped(founding: &Founding, saved: &Saved, unit: usize, store: &mut Store) -> Option<()> {
    let (open, active) = (store.row.open.clone()?, store.row.active.clone()?);
    let order = order_of(store)?;
    let (range, rows) = store.lacking().pop()?;
    let asked = RewrapPage {
        order_digest: order.digest,
        number: order.number,
        generation: open.id,
        range,
        from: active.pattern,
        to: open.pattern,
        rows: rows.into(),
    };
    // Whichever unit re-wraps it, the row is the same: that is not what is looked at here.
    let mut rng = ChaCha20Rng::seed_from_u64(hash_of(open.id));
    let answer = page::rewrap(&saved.keyring, &identity(unit), &asked, &mut rng);
    let done = rewrap::judge_answer(&asked, answer, &founding.trust).ok()?;
    store.write_chunk(&done, Vec::new());
    Some(())
}

fn published(founding: &Founding, store: &Store) -> Vec<u8> {
    let by = reencryptor();
    let body = codec::encode(&KeystoreReport {
        reencryptor: id_of(&by),
        manifest_serial: 1,
        row: Some(store.row.clone()),
        receipts_digest: None,
        hold_ends: Vec::new(),
        unopened: Vec::new(),
        answering: None,
        clock: NOW,
        check: None,
    });
    let outgoing = Outgoing {
        id: MessageId::from_bytes([0; 16]),
        in_answer_to: None,
        instance: founding.instance,
        recipient: Recipient::Role(Role::Coordinator),
        manifest_serial: 1,
        rotation: None,
        epoch: EPOCH,
        kind: Kind::KeystoreReport,
    };
    envelope::seal(&by, &outgoing, &body)
}
