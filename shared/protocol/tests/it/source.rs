//! Values of every kind, made of a number: the same number gives the same value.

use protocol::*;

/// Where values come from (SplitMix64).
pub struct Source(u64);

impl Source {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub const fn pick(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn make<T: Made>(&mut self) -> T {
        T::made(self)
    }
}

/// A kind of value that can be made.
pub trait Made {
    fn made(source: &mut Source) -> Self;
}

/// A struct is made field by field. All of them are named here: a new one does not compile.
macro_rules! made {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        $(impl Made for $name {
            fn made(source: &mut Source) -> Self {
                Self { $($field: source.make()),* }
            }
        })*
    };
}
pub(super) use made;

macro_rules! numbers {
    ($($name:ident),*) => {
        $(impl Made for $name {
            fn made(source: &mut Source) -> Self {
                // Mostly small ones, now and then any.
                let next = source.next();
                (if next % 4 == 0 { next } else { next % 8 }) as Self
            }
        })*
    };
}
numbers!(u8, u32, u64);

macro_rules! ids {
    ($($name:ident),*) => {
        $(impl Made for $name {
            fn made(source: &mut Source) -> Self {
                Self::from_bytes(source.make())
            }
        })*
    };
}
ids!(
    InstanceId,
    ProcessId,
    RotationId,
    MessageId,
    CheckId,
    KeystoreId,
    KeyId,
    VersionId,
    GenerationId,
    SessionId
);

macro_rules! wrappers {
    ($($name:ident),*) => {
        $(impl Made for $name {
            fn made(source: &mut Source) -> Self {
                Self(source.make())
            }
        })*
    };
}
wrappers!(Pattern, Digest, PublicKey, Ski, Signature, UnixMillis);

made! {
    Ranked { manifest_serial, number }
}

impl<const N: usize> Made for [u8; N] {
    fn made(source: &mut Source) -> Self {
        std::array::from_fn(|_| source.next() as u8)
    }
}

impl Made for bool {
    fn made(source: &mut Source) -> Self {
        source.pick(2) == 1
    }
}

impl Made for String {
    fn made(source: &mut Source) -> Self {
        let letters = ["", "a", "key", "\u{e9}", "\u{1f511}", " \"\\\n"];
        (0..source.pick(4)).map(|_| letters[source.pick(6) as usize]).collect()
    }
}

impl<T: Made> Made for Vec<T> {
    fn made(source: &mut Source) -> Self {
        (0..source.pick(4)).map(|_| source.make()).collect()
    }
}

impl<T: Made> Made for Option<T> {
    fn made(source: &mut Source) -> Self {
        source.make::<bool>().then(|| source.make())
    }
}

impl<A: Made, B: Made> Made for (A, B) {
    fn made(source: &mut Source) -> Self {
        (source.make(), source.make())
    }
}

impl Made for Role {
    fn made(source: &mut Source) -> Self {
        Self::ALL[source.pick(Self::ALL.len() as u64) as usize]
    }
}
