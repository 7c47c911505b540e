//! What stands in paths and queries, parsed, or a problem that names it.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use protocol::{InstanceId, RotationId};
use serde::de::DeserializeOwned;

use super::problem::Fault;

/// Longest name of an instance, in bytes.
const MAX_NAME: usize = 200;

/// The instance of a path: its name or its id.
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    /// As it was given, for people.
    pub(crate) shown: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Instance {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let shown = segment("instance", parts, state).await?;
        if shown.is_empty() || shown.len() > MAX_NAME || shown.chars().any(char::is_control) {
            let text =
                format!("The path's instance is no name of 1 to {MAX_NAME} bytes, and no id.");
            return Err(Fault::malformed(text));
        }
        Ok(Self { id: InstanceId::named(&shown), shown })
    }
}

/// The rotation of a path.
pub(crate) struct Rotation(pub(crate) RotationId);

impl<S: Send + Sync> FromRequestParts<S> for Rotation {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let text = segment("rotation", parts, state).await?;
        let refused = |error| Fault::malformed(format!("The path's rotation: {error}."));
        text.parse().map(Self).map_err(refused)
    }
}

async fn segment<S: Send + Sync>(
    what: &str,
    parts: &mut Parts,
    state: &S,
) -> Result<String, Fault> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(rejection) => {
            Err(Fault::malformed(format!("The path's {what}: {}.", rejection.body_text())))
        }
    }
}

/// The query's parameters.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(found)) => Ok(Self(found)),
            Err(rejection) => Err(Fault::malformed(format!("{}.", rejection.body_text()))),
        }
    }
}
