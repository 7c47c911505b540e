//! Roles, with the names that IBM's users know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token's bearer may do. Reader, ReaderPlus, Writer and Manager include one another in this
/// order; the other two stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Lists keys, reads metadata, wraps and unwraps; sees rotations and their progress.
    Reader,
    /// Reads payloads of standard keys too.
    ReaderPlus,
    /// Creates and imports keys too.
    Writer,
    /// Deletes keys too; sees crypto units, starts and aborts rotations.
    Manager,
    /// Purges keys (IBM: KMS Key Purge).
    KeyPurge,
    /// Sees crypto units, starts and aborts rotations (IBM: Crypto unit administrator).
    CryptoUnitAdministrator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reader,
        Self::ReaderPlus,
        Self::Writer,
        Self::Manager,
        Self::KeyPurge,
        Self::CryptoUnitAdministrator,
    ];

    /// As it stands in a token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "Reader",
            Self::ReaderPlus => "ReaderPlus",
            Self::Writer => "Writer",
            Self::Manager => "Manager",
            Self::KeyPurge => "KeyPurge",
            Self::CryptoUnitAdministrator => "CryptoUnitAdministrator",
        }
    }

    /// Whether whoever has this role has the other one by it.
    pub fn includes(self, other: Self) -> bool {
        self == other || (self <= Self::Manager && other <= self)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no role {text}: it is one of {names}")
        })
    }
}
