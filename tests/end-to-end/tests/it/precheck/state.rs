//! A stopped unit's sealed state, opened with its own storage key and written back otherwise than any
//! unit would have written it.

use std::path::Path;

use crypto::master_key::MasterKey;
use crypto::random::process_rng;
use end_to_end::cluster::INSTANCE;
use ledger::Folder;
use machines::unit::state::{NewKey, UnitState};
use protocol::InstanceId;

/// What a register holds that it should not.
#[derive(Clone, Copy, Debug)]
pub enum Amiss {
    /// *new* holds a key outside of any rotation.
    New,
    /// *retiring* does.
    Retiring,
    /// *current* is Empty.
    Empty,
    /// *current* holds another key.
    Other,
}

/// Changes the registers of the unit whose folder this is.
pub fn make_amiss(folder: &Path, amiss: Amiss) {
    let mut rng = process_rng();
    let folder = Folder::open(folder, None, &mut rng).unwrap();
    let identity = folder.identity(&mut rng).unwrap();
    let id = crypto::identity::process_id(&identity.public_key());
    let aad = [b"unit".as_slice(), InstanceId::named(INSTANCE).bytes(), id.bytes()].concat();
    let bytes = folder.load("unit.sealed", &aad).unwrap().unwrap();
    let mut state = UnitState::from_bytes(&bytes).unwrap();
    let key = MasterKey::generate(&mut rng);
    match amiss {
        Amiss::New => state.new = Some(NewKey { key, is_committed: true }),
        Amiss::Retiring => state.retiring = Some(key),
        Amiss::Empty => state.current = None,
        Amiss::Other => state.current = Some(key),
    }
    state.counter += 1;
    folder.save("unit.sealed", &aad, &state.to_bytes(), &mut rng).unwrap();
}
