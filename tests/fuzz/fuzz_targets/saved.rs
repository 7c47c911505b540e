//! What coordinator and reencryptor save: records of rotations and rows of keystores; and the file of
//! manifests that an administrator keeps.
#![no_main]

use machines::rotation::record::Record;
use protocol::keystore::KeystoreRow;
use protocol::receipt::ManifestFile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::agrees::<Record>(bytes);
    fuzz::agrees_as_json::<KeystoreRow>(bytes);
    fuzz::agrees_as_json::<ManifestFile>(bytes);
});
