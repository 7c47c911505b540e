//! Administrators' key files, without a passphrase.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = crypto::sigkey_file::describe(bytes);
});
