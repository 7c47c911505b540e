//! What is inside a unit's sealed state.
#![no_main]

use machines::unit::state::UnitState;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(state) = UnitState::from_bytes(bytes) else { return };
    let written = state.to_bytes();
    let Ok(again) = UnitState::from_bytes(&written) else { panic!("it cannot be read again") };
    assert_eq!(again.to_bytes().as_slice(), written.as_slice());
});
