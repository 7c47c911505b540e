//! Offers, sealed master keys, certificates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::command::Offer>(bytes);
    fuzz::agrees::<protocol::command::Transfer>(bytes);
    fuzz::agrees::<protocol::command::Transfers>(bytes);
    fuzz::agrees::<protocol::certificate::Certificate>(bytes);
});
