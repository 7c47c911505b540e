//! What a manifest changes, for whoever is about to sign it.

use crypto::identity::fingerprint;
use crypto::quorum;
use protocol::manifest::{Administrator, Manifest, Member};

use super::{table, visible};

/// What is different from the manifest before; everything, in the first one.
pub fn screen(before: Option<&Manifest>, next: &Manifest) -> String {
    let (name, instance) = (visible::line(&next.name), next.instance);
    let head = format!("MANIFEST {} of {name} ({instance})", next.serial);
    let mut rows = Vec::new();
    members(before, next, &mut rows);
    administrators(before, next, &mut rows);
    keystores(before, next, &mut rows);
    numbers(before, next, &mut rows);
    if let Some(amendment) = &next.amendment {
        rows.push(["amends", "rotation", "", &amendment.rotation.to_string()].map(str::to_owned));
    }
    if rows.is_empty() {
        return format!("{head}\nNothing is changed but its serial.");
    }
    let mut shown = table::plain(["CHANGE", "WHAT", "NAME", "WHICH"]);
    for row in rows {
        shown.add_row(row);
    }
    format!("{head}\n{}", table::text(&shown))
}

/// A line: what is done, to what, its name, and which one it is.
type Row = [String; 4];

fn row(change: &str, what: &str, name: &str, which: String) -> Row {
    [change.to_owned(), what.to_owned(), name.to_owned(), which]
}

fn members(before: Option<&Manifest>, next: &Manifest, rows: &mut Vec<Row>) {
    let line = |change: &str, member: &Member| {
        row(change, member.role.name(), &member.name, fingerprint(&member.identity).to_string())
    };
    for member in &next.members {
        match before.and_then(|before| before.member(member.id)) {
            None => rows.push(line("added", member)),
            Some(old) if old == member => {}
            Some(old) => {
                rows.push(line("changed from", old));
                rows.push(line("changed to", member));
            }
        }
    }
    let gone = before.into_iter().flat_map(|before| &before.members);
    rows.extend(gone.filter(|old| next.member(old.id).is_none()).map(|old| line("removed", old)));
}

fn administrators(before: Option<&Manifest>, next: &Manifest, rows: &mut Vec<Row>) {
    let old = before.map_or(&[][..], |before| &before.administrators);
    let line = |change: &str, admin: &Administrator| {
        row(change, "administrator", &admin.name, quorum::ski(&admin.key).shown())
    };
    let new = &next.administrators;
    rows.extend(new.iter().filter(|it| !old.contains(it)).map(|it| line("added", it)));
    rows.extend(old.iter().filter(|it| !new.contains(it)).map(|it| line("removed", it)));
}

fn keystores(before: Option<&Manifest>, next: &Manifest, rows: &mut Vec<Row>) {
    let old = before.map_or(&[][..], |before| &before.keystores);
    let new = &next.keystores;
    let line =
        |change: &str, id: &protocol::KeystoreId| row(change, "keystore", "", id.to_string());
    rows.extend(new.iter().filter(|it| !old.contains(it)).map(|it| line("added", it)));
    rows.extend(old.iter().filter(|it| !new.contains(it)).map(|it| line("removed", it)));
}

fn numbers(before: Option<&Manifest>, next: &Manifest, rows: &mut Vec<Row>) {
    let thresholds = |of: &Manifest| [of.signature_threshold, of.revocation_threshold];
    let old = before.map(thresholds);
    let names = ["signature threshold", "revocation threshold"];
    for (index, (name, new)) in names.into_iter().zip(thresholds(next)).enumerate() {
        match old.map(|old| old[index]) {
            None => rows.push(row("set", name, "", new.to_string())),
            Some(old) if old == new => {}
            Some(old) => rows.push(row("changed", name, "", format!("{old} -> {new}"))),
        }
    }
    if let Some(before) = before.filter(|before| before.name != next.name) {
        rows.push(row("changed", "instance name", &next.name, format!("was {}", before.name)));
    }
}
