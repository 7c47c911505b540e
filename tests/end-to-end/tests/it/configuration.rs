//! `docs/CONFIGURATION.md` is made from the settings' own definitions.

use service::settings::document;

const INTRODUCTION: &str = "# Configuration

Every service reads a file (`--config FILE` or `KEYHELM_CONFIG`, TOML) and the environment; a variable wins over
the file, the file over the default. Unknown keys in the file are refused. `--print-settings` shows what a service
would use, without secrets. Secrets belong into files that a setting names (`..._file`), never into variables.

Everywhere: `KEYHELM_LOG` filters the log (default `info`; `debug`, or `coordinator=debug,info`), `NO_COLOR` is
obeyed. The command line's settings are in `keyhelm --help`.
";

#[test]
fn the_documentation_is_what_the_settings_say() {
    let text = [
        INTRODUCTION.to_owned(),
        document::<crypto_unit::boot::UnitSettings>(),
        document::<keystore_reencryptor::boot::ReencryptorSettings>(),
        document::<coordinator::boot::CoordinatorSettings>(),
        document::<kms_gateway::boot::GatewaySettings>(),
    ]
    .join("\n");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    if std::env::var_os("KEYHELM_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == text,
        "docs/CONFIGURATION.md is not what the settings say: run this test with \
         KEYHELM_UPDATE_DOCS=1 and commit the file"
    );
    assert!(!text.contains("| ? |"), "a setting without a default");
}
