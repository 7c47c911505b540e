//! Which faults have come about, in which phase of a rotation and in which role, so that a run of many
//! seeds can show that none of those that can occur was left out.

use std::collections::BTreeMap;

use protocol::Role;
use protocol::audit::Phase;

/// A kind of fault, the phase of the rotation as far as it was saved, the role that it hit.
pub type Cell = (&'static str, &'static str, &'static str);

/// How often each fault came about.
pub type FaultTable = BTreeMap<Cell, u32>;

/// No rotation was under way.
pub const NO_PHASE: &str = "none";

/// Every kind of fault that is counted.
pub const FAULTS: [&str; 8] =
    ["crash", "double", "drop", "forget", "gone", "replaced", "rogue", "set-back"];

const ROLES: [Role; 4] =
    [Role::RecoveryUnit, Role::OperationalUnit, Role::Reencryptor, Role::Coordinator];

/// Why a combination cannot occur; none if it can.
pub fn cannot_occur((fault, phase, role): Cell) -> Option<&'static str> {
    let is_unit = ROLES[..2].iter().any(|unit| unit.name() == role);
    let is_coordinator = role == Role::Coordinator.name();
    if [Phase::Survey, Phase::Done, Phase::Aborted].iter().any(|never| never.name() == phase) {
        return Some("a rotation is saved when its survey is over, and is none once it has ended");
    }
    match fault {
        "forget" if !is_coordinator => Some("only the coordinator keeps a record"),
        "gone" | "replaced" | "set-back" if !is_unit => Some("only units have registers"),
        "replaced" if phase != NO_PHASE => {
            Some("a master key that is lost in a rotation is lost with its unit: gone, or set back")
        }
        "rogue" if is_coordinator => Some("the rogue is a coordinator: it commands the others"),
        _ => None,
    }
}

/// Combinations that can occur and have not.
pub fn empty_cells(table: &FaultTable) -> Vec<Cell> {
    let phases = Phase::ALL.iter().map(|phase| phase.name()).chain([NO_PHASE]);
    let cells = phases.flat_map(|phase| {
        let of_role = move |role: Role| FAULTS.map(|fault| (fault, phase, role.name()));
        ROLES.into_iter().flat_map(of_role)
    });
    cells.filter(|cell| cannot_occur(*cell).is_none() && !table.contains_key(cell)).collect()
}

/// A line for each kind and role, a column for each phase.
pub fn shown(table: &FaultTable) -> String {
    let phases: Vec<_> = Phase::ALL.iter().map(|phase| phase.name()).chain([NO_PHASE]).collect();
    let can = |phase: &&&'static str| cannot_occur((FAULTS[0], phase, ROLES[0].name())).is_none();
    let phases: Vec<&&'static str> = phases.iter().filter(can).collect();
    let head: String = phases.iter().map(|phase| format!(" {phase:>17}")).collect();
    let mut lines = vec![format!("{:28}{head}", "")];
    for (fault, role) in FAULTS.iter().flat_map(|fault| ROLES.map(|role| (*fault, role.name()))) {
        let count = |phase: &&&'static str| match cannot_occur((fault, phase, role)) {
            Some(_) => format!(" {:>17}", "-"),
            None => format!(" {:>17}", table.get(&(fault, phase, role)).unwrap_or(&0)),
        };
        let row: String = phases.iter().map(count).collect();
        if row.contains(|found: char| found.is_ascii_digit()) {
            lines.push(format!("{fault:9}{role:19}{row}"));
        }
    }
    lines.join("\n")
}
