//! Commands to units and to the keystore.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::command::Command>(bytes);
    fuzz::agrees::<protocol::command::KeystoreCommand>(bytes);
});
