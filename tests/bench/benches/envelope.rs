//! Signing a message and verifying it, the body hashed.

mod harness;
#[path = "harness/page.rs"]
mod page;

use crypto::identity::process_id;
use crypto::random::uuid_v7;
use machines::envelope::{self, Outgoing};
use protocol::envelope::{Kind, Recipient};
use protocol::{Epoch, MessageId, UnixMillis, codec};

use self::page::{ROWS, Stage};

fn main() {
    let mut stage = Stage::new();
    let body = codec::encode(&stage.page);
    let outgoing = Outgoing {
        id: MessageId::from_uuid(uuid_v7(UnixMillis(1), &mut stage.rng)),
        in_answer_to: None,
        instance: stage.instance,
        recipient: Recipient::Process(process_id(&stage.identity.public_key())),
        manifest_serial: 1,
        rotation: None,
        epoch: Epoch::default(),
        kind: Kind::RewrapPage,
    };
    let own = stage.identity.public_key();
    for (name, body, items) in [("small", &body[..200], 1), ("page, a key of it", &body[..], ROWS)]
    {
        harness::time(&format!("seal: {name}"), items, || {
            envelope::seal(&stage.identity, &outgoing, body)
        });
        // Anew each time: signatures that were verified are remembered.
        harness::time(&format!("seal and open: {name}"), items, || {
            let wire = envelope::seal(&stage.identity, &outgoing, body);
            envelope::open_own(&wire, &own).is_ok()
        });
    }
}
