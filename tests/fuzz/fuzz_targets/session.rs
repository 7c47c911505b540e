//! Messages of sessions, and what is sealed in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::session::SessionAsk>(bytes);
    fuzz::agrees::<protocol::session::SessionOffer>(bytes);
    fuzz::agrees::<protocol::session::SessionInfo>(bytes);
    fuzz::agrees::<protocol::session::SealedRequest>(bytes);
    fuzz::agrees::<protocol::session::SealedAnswer>(bytes);
    fuzz::agrees::<protocol::session::KeyRequest>(bytes);
    fuzz::agrees::<protocol::session::KeyAnswer>(bytes);
});
