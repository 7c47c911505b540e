//! Invariant 5: no master key in any message. What the machines write down besides (logs, rows, dumps)
//! is looked through by the tests that run real processes.

use crypto::master_key::MasterKey;

use super::Violation;
use crate::unit::UnitNode;

/// One message in so many is looked through: each takes as long as a signature.
const EACH: u32 = 4;

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    messages: u32,
    broken: Option<Violation>,
}

impl Memory {
    /// Something is published.
    pub(super) fn told(&mut self, units: &[UnitNode], bytes: &[u8]) {
        self.messages += 1;
        if !self.messages.is_multiple_of(EACH) {
            return;
        }
        let mut secrets: Vec<&[u8; 32]> = Vec::new();
        for state in units.iter().map(UnitNode::saved_state) {
            let new = state.new.as_ref().map(|new| &new.key);
            let held = [state.current.as_ref(), new, state.retiring.as_ref()];
            secrets.extend(held.into_iter().flatten().map(MasterKey::danger_state_bytes));
        }
        secrets.sort_unstable();
        secrets.dedup();
        let is_in = |secret: &&&[u8; 32]| {
            bytes.windows(32).any(|part| part[0] == secret[0] && part == **secret)
        };
        if secrets.iter().any(|secret| is_in(&secret)) {
            let text = "a master key is in a message".to_owned();
            self.broken = Some(Violation { checker: "no_secret_told", text });
        }
    }

    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.broken.take().map_or(Ok(()), Err)
    }
}
