//! The screens of `cryptounits`, `-admins`, `-thrhlds` and the sections of `-compare`.

use protocol::Role;
use protocol::api::{UnitView, UnitsView};

use super::compare::unit_registers;
use super::{differences, instances, table};

/// The line above each instance.
pub fn instance_line(view: &UnitsView) -> String {
    instances::heading(view.instance, &view.name)
}

/// `cryptounits`.
pub fn list(units: &[UnitView]) -> String {
    let mut table = table::plain([
        "CRYPTO UNIT NUM",
        "SELECTED",
        "TYPE",
        "LOCATION",
        "NAME",
        "STORAGE KEY",
        "ANSWERS",
    ]);
    for unit in units {
        let storage = match unit.state.as_ref().map(|state| state.is_storage_key_local) {
            Some(true) => "local",
            Some(false) => "external",
            None => "-",
        };
        table.add_row([
            unit.number.to_string(),
            "true".to_owned(),
            unit.member.role.unit_type().to_owned(),
            unit.member.location.clone(),
            unit.member.name.clone(),
            storage.to_owned(),
            if unit.state.is_some() { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table::text(&table)
}

/// Below `cryptounits`.
pub const LIST_FOOTER: &str = "Note: all operational crypto units of a service instance must be \
    configured the same.\nUse 'keyhelm cryptounit-compare' to check how crypto units are configured.";

/// `cryptounit-thrhlds`.
pub fn thresholds(units: &[UnitView]) -> String {
    let mut table = table::plain([
        "CRYPTO UNIT NUM",
        "NAME",
        "SIGNATURE THRESHOLD",
        "REVOCATION THRESHOLD",
        "MANIFEST",
    ]);
    let mut is_imprint = false;
    for unit in units {
        let state = unit.state.as_ref();
        is_imprint |= state.is_some_and(|state| state.is_imprint);
        let shown = |number: Option<String>| number.unwrap_or_else(|| "does not answer".to_owned());
        table.add_row([
            unit.number.to_string(),
            unit.member.name.clone(),
            shown(state.map(|state| state.signature_threshold.to_string())),
            shown(state.map(|state| state.revocation_threshold.to_string())),
            shown(state.map(|state| state.manifest_serial.to_string())),
        ]);
    }
    let mut text = format!("SIGNATURE THRESHOLDS\n{}", table::text(&table));
    if is_imprint {
        text.push_str(
            "\n\n==> Crypto units with a signature threshold of 0 are in IMPRINT MODE. <==",
        );
    }
    text
}

/// `cryptounit-admins`.
pub fn administrators(units: &[UnitView]) -> String {
    let mut table =
        table::plain(["CRYPTO UNIT NUM", "NAME", "ADMIN NAME", "SUBJECT KEY IDENTIFIER"]);
    for unit in units {
        let (number, name) = (unit.number.to_string(), unit.member.name.clone());
        let Some(state) = &unit.state else {
            table.add_row([number, name, "does not answer".to_owned(), String::new()]);
            continue;
        };
        if state.administrators.is_empty() {
            table.add_row([number, name, "No administrators".to_owned(), String::new()]);
            continue;
        }
        for admin in &state.administrators {
            let ski = crypto::quorum::ski(&admin.key).shown();
            table.add_row([number.clone(), name.clone(), admin.name.clone(), ski]);
        }
    }
    format!("CRYPTO UNIT ADMINISTRATORS\n{}", table::text(&table))
}

/// What a unit may do follows from its type, and cannot be set.
fn control_points(units: &[UnitView]) -> String {
    let mut table = table::plain([
        "CRYPTO UNIT NUM",
        "NAME",
        "MAKE A MASTER KEY",
        "EXPORT IT SEALED",
        "SERVE KEYS",
    ]);
    for unit in units {
        let is_recovery = unit.member.role == Role::RecoveryUnit;
        let word = |is_allowed: bool| if is_allowed { "allowed" } else { "forbidden" }.to_owned();
        table.add_row([
            unit.number.to_string(),
            unit.member.name.clone(),
            word(is_recovery),
            word(is_recovery),
            word(!is_recovery),
        ]);
    }
    format!("CONTROL POINTS\n{}", table::text(&table))
}

fn keystores(view: &UnitsView) -> String {
    let mut table = table::plain([
        "KEYSTORE",
        "KEY VERSIONS",
        "GENERATION",
        "GATE",
        "PATTERN OF THE MASTER KEY",
    ]);
    for row in &view.keystores {
        let active = row.active.as_ref();
        let digits = active.map_or_else(|| "0".repeat(64), |active| active.pattern.to_string());
        table.add_row([
            row.keystore.to_string(),
            super::time::count(row.version_count),
            active.map_or_else(|| "none".to_owned(), |active| active.number.to_string()),
            if row.is_gate_closed() { "closed" } else { "open" }.to_owned(),
            format!("{}\n{}", &digits[..32], &digits[32..]),
        ]);
    }
    format!("KEY STORAGE\n{}", table::text(&table))
}

/// `cryptounit-compare`: IBM's five sections, the key storage, and everything that differs.
pub fn compare(view: &UnitsView) -> String {
    let mut sections = vec![
        thresholds(&view.units),
        administrators(&view.units),
        unit_registers(&view.units),
        control_points(&view.units),
        keystores(view),
    ];
    if !view.warnings.is_empty() {
        sections.push(format!("WORTH KNOWING\n{}", differences::table(&view.warnings)));
    }
    match view.unmet.is_empty() {
        true => sections.push("A master key rotation could start now.".to_owned()),
        false => {
            sections.push(format!(
                "WHAT KEEPS A ROTATION FROM STARTING\n{}",
                differences::table(&view.unmet)
            ));
            if view.unmet.iter().any(is_about_units) {
                let line = "==> WARNING: Crypto units are configured differently. <==";
                sections.push(line.to_owned());
            }
        }
    }
    sections.join("\n\n")
}

/// Whether it is a difference between units rather than somebody's absence or a running rotation.
fn is_about_units(unmet: &protocol::api::Unmet) -> bool {
    matches!(
        unmet.code.as_str(),
        "imprint-mode"
            | "manifest-differs"
            | "protocol-version"
            | "current-empty"
            | "current-differs"
            | "new-not-empty"
            | "retiring-not-empty"
    )
}
