//! What people see: instances, units, members, the manifest, the audit log, health.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bus::MemoryBus;
use crypto::{digest, domain};
use protocol::api::{AnnouncedMember, AuditView, InstanceView, ManifestView, UnitsView};
use protocol::command::Command;
use protocol::envelope::{Kind, Recipient};
use protocol::{Digest, Envelope, codec};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::api::{PATIENCE, json, problem};
use crate::cluster::{Cluster, INSTANCE, UNITS};
use crate::founding::{founded, path, rotated};

#[tokio::test(flavor = "multi_thread")]
async fn before_founding_the_coordinator_is_alive_but_not_ready() {
    let cluster = Cluster::start().await;
    let open = cluster.api.with(None);
    let alive: Value = json(open.get("/healthz").await, StatusCode::OK).await;
    assert_eq!(alive, json!({ "status": "alive" }));
    let ready: Value = json(open.get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(ready["because"], "no instance has a manifest: run keyhelm auto-init");
    let deadline = Instant::now() + PATIENCE;
    while cluster.api.get(&path("members")).await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "no unit has announced itself");
    }
    let response = cluster.api.get(&path("manifest")).await;
    let none = problem(response, StatusCode::NOT_FOUND, "not-initialised").await;
    assert_eq!(none.next_command.as_deref(), Some("keyhelm auto-init"));
    let response = cluster.api.post(&path("rotations"), &json!({})).await;
    problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founded_instance_is_shown_with_its_units_members_and_manifest() {
    let (cluster, _) = founded().await;
    assert_eq!(cluster.api.with(None).get("/readyz").await.status(), StatusCode::OK);
    let instances: Vec<InstanceView> = cluster.api.read("/v1/instances").await;
    let [instance] = &instances[..] else { panic!("{instances:?}") };
    assert_eq!((instance.name.as_str(), instance.manifest_serial), (INSTANCE, 1));
    assert_eq!((instance.unit_count, instance.open_rotation), (5, None));
    assert!(instance.standing_order_until.is_some());
    let by_name: UnitsView = cluster.api.read(&path("units")).await;
    let id = Cluster::instance();
    let by_id: UnitsView = cluster.api.read(&format!("/v1/instances/{id}/units")).await;
    assert_eq!(by_name.units.len(), by_id.units.len());
    let numbers: Vec<_> = by_name.units.iter().map(|unit| unit.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let names: Vec<_> = by_name.units.iter().map(|unit| unit.member.name.as_str()).collect();
    assert_eq!(names, UNITS.map(|(name, _)| name));
    let pattern = by_name.units[0].state.as_ref().unwrap().registers.current.unwrap();
    for unit in &by_name.units {
        let state = unit.state.as_ref().unwrap();
        assert_eq!(state.registers.current, Some(pattern));
        assert_eq!((state.is_imprint, state.signature_threshold), (false, 1));
        assert!(state.clock_ahead_ms.abs() < 5_000);
    }
    let [keystore] = &by_name.keystores[..] else { panic!("{:?}", by_name.keystores) };
    assert_eq!(keystore.active.as_ref().unwrap().pattern, pattern);
    let manifest: ManifestView = cluster.api.read(&path("manifest")).await;
    assert_eq!(manifest.digest, machines::trust::manifest_digest(&manifest.chain[0].bytes));
    let members: Vec<AnnouncedMember> = cluster.api.read(&path("members")).await;
    assert_eq!(members.len(), manifest.manifest.members.len());
    for said in members {
        assert!(manifest.manifest.member(said.member.id).is_some());
        let expected = crypto::identity::fingerprint(&said.member.identity);
        assert_eq!(said.fingerprint, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_names_silent_units_and_few_surveys_answer_many_who_ask() {
    let (mut cluster, _) = founded().await;
    let clean: UnitsView = cluster.api.read(&path("compare")).await;
    assert!(clean.unmet.is_empty(), "{:?}", clean.unmet);
    assert!(clean.warnings.iter().any(|warning| warning.code == "local-storage-key"));
    cluster.stop_unit("op-3").await;
    let asked = surveys(&cluster.memory, "op-1", &clean);
    let many: Vec<_> = (0..20)
        .map(|_| {
            let api = cluster.api.clone();
            tokio::spawn(async move { api.read::<UnitsView>(&path("compare")).await })
        })
        .collect();
    for one in many {
        let view = one.await.unwrap();
        let silent: Vec<_> = view.units.iter().filter(|unit| unit.state.is_none()).collect();
        let [silent] = &silent[..] else { panic!("{silent:?}") };
        assert_eq!(silent.member.name, "op-3");
        let [unmet] = &view.unmet[..] else { panic!("{:?}", view.unmet) };
        assert_eq!((unmet.code.as_str(), unmet.subject.as_str()), ("silent", "op-3"));
    }
    // Of half a second each: who asks meanwhile shares the next one.
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..20).contains(&asked), "{asked} surveys for twenty who ask");
    let units: UnitsView = cluster.api.read(&path("units")).await;
    assert!(units.unmet.is_empty() && units.warnings.is_empty());
}

/// How often a unit is asked how it stands, from now on.
fn surveys(memory: &MemoryBus, unit: &str, view: &UnitsView) -> Arc<AtomicUsize> {
    let named = view.units.iter().find(|found| found.member.name == unit).unwrap();
    let (to, count) = (Recipient::Process(named.member.id), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    memory.tap(move |message| {
        let Ok(envelope) = Envelope::parse(&message.body) else { return };
        if envelope.header.kind == Kind::Command && envelope.header.recipient == to {
            let command: Command = codec::decode(envelope.body).unwrap();
            let is_survey = matches!(command, Command::Survey { .. });
            counted.fetch_add(usize::from(is_survey), Ordering::Relaxed);
        }
    });
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_a_chain_that_names_who_asked() {
    let (cluster, _) = founded().await;
    rotated(&cluster.api).await;
    let log: Vec<AuditView> = cluster.api.read(&path("audit")).await;
    let mut before = Digest([0; 32]);
    for (index, entry) in log.iter().enumerate() {
        assert_eq!(entry.seq, index as u64 + 1);
        assert_eq!(entry.actor, "alice");
        let (seq, at) = (entry.seq.to_le_bytes(), entry.at.0.to_le_bytes());
        let (actor, action) = (entry.actor.as_bytes(), entry.action.as_bytes());
        let details = entry.details.to_string();
        let parts: [&[u8]; 6] = [&before.0, &seq, &at, actor, action, details.as_bytes()];
        before = digest::sha256(domain::AUDIT, &parts);
        assert_eq!(entry.hash, before, "entry {}", entry.seq);
    }
    let count = |action: &str| log.iter().filter(|entry| entry.action == action).count();
    assert_eq!((count("manifest.take"), count("standing-order.take")), (1, 1));
    assert_eq!((count("request.start"), count("rotation.done")), (2, 2));
    let rest: Vec<AuditView> = cluster.api.read(&path("audit?after=3")).await;
    assert_eq!(rest, log[3..]);
}
