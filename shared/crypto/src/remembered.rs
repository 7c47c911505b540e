//! Signatures that have held before or were made here, for a world in which one thread plays every
//! process: each of them verifies what all the others have, and four fifths of its time go into that. A
//! process of its own sees hardly any signature twice, and never asks for this.

use std::cell::RefCell;
use std::collections::BTreeSet;

use protocol::{Digest, PublicKey, Signature};

use crate::digest::sha256;

thread_local! {
    static HELD: RefCell<Option<BTreeSet<Digest>>> = const { RefCell::new(None) };
}

/// From now on this thread remembers which signatures have held; what it remembered before is
/// forgotten.
pub fn remember_signatures() {
    HELD.set(Some(BTreeSet::new()));
}

/// A signature that was just made holds: nobody has to verify it.
pub(crate) fn made(key: &PublicKey, domain: &str, message: &[u8], signature: &Signature) {
    HELD.with_borrow_mut(|held| {
        if let Some(held) = held {
            held.insert(name(key, domain, message, signature));
        }
    });
}

/// Verifies, but for what is remembered. What does not hold is verified each time.
pub(crate) fn or_verify(
    key: &PublicKey,
    domain: &str,
    message: &[u8],
    signature: &Signature,
    verify: impl FnOnce() -> bool,
) -> bool {
    HELD.with_borrow_mut(|held| {
        let Some(held) = held else { return verify() };
        let name = name(key, domain, message, signature);
        let holds = held.contains(&name) || verify();
        if holds {
            held.insert(name);
        }
        holds
    })
}

fn name(key: &PublicKey, domain: &str, message: &[u8], signature: &Signature) -> Digest {
    sha256(domain, &[&key.0, &signature.0, message])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, verify};
    use crate::secret::Secret;

    #[test]
    fn only_what_has_held_is_remembered() {
        let identity = Identity::from_seed(Secret::copied_from(&[7; 32]));
        let (key, good) = (identity.public_key(), identity.sign("a", b"message"));
        remember_signatures();
        let made = identity.sign("a", b"made while it remembers");
        for _ in 0..2 {
            assert!(verify(&key, "a", b"made while it remembers", &made));
            assert!(!verify(&key, "a", b"made while it remembers", &good));
            assert!(verify(&key, "a", b"message", &good));
            assert!(!verify(&key, "b", b"message", &good));
            assert!(!verify(&key, "a", b"another", &good));
        }
    }
}
