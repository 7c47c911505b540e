//! Bodies of the key API. A field of the wrong type is named, and its value is not repeated.

use std::collections::BTreeMap;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::body::SecretText;

/// One function a field, so that the error names it.
macro_rules! named {
    ($($name:ident: $type:ty = $field:literal, $must_be:literal;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<$type>, D::Error> {
            Option::deserialize(from).map_err(|_| {
                Error::custom(concat!("the field '", $field, "' must be ", $must_be))
            })
        }
    )*};
}

/// As above, for what has fields itself: its own errors are said as they are.
macro_rules! nested {
    ($($name:ident: $type:ty = $field:literal, $must_be:literal;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<$type>, D::Error> {
            Option::deserialize(from).map_err(|error| match error.to_string() {
                text if text.starts_with("invalid ") => {
                    D::Error::custom(concat!("the field '", $field, "' must be ", $must_be))
                }
                _ => error,
            })
        }
    )*};
}

named! {
    collection_type: String = "metadata.collectionType", "a string";
    collection_total: u64 = "metadata.collectionTotal", "a number";
    kind: String = "type", "a string";
    name: String = "name", "a string";
    description: String = "description", "a string";
    tags: Vec<String> = "tags", "a list of strings";
    extractable: bool = "extractable", "true or false";
    payload: SecretText = "payload", "a string in base64";
    plaintext: SecretText = "plaintext", "a string in base64";
    ciphertext: String = "ciphertext", "a string in base64";
    aad: Vec<String> = "aad", "a list of strings";
}

nested! {
    metadata: Metadata = "metadata", "an object";
    resources: Vec<KeyFields> = "resources", "a list of objects";
}

/// A collection of keys to be created.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[serde(default, deserialize_with = "metadata")]
    pub(super) metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "resources")]
    pub(super) resources: Option<Vec<KeyFields>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default, deserialize_with = "collection_type")]
    pub(super) collection_type: Option<String>,
    #[serde(default, deserialize_with = "collection_total")]
    pub(super) collection_total: Option<u64>,
}

/// A key to be created.
#[derive(Deserialize)]
pub(super) struct KeyFields {
    #[serde(default, rename = "type", deserialize_with = "kind")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "description")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    pub(super) tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "extractable")]
    pub(super) extractable: Option<bool>,
    #[serde(default, deserialize_with = "payload")]
    pub(super) payload: Option<SecretText>,
    /// Names of all the others; none where the value is null.
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Option<IgnoredAny>>,
}

/// What a wrap is asked.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrapBody {
    #[serde(default, deserialize_with = "plaintext")]
    pub(super) plaintext: Option<SecretText>,
    #[serde(default, deserialize_with = "aad")]
    pub(super) aad: Option<Vec<String>>,
}

/// What an unwrap is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnwrapBody {
    #[serde(default, deserialize_with = "ciphertext")]
    pub(super) ciphertext: Option<String>,
    #[serde(default, deserialize_with = "aad")]
    pub(super) aad: Option<Vec<String>>,
}
