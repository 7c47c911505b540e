//! Goal: a request on the queue is read as it was written, with no field more. Method: requests made of
//! random numbers, and the same JSON with one thing changed.

use proptest::prelude::*;
use protocol::receipt::RotationReceipt;
use protocol::request::RotationRequest;
use serde_json::Value;

use crate::source::Source;

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(seed: u64, at: usize, to: u8) {
        let request: RotationRequest = Source::new(seed).make();
        let text = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<RotationRequest>(&text).unwrap(), &request);
        let mut more: Value = serde_json::from_slice(&text).unwrap();
        more["more"] = Value::Null;
        prop_assert!(serde_json::from_value::<RotationRequest>(more).is_err());
        let longer = [text.as_slice(), b"{}"].concat();
        prop_assert!(serde_json::from_slice::<RotationRequest>(&longer).is_err());
        let mut other = text;
        let at = at % other.len();
        other[at] = to;
        if let Ok(found) = serde_json::from_slice::<RotationRequest>(&other) {
            let again = serde_json::to_vec(&found).unwrap();
            prop_assert_eq!(serde_json::from_slice::<RotationRequest>(&again).unwrap(), found);
        }
    }

    #[test]
    fn any_bytes_are_refused_as_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(serde_json::from_slice::<RotationRequest>(&bytes).is_err());
        prop_assert!(RotationReceipt::read(&bytes).is_err());
    }
}
