//! What is answered, in Key Protect's shapes.

use axum::http::header::HeaderMap;
use crypto::blob::KeyAttributes;
use keystore::{KeyMeta, KeyState};
use protocol::{InstanceId, KeyId, UnixMillis, VersionId};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::body::SecretText;

/// Content types of answers. IBM's clients decide by them: for a vendor type their Python client
/// hands the raw response out, which IBM's own samples rely on.
pub(super) const KEY: &str = "application/vnd.ibm.kms.key+json";
pub(super) const VERSION: &str = "application/vnd.ibm.kms.key.version+json";
pub(super) const ACTION: &str = "application/vnd.ibm.kms.key_action+json";

/// The envelope of everything that is listed.
#[derive(Serialize)]
pub(super) struct Collection<T> {
    pub(super) metadata: CollectionMetadata,
    pub(super) resources: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CollectionMetadata {
    pub(super) collection_type: &'static str,
    /// Elements in this answer.
    pub(super) collection_total: usize,
    /// All that match, whatever limit and offset are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) search_query: Option<SearchQuery>,
}

/// How a search was understood.
#[derive(Serialize)]
pub(super) struct SearchQuery {
    pub(super) query: String,
    pub(super) scopes: Vec<&'static str>,
    pub(super) not: bool,
    pub(super) exact: bool,
}

impl<T> Collection<T> {
    pub(super) fn of(collection_type: &'static str, resources: Vec<T>) -> Self {
        let metadata = CollectionMetadata {
            collection_type,
            collection_total: resources.len(),
            total_count: None,
            search_query: None,
        };
        Self { metadata, resources }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyResource {
    #[serde(rename = "type")]
    kind: &'static str,
    id: KeyId,
    name: String,
    state: i64,
    extractable: bool,
    crn: String,
    imported: bool,
    #[serde(rename = "keyRingID")]
    key_ring_id: &'static str,
    creation_date: String,
    created_by: String,
    last_update_date: String,
    algorithm_type: &'static str,
    algorithm_metadata: AlgorithmMetadata,
    /// Not stored for imported keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm_bit_size: Option<u32>,
    algorithm_mode: &'static str,
    key_version: VersionResource,
    dual_auth_delete: DualAuthDelete,
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_allowed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_allowed_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<SecretText>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlgorithmMetadata {
    /// A string in Key Protect too.
    #[serde(skip_serializing_if = "Option::is_none")]
    bit_length: Option<&'static str>,
    mode: &'static str,
}

#[derive(Serialize)]
struct DualAuthDelete {
    enabled: bool,
}

/// A version of a key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionResource {
    pub(super) id: VersionId,
    pub(super) creation_date: String,
}

/// `Prefer: return=minimal`.
#[derive(Serialize)]
pub(super) struct MinimalKey {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) id: KeyId,
}

impl KeyResource {
    /// Metadata, never a payload. `purge_from` is the moment a deleted key may be purged.
    pub(super) fn of(
        instance: InstanceId,
        meta: KeyMeta,
        purge_from: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Self {
        let attributes = KeyAttributes::from_byte(meta.attributes);
        let is_imported = attributes.is_some_and(|attributes| attributes.is_imported);
        Self {
            kind: KEY,
            id: meta.key,
            state: meta.state.number(),
            extractable: is_extractable(&meta),
            crn: format!(
                "crn:v1:bluemix:public:hs-crypto:local:a/keyhelm:{instance}:key:{}",
                meta.key
            ),
            imported: is_imported,
            key_ring_id: "default",
            creation_date: date(meta.created_at),
            last_update_date: date(meta.deleted_at.unwrap_or(meta.created_at)),
            algorithm_type: "AES",
            algorithm_metadata: AlgorithmMetadata {
                bit_length: (!is_imported).then_some("256"),
                mode: "CBC_PAD",
            },
            algorithm_bit_size: (!is_imported).then_some(256),
            algorithm_mode: "CBC_PAD",
            key_version: VersionResource { id: meta.version, creation_date: date(meta.created_at) },
            dual_auth_delete: DualAuthDelete { enabled: false },
            deleted: meta.state == KeyState::Destroyed,
            deletion_date: meta.deleted_at.map(date),
            purge_allowed: purge_from.map(|from| from <= now),
            purge_allowed_from: purge_from.map(date),
            payload: None,
            name: meta.name,
            created_by: meta.created_by,
        }
    }
}

/// Whether it is a standard key.
pub(super) fn is_extractable(meta: &KeyMeta) -> bool {
    KeyAttributes::from_byte(meta.attributes).is_some_and(|attributes| attributes.is_extractable)
}

/// RFC 3339 in UTC, to the second.
pub(super) fn date(at: UnixMillis) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

/// What a caller prefers to be answered (RFC 7240).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    None,
    Minimal,
    Representation,
}

impl Preference {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let found = given.find_map(|text| {
            text.split([',', ';']).find_map(|one| match one.trim() {
                one if one.eq_ignore_ascii_case("return=minimal") => Some(Self::Minimal),
                one if one.eq_ignore_ascii_case("return=representation") => {
                    Some(Self::Representation)
                }
                _ => None,
            })
        });
        found.unwrap_or(Self::None)
    }
}
