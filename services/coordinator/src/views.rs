//! What people see of an instance: pure functions of its conductor.

use std::collections::BTreeMap;

use machines::conductor::{Conductor, HeardOf};
use machines::explain::{Known as Explained, explain};
use machines::rotation::record::Record;
use machines::rotation::record_view;
use machines::trust::{Trust, manifest_digest};
use protocol::api::{
    AnnouncedMember, Explanation, InstanceView, ManifestView, RotationView, UnitStateView,
    UnitView, UnitsView,
};
use protocol::keystore::KeystoreRow;
use protocol::manifest::Member;
use protocol::report::UnitReport;
use protocol::{RotationId, UnixMillis};

use crate::handle::{Known, Looked};

/// One line of the list of instances.
pub(crate) fn instance(known: &Known<'_>) -> InstanceView {
    let conductor = known.conductor;
    InstanceView {
        id: known.id,
        name: known.name.to_owned(),
        manifest_serial: conductor.trust().serial(),
        unit_count: crypto_units(conductor).len(),
        open_rotation: conductor.open_rotation(),
        standing_order_until: conductor.standing_order().map(|standing| standing.until),
    }
}

/// The crypto units in the manifest's order, then those that have only announced themselves.
fn crypto_units(conductor: &Conductor) -> Vec<&Member> {
    let manifest = conductor.trust().newest();
    let mut units: Vec<_> = manifest.into_iter().flat_map(|found| found.crypto_units()).collect();
    let announced = conductor.heard().announced.values().map(|heard| &heard.said.member);
    let mut others: Vec<_> = announced
        .filter(|member| member.role.is_crypto_unit())
        .filter(|member| units.iter().all(|unit| unit.id != member.id))
        .collect();
    others.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    units.extend(others);
    units
}

/// The units of one of all instances, after a survey; none if the instance is not among them.
pub(crate) fn units(
    all: &[Known<'_>],
    instance: protocol::InstanceId,
    looked: Looked,
) -> Option<UnitsView> {
    let at = all.iter().position(|known| known.id == instance)?;
    let before: usize = all[..at].iter().map(|known| crypto_units(known.conductor).len()).sum();
    let known = &all[at];
    let heard = known.conductor.heard();
    let unit = |(index, member): (usize, &Member)| UnitView {
        number: u32::try_from(before + index + 1).unwrap_or(u32::MAX),
        member: member.clone(),
        state: heard.units.get(&member.id).filter(|said| said.at >= looked.since).map(unit_state),
    };
    Some(UnitsView {
        instance,
        name: known.name.to_owned(),
        units: crypto_units(known.conductor).into_iter().enumerate().map(unit).collect(),
        keystores: keystores(known.conductor),
        unmet: looked.findings.unmet,
        warnings: looked.findings.warnings,
    })
}

fn unit_state(heard: &HeardOf<UnitReport>) -> UnitStateView {
    let (report, facts) = (&heard.said, &heard.said.facts);
    let rotation = report.rotation.as_ref();
    UnitStateView {
        registers: report.registers,
        state_counter: report.state_counter,
        is_imprint: facts.is_imprint,
        manifest_serial: report.manifest_serial,
        signature_threshold: facts.signature_threshold,
        revocation_threshold: facts.revocation_threshold,
        administrators: facts.administrators.clone(),
        last_number: report.last_number(),
        rotation: rotation.map(|found| (found.order.rotation, found.standing)),
        epoch: report.epoch,
        is_storage_key_local: facts.is_storage_key_local,
        clock_ahead_ms: facts.clock.0.cast_signed().saturating_sub(heard.at.0.cast_signed()),
        reported_at: heard.at,
    }
}

/// What goes on, after a survey; `last` is the record of the last rotation that was saved.
pub(crate) fn explanation(
    conductor: &Conductor,
    looked: &Looked,
    last: Option<&Record>,
    now: UnixMillis,
) -> Explanation {
    let saved = last.map(|record| recorded(record, conductor.trust()));
    let last = saved.map(|view| live(conductor, view.rotation).unwrap_or(view));
    explain(&Explained::of(conductor, now, looked.since, &looked.findings, last.as_ref()))
}

/// One row a keystore: the one that was heard last, where several reencryptors serve it.
fn keystores(conductor: &Conductor) -> Vec<KeystoreRow> {
    let mut newest = BTreeMap::new();
    for heard in conductor.heard().keystores.values() {
        let Some(row) = &heard.said.row else { continue };
        let held = newest.entry(row.keystore).or_insert((heard.at, row));
        if heard.at > held.0 {
            *held = (heard.at, row);
        }
    }
    newest.into_values().map(|(_, row)| row.clone()).collect()
}

/// Who has announced itself. The coordinator, which announces itself to nobody, is `own`.
pub(crate) fn members(
    conductor: &Conductor,
    own: &Member,
    now: UnixMillis,
) -> Vec<AnnouncedMember> {
    let fingerprint = |member: &Member| crypto::identity::fingerprint(&member.identity);
    let mut members = vec![AnnouncedMember {
        member: own.clone(),
        fingerprint: fingerprint(own),
        keystore: None,
        manifest_serial: conductor.trust().serial(),
        announced_at: now,
    }];
    members.extend(conductor.heard().announced.values().map(|heard| {
        AnnouncedMember {
            member: heard.said.member.clone(),
            fingerprint: fingerprint(&heard.said.member),
            keystore: heard.said.keystore,
            manifest_serial: conductor
                .heard()
                .manifest_serial(heard.said.member.id)
                .unwrap_or(heard.said.manifest_serial),
            announced_at: heard.at,
        }
    }));
    members.sort_by(|one, other| {
        (&one.member.name, one.member.id).cmp(&(&other.member.name, other.member.id))
    });
    members
}

/// The newest manifest; none before `auto-init`.
pub(crate) fn manifest(conductor: &Conductor) -> Option<ManifestView> {
    let (manifest, signed) = (conductor.trust().newest()?, conductor.trust().chain().last()?);
    Some(ManifestView {
        manifest: manifest.clone(),
        digest: manifest_digest(&signed.bytes),
        chain: conductor.trust().chain().to_vec(),
        standing_order: conductor.standing_order(),
    })
}

/// The rotation that the conductor is in, or was last in, if it is this one.
pub(crate) fn live(conductor: &Conductor, rotation: RotationId) -> Option<RotationView> {
    let found = conductor.rotation()?;
    (found.reference().rotation == rotation).then(|| found.to_view())
}

/// A saved rotation. Whoever took part in one that has ended has done the last phase.
pub(crate) fn recorded(record: &Record, trust: &Trust) -> RotationView {
    let mut view = record_view(record);
    let serial = usize::try_from(view.number.manifest_serial).unwrap_or(usize::MAX);
    let signed = serial.checked_sub(1).and_then(|index| trust.chain().get(index));
    if let Some(manifest) = signed.and_then(|signed| signed.unverified().ok()) {
        let takes_part = |unit: &&Member| view.purpose.involves(unit.id);
        view.units_total = manifest.crypto_units().filter(takes_part).count();
    }
    if view.phase.is_ended() {
        view.units_done = view.units_total;
    }
    view
}
