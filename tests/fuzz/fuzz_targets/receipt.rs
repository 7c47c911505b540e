//! Receipts of rotations.
#![no_main]

use protocol::receipt::RotationReceipt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(receipt) = RotationReceipt::read(bytes) else { return };
    let Ok(text) = serde_json::to_vec(&receipt) else { panic!("it cannot be written again") };
    assert_eq!(RotationReceipt::read(&text).ok(), Some(receipt));
});
