//! For whom a job works: the newest command that wants it.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::Epoch;
use protocol::envelope::Header;

/// The newest command's header: whoever sent it is told how far the job comes. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Arc<Mutex<Header>>);

impl Asker {
    pub(crate) fn new(header: Header) -> Self {
        Self(Arc::new(Mutex::new(header)))
    }

    /// Takes a command that wants the same. In one epoch only its own coordinator is heeded: another could
    /// otherwise have the job's end told to itself.
    pub(crate) fn heed(&self, header: &Header) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if header.epoch > newest.epoch || header.sender == newest.sender {
            newest.clone_from(header);
        }
    }

    pub(crate) fn newest(&self) -> Header {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }
}
