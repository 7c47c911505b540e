//! Who calls, and what they may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use identity::{Claims, Role, TokenRefusal, Verifier};
use protocol::InstanceId;

use super::problem::Fault;

/// May see instances, rotations and their events. Each role up to Manager includes Reader.
pub(crate) const SEE: [Role; 2] = [Role::Reader, Role::CryptoUnitAdministrator];
/// May see units, manifests and the audit log, hand in what administrators signed, start, abort.
pub(crate) const OPERATE: [Role; 2] = [Role::Manager, Role::CryptoUnitAdministrator];

/// The bearer of a token that was believed.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Claims>);

impl Caller {
    /// By the bearer token among the headers.
    pub(crate) fn verify(verifier: &Verifier, headers: &HeaderMap) -> Result<Self, TokenRefusal> {
        let value = headers.get(AUTHORIZATION).ok_or(TokenRefusal::Absent)?;
        let text = value.to_str().unwrap_or_default();
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(TokenRefusal::Absent),
        };
        verifier.verify(token, service::now()).map(|claims| Self(Arc::new(claims)))
    }

    /// Stands in the audit log.
    pub(crate) fn sub(&self) -> &str {
        &self.0.sub
    }

    /// Whether the token is for this instance.
    pub(crate) fn covers(&self, instance: InstanceId) -> bool {
        self.0.covers(instance)
    }

    /// One of these roles, in any instance.
    pub(crate) fn must(&self, roles: &[Role]) -> Result<(), Fault> {
        match self.0.has_any(roles) {
            true => Ok(()),
            false => Err(Fault::role_lacking(self.sub(), roles)),
        }
    }

    /// One of these roles, in this instance.
    pub(crate) fn must_in(
        &self,
        roles: &[Role],
        instance: InstanceId,
        shown: &str,
    ) -> Result<(), Fault> {
        self.must(roles)?;
        match self.covers(instance) {
            true => Ok(()),
            false => Err(Fault::not_covered(self.sub(), shown)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        // `front` has put it there, or has answered itself.
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Fault::unauthenticated(&TokenRefusal::Absent))
    }
}
