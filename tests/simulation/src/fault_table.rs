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
pub const FAULTS: [&str; 21] = [
    "aborted-commit",
    "altered",
    "crash",
    "cut-off",
    "double",
    "drop",
    "forget",
    "gone",
    "identity",
    "late-write",
    "lease",
    "lie",
    "lost-commit",
    "replaced",
    "restored",
    "rogue",
    "rolled-back",
    "set-back",
    "spoilt",
    "wrong-page",
    "zombie",
];

const ROLES: [Role; 4] =
    [Role::RecoveryUnit, Role::OperationalUnit, Role::Reencryptor, Role::Coordinator];

/// Why a run need not have this combination: it cannot occur, or only where one fault has followed on
/// another; none if it must have it.
pub fn left_out((fault, phase, role): Cell) -> Option<&'static str> {
    let is_unit = ROLES[..2].iter().any(|unit| unit.name() == role);
    let is_one_of = |phases: &[Phase]| phases.iter().any(|one| one.name() == phase);
    if is_one_of(&[Phase::Survey, Phase::Done, Phase::Aborted]) {
        return Some("a rotation is saved when its survey is over, and is none once it has ended");
    }
    let (only, why) = match fault {
        "forget" | "lease" | "zombie" => {
            (Role::Coordinator, "only the coordinator has a record and a lease")
        }
        "identity" if is_unit => return Some("a unit that comes back as another is gone for good"),
        "aborted-commit" | "lost-commit" if is_unit => return Some("units have no database"),
        "late-write" | "restored" | "rolled-back" | "spoilt" => {
            (Role::Reencryptor, "only the keystore has pages and copies in a database")
        }
        "lie" | "wrong-page" => (Role::OperationalUnit, "only operational units take pages"),
        "gone" | "replaced" | "set-back" if !is_unit => {
            return Some("only units have registers");
        }
        "rogue" if role == Role::Coordinator.name() => {
            return Some("the rogue is a coordinator: it commands the others");
        }
        _ => return of_phase(fault, phase),
    };
    if only.name() == role { of_phase(fault, phase) } else { Some(why) }
}

fn of_phase(fault: &str, phase: &str) -> Option<&'static str> {
    let is_one_of = |phases: &[Phase]| phases.iter().any(|one| one.name() == phase);
    match fault {
        "replaced" if phase != NO_PHASE => {
            Some("a master key that is lost in a rotation is lost with its unit: gone, or set back")
        }
        "spoilt" if phase != NO_PHASE => Some(
            "in a rotation that is decided a damaged blob could be neither re-encrypted nor left out",
        ),
        "late-write" | "lie" | "wrong-page" if !is_one_of(&[Phase::Reencrypt]) => {
            Some("pages are out while the keystore is re-encrypted, else only late ones")
        }
        "restored" if phase != NO_PHASE && !is_one_of(&[Phase::HoldBeforeClear]) => {
            Some("a copy is brought back in the hold, or when no rotation is under way")
        }
        "rolled-back" => {
            const UNDONE: [Phase; 4] =
                [Phase::Reencrypt, Phase::Promote, Phase::Flip, Phase::Aborting];
            let why = "nothing was done in the keystore that is not read back, but by the rogue";
            (!is_one_of(&UNDONE)).then_some(why)
        }
        "lost-commit" => {
            const WRITES: [Phase; 4] =
                [Phase::Reencrypt, Phase::Flip, Phase::Drop, Phase::Aborting];
            let why = "nothing is asked of the keystore then, but by the rogue";
            (!is_one_of(&WRITES)).then_some(why)
        }
        _ => None,
    }
}

/// Combinations that a run must have and has not.
pub fn empty_cells(table: &FaultTable) -> Vec<Cell> {
    let phases = Phase::ALL.iter().map(|phase| phase.name()).chain([NO_PHASE]);
    let cells = phases.flat_map(|phase| {
        let of_role = move |role: Role| FAULTS.map(|fault| (fault, phase, role.name()));
        ROLES.into_iter().flat_map(of_role)
    });
    cells.filter(|cell| left_out(*cell).is_none() && !table.contains_key(cell)).collect()
}

/// A line for each kind and role, a column for each phase.
pub fn shown(table: &FaultTable) -> String {
    let phases: Vec<_> = Phase::ALL.iter().map(|phase| phase.name()).chain([NO_PHASE]).collect();
    let can = |phase: &&&'static str| left_out((FAULTS[0], phase, ROLES[0].name())).is_none();
    let phases: Vec<&&'static str> = phases.iter().filter(can).collect();
    let head: String = phases.iter().map(|phase| format!(" {phase:>17}")).collect();
    let mut lines = vec![format!("{:28}{head}", "")];
    for (fault, role) in FAULTS.iter().flat_map(|fault| ROLES.map(|role| (*fault, role.name()))) {
        let count = |phase: &&&'static str| match left_out((fault, phase, role)) {
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
