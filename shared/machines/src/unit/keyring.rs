//! What a unit serves keys with: the derived keys of its registers, cut off from the state so that
//! pages and key requests are worked on beside the commands.

use std::sync::Arc;

use crypto::blob::WrapKeys;
use protocol::order::OrderRef;
use protocol::report::Standing;
use protocol::{InstanceId, Pattern, ProcessId, Role};

use super::Unit;
use super::state::UnitState;

/// Leave to re-wrap pages: there while the unit holds both patterns of its rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewrapLeave {
    /// Which order.
    pub order: OrderRef,
    /// Pattern of the old blobs.
    pub from: Pattern,
    /// Pattern of the new blobs.
    pub to: Pattern,
}

/// A unit's keys as of its last save.
#[derive(Debug, Default)]
pub struct Keyring {
    /// The instance, in every blob's binding.
    pub instance: Option<InstanceId>,
    /// The unit, in every receipt.
    pub unit: Option<ProcessId>,
    /// Why the unit serves nothing, if it does not.
    pub not_serving: Option<&'static str>,
    /// Why the unit opens nothing either to see whether it opens, if it does not. Recovery units,
    /// which serve no keys, do that.
    pub not_opening: Option<&'static str>,
    /// Leave to re-wrap, if there is one.
    pub rewrap: Option<RewrapLeave>,
    keys: Vec<Arc<WrapKeys>>,
}

impl Keyring {
    /// The keys of the register that holds this pattern. The new register opens blobs only when it
    /// is Full Committed.
    pub fn keys(&self, pattern: Pattern) -> Option<&WrapKeys> {
        self.keys.iter().find(|keys| keys.pattern() == pattern).map(Arc::as_ref)
    }
}

impl Unit {
    /// The keyring as the state stands; keys of patterns that `before` has are taken over.
    pub fn keyring(&self, before: &Keyring) -> Keyring {
        let state = self.state();
        let new = state.new.as_ref().filter(|new| new.is_committed).map(|new| &new.key);
        let keys = [state.current.as_ref(), new, state.retiring.as_ref()]
            .into_iter()
            .flatten()
            .map(|key| {
                let kept = before.keys.iter().find(|kept| kept.pattern() == key.pattern());
                kept.cloned().unwrap_or_else(|| Arc::new(WrapKeys::derive(key)))
            })
            .collect();
        Keyring {
            instance: Some(state.trust.instance()),
            unit: Some(self.id()),
            not_serving: self.not_serving(),
            not_opening: self.not_opening(),
            rewrap: rewrap_leave(state),
            keys,
        }
    }

    /// Whether it takes pages: not one that never held the old master key.
    pub fn takes_pages(&self) -> bool {
        self.not_serving().is_none()
    }

    fn is_joining(&self) -> bool {
        let taken = self.state().rotation.as_ref().filter(|_| self.state().is_in_rotation());
        taken.is_some_and(|taken| taken.order.joining.contains(&self.id()))
    }

    fn not_serving(&self) -> Option<&'static str> {
        match self.config().role {
            Role::OperationalUnit => self.not_opening(),
            _ => Some("recovery units serve no keys"),
        }
    }

    fn not_opening(&self) -> Option<&'static str> {
        let state = self.state();
        if state.trust.newest().is_none() {
            Some("imprint mode")
        } else if self.is_removed() {
            Some("removed from the manifest")
        } else if state.reminder.is_some() {
            Some("its state was set back to an older one")
        } else if state.current.is_none() {
            Some("no master key")
        } else if self.is_joining() {
            Some("it joins, and has not cleared yet")
        } else {
            None
        }
    }
}

/// From commit until clear, from the old pattern to the new one, by whichever registers hold them.
fn rewrap_leave(state: &UnitState) -> Option<RewrapLeave> {
    let taken = state.rotation.as_ref()?;
    let registers = state.registers();
    let (from, to) = match taken.standing {
        Standing::Bound => {
            let new = registers.new.filter(|new| new.is_committed)?;
            (registers.current?, new.pattern)
        }
        Standing::Promoted => (registers.retiring?, registers.current?),
        Standing::Aborted | Standing::Cleared => return None,
    };
    Some(RewrapLeave { order: taken.reference, from, to })
}
