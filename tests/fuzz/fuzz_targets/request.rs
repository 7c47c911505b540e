//! Requests on the coordinator's queue.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees_as_json::<protocol::request::RotationRequest>(bytes);
});
