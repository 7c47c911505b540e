//! Reports and announcements.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::report::UnitReport>(bytes);
    fuzz::agrees::<protocol::report::KeystoreReport>(bytes);
    fuzz::agrees::<protocol::report::Announcement>(bytes);
});
