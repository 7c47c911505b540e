//! What holds of every decoder, whatever bytes it is given.

use std::fmt::Debug;

use protocol::codec::{self, Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes are refused, or are a value that can be written and read again, and nothing follows it.
pub fn agrees<T: Encode + Decode<()> + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else { return };
    let written = codec::encode(&value);
    assert_eq!(codec::decode::<T>(&written).as_ref(), Ok(&value));
    let longer = [bytes, &[0]].concat();
    assert!(codec::decode::<T>(&longer).is_err(), "a byte after the value is taken");
}

/// The same of a document: bytes are refused, or are a value that can be written and read again.
pub fn agrees_as_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let Ok(text) = serde_json::to_vec(&value) else { panic!("it cannot be written again") };
    assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(value));
}
