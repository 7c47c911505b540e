//! Requests on the coordinator's queue.
#![no_main]

use protocol::request::RotationRequest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = serde_json::from_slice::<RotationRequest>(bytes) else { return };
    let Ok(text) = serde_json::to_vec(&request) else { panic!("it cannot be written again") };
    assert_eq!(serde_json::from_slice::<RotationRequest>(&text).ok(), Some(request));
});
