//! What a thief has: the identities out of the processes' folders, and every message of two
//! rotations as the broker's trace saw it.

use crypto::identity::{self, Identity};
use crypto::sealed_state::{self, StorageKey};
use crypto::secret::Secret;
use end_to_end::Cluster;
use end_to_end::tap::Seen;
use machines::leave;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::order::SignedOrder;
use protocol::{OrderNumber, ProcessId};

/// A process's identity, out of its sealed file.
pub fn identity_of(cluster: &Cluster, name: &str) -> Identity {
    let folder = cluster.folder.path().join(name);
    let key = StorageKey::from_file(&folder.join("storage.key")).unwrap();
    let sealed = std::fs::read(folder.join("identity.sealed")).unwrap();
    let seed = sealed_state::open_state(&key, b"identity", &sealed).unwrap();
    Identity::from_seed(Secret::copied_from(seed.as_slice().try_into().unwrap()))
}

/// A process's id.
pub fn id_of(cluster: &Cluster, name: &str) -> ProcessId {
    identity::process_id(&identity_of(cluster, name).public_key())
}

/// A message as it was seen.
#[derive(Clone)]
pub struct Captured {
    pub bytes: Vec<u8>,
    pub header: Header,
    pub body: Vec<u8>,
}

/// Every signed message since the trace began, in its order.
pub struct Earlier(Vec<Captured>);

impl Earlier {
    pub fn of(seen: &Seen) -> Self {
        let captured = seen.messages().into_iter().filter_map(|(_, bytes)| {
            let envelope = Envelope::parse(&bytes).ok()?;
            let (header, body) = (envelope.header.clone(), envelope.body.to_vec());
            Some(Captured { bytes, header, body })
        });
        Self(captured.collect())
    }

    /// The first of this kind to this process, if that matters.
    pub fn first(&self, kind: Kind, to: Option<ProcessId>) -> &Captured {
        let is_to = |header: &Header| match to {
            Some(to) => header.recipient == Recipient::Process(to),
            None => true,
        };
        let found = self.0.iter().find(|it| it.header.kind == kind && is_to(&it.header));
        found.unwrap_or_else(|| panic!("no {kind:?} to {to:?} was seen"))
    }

    /// The last of this kind by this process.
    pub fn last_by(&self, kind: Kind, by: ProcessId) -> &Captured {
        let is_it = |it: &&Captured| it.header.kind == kind && it.header.sender == by;
        self.0.iter().rev().find(is_it).unwrap_or_else(|| panic!("no {kind:?} was seen"))
    }

    /// Commands to this process that give an order, with its number: the first of each number.
    pub fn orders_to(&self, to: ProcessId) -> Vec<(OrderNumber, Captured)> {
        let mut found: Vec<(OrderNumber, Captured)> = Vec::new();
        for it in self.0.iter().filter(|it| it.header.recipient == Recipient::Process(to)) {
            let Some(order) = order_in(it) else { continue };
            let (_, reference) = leave::read(&order).unwrap();
            if found.iter().all(|(number, _)| *number != reference.number) {
                found.push((reference.number, it.clone()));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        found
    }
}

/// The order in an *inspect* or *reencrypt*.
fn order_in(message: &Captured) -> Option<SignedOrder> {
    match message.header.kind {
        Kind::Command => match codec::decode(&message.body).ok()? {
            Command::Inspect { order } => Some(order),
            _ => None,
        },
        Kind::KeystoreCommand => match codec::decode(&message.body).ok()? {
            KeystoreCommand::Reencrypt { order, .. } => Some(order),
            _ => None,
        },
        _ => None,
    }
}
