//! What is shipped cannot be made to draw known master keys.

use end_to_end::cluster::binaries;

const NAME: &[u8] = b"KEYHELM_TESTING_SEED";

#[test]
fn only_test_builds_know_of_a_seed() {
    let release = binaries().unwrap();
    let testing = release.parent().unwrap().join("testing/release");
    let has = |path: std::path::PathBuf| {
        let bytes =
            std::fs::read(&path).unwrap_or_else(|_| panic!("{} is not built", path.display()));
        bytes.windows(NAME.len()).any(|window| window == NAME)
    };
    let all = [
        "recovery-unit",
        "operational-unit",
        "keystore-reencryptor",
        "coordinator",
        "kms-gateway",
        "keyhelm",
    ];
    for name in all {
        assert!(!has(release.join(name)), "{name} of the release build");
    }
    for name in &all[..2] {
        assert!(has(testing.join(name)), "{name} of the test build");
        let said =
            std::process::Command::new(testing.join(name)).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).contains("TESTING"), "{said:?}");
        let said =
            std::process::Command::new(release.join(name)).arg("--version").output().unwrap();
        assert!(!String::from_utf8_lossy(&said.stdout).contains("TESTING"), "{said:?}");
    }
}
