//! How crypto units are asked for work: pages to re-wrap, pages to look at.

use std::sync::Arc;
use std::time::Duration;

use bus::Outgoing;
use crypto::identity::Identity;
use crypto::random::ProcessRng;
use machines::envelope::{self, Outgoing as Sealing};
use protocol::codec::Encode;
use protocol::envelope::{Kind, Recipient};
use protocol::{Epoch, InstanceId, MessageId, ProcessId, Role, RotationId, topology};

/// A page not answered for so long is asked again.
pub(crate) const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a page that no unit took: how long until the next try.
pub(crate) const PAGE_PAUSE: Duration = Duration::from_millis(100);

/// In whose name, and what for.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) identity: Arc<Identity>,
    pub(crate) instance: InstanceId,
    pub(crate) manifest_serial: u64,
    /// The rotation that it is for, if it is for one.
    pub(crate) rotation: Option<RotationId>,
}

impl Asking {
    /// Asks whichever operational unit takes it off the shared queue.
    pub(crate) fn any_unit<T: Encode>(&self, id: MessageId, kind: Kind, body: &T) -> Outgoing {
        let recipient = Recipient::Role(Role::OperationalUnit);
        let sealed = self.sealed(id, recipient, kind, body);
        Outgoing::to(topology::page_address(self.instance), sealed)
    }

    /// Asks this unit.
    pub(crate) fn unit<T: Encode>(
        &self,
        (unit, role): (ProcessId, Role),
        id: MessageId,
        kind: Kind,
        body: &T,
    ) -> Outgoing {
        let sealed = self.sealed(id, Recipient::Process(unit), kind, body);
        Outgoing::to(topology::process_address(role, self.instance, unit), sealed)
    }

    fn sealed<T: Encode>(
        &self,
        id: MessageId,
        recipient: Recipient,
        kind: Kind,
        body: &T,
    ) -> Vec<u8> {
        let sealing = Sealing {
            id,
            in_answer_to: None,
            instance: self.instance,
            recipient,
            manifest_serial: self.manifest_serial,
            rotation: self.rotation,
            epoch: Epoch::default(),
            kind,
        };
        envelope::seal_value(&self.identity, &sealing, body)
    }
}

/// The id of a message that is sent now.
pub(crate) fn new_id(rng: &mut ProcessRng) -> MessageId {
    MessageId::from_uuid(crypto::random::uuid_v7(service::now(), rng))
}
