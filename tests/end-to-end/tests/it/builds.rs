//! What is shipped cannot be made to draw known master keys, to go by a wrong clock, nor to end at a point of a test's.

use end_to_end::cluster::binaries;

/// What only test builds have in them: the variables of tests, the path of the hold, the points at
/// which a process can be made to end.
const NAMES: [&[u8]; 3] = [b"KEYHELM_TESTING_", b"/testing/hold", b"fail-point."];

#[test]
fn only_test_builds_can_be_seeded_held_or_ended() {
    let release = binaries().unwrap();
    let testing = release.parent().unwrap().join("testing/release");
    let has = |path: std::path::PathBuf| {
        let bytes =
            std::fs::read(&path).unwrap_or_else(|_| panic!("{} is not built", path.display()));
        let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
        NAMES.into_iter().any(has)
    };
    let all = [
        "recovery-unit",
        "operational-unit",
        "coordinator",
        "keystore-reencryptor",
        "kms-gateway",
        "keyhelm",
    ];
    for name in all {
        assert!(!has(release.join(name)), "{name} of the release build");
    }
    for name in &all[..5] {
        assert!(has(testing.join(name)), "{name} of the test build");
        let said =
            std::process::Command::new(testing.join(name)).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).contains("TESTING"), "{said:?}");
        let said =
            std::process::Command::new(release.join(name)).arg("--version").output().unwrap();
        assert!(!String::from_utf8_lossy(&said.stdout).contains("TESTING"), "{said:?}");
    }
}
