//! Manifests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::manifest::Manifest>(bytes);
    fuzz::agrees::<protocol::manifest::SignedManifest>(bytes);
});
