//! What Key Protect has and this program does not: said so, by name, to whoever may ask at all.

use axum::Router;
use axum::extract::MatchedPath;
use axum::routing::any;

use super::HttpState;
use super::caller::Caller;
use super::error::ApiError;

const ROUTES: [(&str, &str); 13] = [
    ("/keys_with_policy_overrides", "Creating keys with policies"),
    ("/keys/{id}/restore", "Restoring deleted keys"),
    ("/keys/{id}/policies", "Policies of keys"),
    ("/keys/{id}/aliases/{alias}", "Aliases of keys"),
    ("/keys/{id}/registrations", "Registrations of cloud services"),
    ("/keys/registrations", "Registrations of cloud services"),
    ("/instance/policies", "Policies of instances"),
    ("/instance/allowed_ip_port", "Policies of instances"),
    ("/import_token", "Import tokens"),
    ("/key_rings", "Key rings"),
    ("/key_rings/{ring}", "Key rings"),
    ("/kmip_adapters", "KMIP adapters"),
    ("/kmip_adapters/{*rest}", "KMIP adapters"),
];

pub(super) fn routes() -> Router<HttpState> {
    ROUTES.into_iter().fold(Router::new(), |router, (path, _)| router.route(path, any(refuse)))
}

/// `PATCH /keys/{id}`, beside what is built at that path.
pub(super) async fn patch(_: Caller) -> ApiError {
    ApiError::unbuilt("Moving keys between key rings")
}

async fn refuse(_: Caller, path: MatchedPath) -> ApiError {
    let found = ROUTES.iter().find(|(route, _)| path.as_str().ends_with(route));
    ApiError::unbuilt(found.map_or("This", |(_, what)| what))
}
