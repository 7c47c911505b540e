//! Who asks, of which instance, and what they may do there.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use identity::{Claims, Role};
use protocol::InstanceId;

use super::HttpState;
use super::error::ApiError;
use super::observe::{INSTANCE, header_text};
use crate::Keys;

const KEY_RING: &str = "x-kms-key-ring";
const DEFAULT_RING: &str = "default";

/// A caller whose token is believed and covers the instance.
pub(super) struct Caller {
    /// Keys of the instance.
    pub(super) keys: Keys,
    claims: Claims,
}

impl Caller {
    /// As it stands in the metadata of what the caller makes.
    pub(super) fn actor(&self) -> String {
        format!("{}/{}", self.claims.iss, self.claims.sub)
    }

    /// Refuses whoever has none of these roles.
    pub(super) fn require(&self, roles: &[Role]) -> Result<(), ApiError> {
        if self.claims.has_any(roles) {
            return Ok(());
        }
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        Err(forbidden(&format!("it takes the role {}", names.join(" or "))))
    }
}

fn forbidden(reason: &str) -> ApiError {
    let text = format!("The user does not have access to the specified resource: {reason}");
    ApiError::new(StatusCode::FORBIDDEN, "UNAUTHORIZED_ERR", text)
}

/// The bearer token; empty where there is none.
fn token(headers: &HeaderMap) -> &str {
    let text = header_text(headers, header::AUTHORIZATION.as_str()).unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    }
}

impl FromRequestParts<HttpState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState,
    ) -> Result<Self, Self::Rejection> {
        let headers = &parts.headers;
        let claims = state.verifier.verify(token(headers), service::now()).map_err(|refusal| {
            let text =
                format!("The user does not have access to the specified resource: {refusal}");
            ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED_ERR", text)
        })?;
        let Some(named) = header_text(headers, INSTANCE) else {
            let text = "The header 'Bluemix-Instance' must be: the id of a service instance";
            let error = ApiError::bad_request("INVALID_FIELD_ERR", text.to_owned());
            return Err(error.at("header", "Bluemix-Instance"));
        };
        let instance = InstanceId::named(named);
        if !claims.covers(instance) {
            return Err(forbidden("the token is not for this instance"));
        }
        let Some(keys) = state.instances.get(instance) else {
            let text = format!("The instance {instance} is not served by this gateway");
            return Err(ApiError::not_found("INSTANCE_NOT_FOUND_ERR", text));
        };
        match header_text(headers, KEY_RING) {
            None | Some(DEFAULT_RING) => Ok(Self { keys: keys.clone(), claims }),
            Some(_) => {
                Err(ApiError::unbuilt("Key rings other than 'default'")
                    .at("header", "X-Kms-Key-Ring"))
            }
        }
    }
}
