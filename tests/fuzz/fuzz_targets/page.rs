//! Pages and their answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<protocol::page::RewrapPage>(bytes);
    fuzz::agrees::<protocol::page::PageAnswer>(bytes);
    fuzz::agrees::<protocol::page::CheckPage>(bytes);
    fuzz::agrees::<protocol::page::CheckAnswer>(bytes);
    fuzz::agrees::<protocol::page::ChunkReceipt>(bytes);
});
