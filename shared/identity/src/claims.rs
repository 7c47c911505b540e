//! What a token says.

use protocol::InstanceId;
use serde::{Deserialize, Serialize};

use crate::role::Role;

/// The audience of every token of ours.
pub const AUDIENCE: &str = "keyhelm";

/// What a token says (RFC 7519 names).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whose it is; stands in the audit log.
    pub sub: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// Issued at, in seconds since 1970.
    pub iat: u64,
    /// Ends at, in seconds since 1970.
    pub exp: u64,
    /// Its own id.
    pub jti: String,
    /// What its bearer may do.
    pub roles: Vec<Role>,
    /// In which instances: ids or names, or `*` for all.
    pub instances: Vec<String>,
}

impl Claims {
    /// Whether the token is for this instance at all.
    pub fn covers(&self, instance: InstanceId) -> bool {
        self.instances.iter().any(|entry| {
            entry == "*" || InstanceId::named(entry) == instance || *entry == instance.to_string()
        })
    }

    /// Whether one of the bearer's roles is, or includes, one of these.
    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|wanted| self.roles.iter().any(|role| role.includes(*wanted)))
    }
}
