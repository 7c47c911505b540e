//! Orders, standing orders, ends of holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::order::Order>(bytes);
    fuzz::agrees::<protocol::order::SignedOrder>(bytes);
    fuzz::agrees::<protocol::order::StandingOrder>(bytes);
    fuzz::agrees::<protocol::order::HoldEnd>(bytes);
});
