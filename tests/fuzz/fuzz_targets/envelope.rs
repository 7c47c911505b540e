//! Envelopes: what is parsed is put together again to the same bytes.
#![no_main]

use protocol::Envelope;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::Header>(bytes);
    if let Ok(found) = Envelope::parse(bytes) {
        let again = Envelope::assemble(found.header_bytes, &found.signature, found.body);
        assert_eq!(again, bytes);
    }
});
