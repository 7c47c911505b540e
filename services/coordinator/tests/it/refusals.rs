//! What cannot be understood, and what is not taken: a problem that names the thing.

use coordinator::http::{MAX_BODY, MAX_REQUESTS};
use crypto::domain;
use protocol::api::{ManifestRequest, ManifestView};
use protocol::codec;
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Purpose, SignedStandingOrder, StandingOrder};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{json as answered, problem};
use crate::cluster::{Cluster, INSTANCE};
use crate::founding::{Administrator1, draft, founded, path, standing};

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

pub fn empty_manifest() -> Manifest {
    Manifest {
        instance: Cluster::instance(),
        name: INSTANCE.to_owned(),
        serial: 2,
        previous: None,
        members: Vec::new(),
        keystores: Vec::new(),
        administrators: Vec::new(),
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: service::now(),
        amendment: None,
    }
}

pub fn ended_standing() -> StandingOrder {
    StandingOrder {
        instance: Cluster::instance(),
        manifest_serial: 1,
        not_more_often_than_s: 0,
        pause_between_tries_s: 0,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        until: protocol::UnixMillis(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_understood_is_refused_by_the_name_of_its_field() {
    let (cluster, _) = founded().await;
    let authority = json!({ "quorum": [] });
    for (to, body, named) in [
        ("rotations", json!({ "dry_runs": true }), "dry_runs"),
        ("rotations", json!({ "dry_run": "yes" }), "dry_run"),
        ("rotations", json!({ "mode": "lax" }), "mode"),
        ("rotations", json!({ "request_id": "" }), "request_id"),
        ("rotations", json!({ "expect_current_pattern": "zz" }), "expect_current_pattern"),
        ("rotations", json!({ "order": { "bytes": "00", "authority": authority } }), "order.bytes"),
        ("rotations", json!([]), "no JSON object"),
        ("order-drafts", json!({ "purpose": "rotate", "mode": "strict" }), "valid_for_s"),
        (
            "order-drafts",
            json!({ "purpose": "rotate", "mode": "strict", "valid_for_s": 0 }),
            "valid_for_s",
        ),
        ("manifests", json!({ "bytes": "00", "signatures": [] }), "bytes"),
        ("manifests", json!({ "bytes": "0", "signatures": [] }), "bytes"),
        ("manifests", json!({ "bytes": "00", "signatures": [], "more": 1 }), "more"),
        ("standing-orders", json!({ "bytes": "00" }), "signatures"),
        // Empty as they are, these are no fields.
        ("manifests", json!({ "bytes": "00", "signatures": [], "more": [] }), "no field more"),
        ("manifests", json!({ "bytes": "00", "signatures": [], "a/b~": null }), "no field a/b~"),
    ] {
        let response = cluster.api.post(&path(to), &body).await;
        let found = problem(response, StatusCode::BAD_REQUEST, "malformed").await;
        assert!(found.detail.contains(named), "{named}: {}", found.detail);
    }
    let request = |body: &'static str, kind: &str| {
        let request = cluster.api.request(Method::POST, &path("rotations")).body(body);
        request.header("content-type", kind).send()
    };
    let response = request("{\"dry_run\": ", "application/json").await.unwrap();
    problem(response, StatusCode::BAD_REQUEST, "malformed").await;
    let response = request("{\"dry_run\": true} x", "application/json").await.unwrap();
    problem(response, StatusCode::BAD_REQUEST, "malformed").await;
    let response = request("dry_run=true", "application/x-www-form-urlencoded").await.unwrap();
    problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type").await;
    let response = request("{\"dry_run\": true}", "application/json; charset=utf-8").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_given_empty_is_as_one_that_is_absent() {
    let (cluster, administrator) = founded().await;
    let draft_of = json!({ "purpose": "rotate", "mode": "strict", "valid_for_s": 60,
        "joining": [], "quarantined": [] });
    let response = cluster.api.post(&path("order-drafts"), &draft_of).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    let order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    let start = json!({ "order": order, "dry_run": true, "mode": null, "request_id": null });
    let response = cluster.api.post(&path("rotations"), &start).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    // It comes as far as the manifest itself, which is none.
    let manifest = json!({ "bytes": "00", "signatures": [], "standing_order": null });
    let response = cluster.api.post(&path("manifests"), &manifest).await;
    let found = problem(response, StatusCode::BAD_REQUEST, "malformed").await;
    assert!(found.detail.starts_with("bytes: they are no manifest"), "{}", found.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_deep_in_a_signed_order_is_named() {
    let (cluster, administrator) = founded().await;
    let order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    let mut body = json!({ "order": order, "dry_run": true });
    let signature = body["order"]["authority"]["quorum"][0].as_object_mut().unwrap();
    signature.insert("comment".to_owned(), json!("mine"));
    let response = cluster.api.post(&path("rotations"), &body).await;
    let found = problem(response, StatusCode::BAD_REQUEST, "malformed").await;
    assert!(found.detail.contains("order.authority.quorum[0].comment"), "{}", found.detail);
    body = json!({ "order": order, "mode": "strict" });
    let response = cluster.api.post(&path("rotations"), &body).await;
    let found = problem(response, StatusCode::BAD_REQUEST, "malformed").await;
    assert!(found.detail.starts_with("mode:"), "{}", found.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused() {
    let (cluster, _) = founded().await;
    let long = "0".repeat(MAX_BODY);
    let response = cluster.api.post(&path("manifests"), &json!({ "bytes": long })).await;
    problem(response, StatusCode::PAYLOAD_TOO_LARGE, "oversized").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_queries_and_headers_that_name_nothing_are_refused() {
    let (cluster, _) = founded().await;
    let api = cluster.api.with(Some(crate::api::token(
        &cluster.issuer,
        "alice",
        &[identity::Role::Manager],
        &["*"],
    )));
    let get = async |path: &str, status: StatusCode, code: &str, named: &str| {
        let found = problem(api.get(path).await, status, code).await;
        assert!(found.detail.contains(named), "{named}: {}", found.detail);
    };
    let (missing, bad) = (StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST);
    for of in ["units", "compare", "explain", "members", "manifest", "rotations", "audit"] {
        get(&format!("/v1/instances/nobody/{of}"), missing, "unknown-instance", "nobody").await;
    }
    get(&format!("/v1/rotations/{NOBODY}"), missing, "unknown-rotation", NOBODY).await;
    get(&format!("/v1/rotations/{NOBODY}/events"), missing, "unknown-rotation", NOBODY).await;
    get("/v1/rotations/seven", bad, "malformed", "rotation").await;
    get("/v1/instances/%FF/units", bad, "malformed", "instance").await;
    get(&path("rotations?limit=0"), bad, "malformed", "limit").await;
    get(&path("rotations?limit=many"), bad, "malformed", "limit").await;
    get(&path("rotations?limits=1"), bad, "malformed", "limits").await;
    get(&path("audit?after=-1"), bad, "malformed", "after").await;
    get("/v2/instances", missing, "unknown-path", "/v2/instances").await;
    let response = api.request(Method::DELETE, "/v1/instances").send().await.unwrap();
    problem(response, StatusCode::METHOD_NOT_ALLOWED, "unknown-method").await;
    let response = api.post("/v1/instances/nobody/rotations", &json!({})).await;
    problem(response, missing, "unknown-instance").await;
    let path = format!("/v1/rotations/{NOBODY}/abort");
    let response = api.post(&path, &json!({ "because": "a test" })).await;
    problem(response, missing, "unknown-rotation").await;
    let list: Vec<Value> = api.read(&crate::founding::path("rotations")).await;
    let rotation = list[0]["rotation"].as_str().unwrap();
    let path = format!("/v1/rotations/{rotation}/events");
    let request = api.request(Method::GET, &path).header("Last-Event-ID", "last");
    let found = problem(request.send().await.unwrap(), bad, "malformed").await;
    assert!(found.detail.contains("Last-Event-ID"), "{}", found.detail);
    let path = format!("/v1/rotations/{rotation}/abort");
    let response = api.post(&path, &json!({ "because": " " })).await;
    let found = problem(response, bad, "malformed").await;
    assert!(found.detail.contains("because"), "{}", found.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_orders_that_nobody_of_the_manifest_signed_are_not_taken() {
    let (cluster, administrator) = founded().await;
    let stranger = Administrator1::new();
    let mut next = empty_manifest();
    let first: ManifestView = cluster.api.read(&path("manifest")).await;
    next.members.clone_from(&first.manifest.members);
    next.administrators.clone_from(&first.manifest.administrators);
    next.previous = Some(first.digest);
    let bytes = codec::encode(&next);
    let signatures = stranger.sign(domain::MANIFEST, &bytes);
    let signed = SignedManifest { bytes: bytes.clone(), signatures };
    let response = cluster.api.post(&path("manifests"), &signed).await;
    let refused = problem(response, StatusCode::CONFLICT, "not-taken").await;
    assert!(refused.detail.contains("prod"), "{}", refused.detail);
    let bytes = codec::encode(&ended_standing());
    let signatures = stranger.sign(domain::STANDING_ORDER, &bytes);
    let body = json!({ "bytes": hex::encode(bytes), "signatures": signatures });
    let response = cluster.api.post(&path("standing-orders"), &body).await;
    problem(response, StatusCode::CONFLICT, "not-taken").await;
    let order = stranger.order(&draft(&cluster.api, Purpose::Rotate).await);
    let response = cluster.api.post(&path("rotations"), &json!({ "order": order })).await;
    let refused = problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
    assert_eq!(refused.unmet[0].code, "no-leave");
    let order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    let response = cluster.api.post(&path("rotations"), &json!({ "order": order })).await;
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_and_the_standing_order_under_it_are_both_taken_or_none() {
    let (cluster, administrator) = founded().await;
    let first: ManifestView = cluster.api.read(&path("manifest")).await;
    let next = Manifest { serial: 2, previous: Some(first.digest), ..first.manifest.clone() };
    let bytes = codec::encode(&next);
    let signatures = administrator.sign(domain::MANIFEST, &bytes);
    let signed = SignedManifest { bytes, signatures };
    let give = async |standing_order: SignedStandingOrder| {
        let standing_order = Some(standing_order);
        let given = ManifestRequest { standing_order, ..signed.clone().into() };
        cluster.api.post(&path("manifests"), &given).await
    };
    for wrong in
        [standing(&administrator, &first.manifest), standing(&Administrator1::new(), &next)]
    {
        problem(give(wrong).await, StatusCode::CONFLICT, "not-taken").await;
        let view: ManifestView = cluster.api.read(&path("manifest")).await;
        assert_eq!((view.manifest.serial, view.standing_order.is_some()), (1, true));
    }
    let right = standing(&administrator, &next);
    let taken: ManifestView = answered(give(right.clone()).await, StatusCode::CREATED).await;
    assert_eq!((taken.manifest.serial, taken.standing_order), (2, right.unverified().ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_version_does_not_do_is_refused_before_anything_changes() {
    let (cluster, administrator) = founded().await;
    let counters = async || -> Vec<u64> {
        let view: protocol::api::UnitsView = cluster.api.read(&path("units")).await;
        view.units.iter().map(|unit| unit.state.as_ref().unwrap().state_counter).collect()
    };
    let before = counters().await;
    let unmet = async |to: &str, body: Value, code: &str, next: &str| {
        let response = cluster.api.post(&path(to), &body).await;
        let found = problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
        let codes: Vec<_> = found.unmet.iter().map(|one| one.code.as_str()).collect();
        assert_eq!((codes, found.next_command.as_deref()), (vec![code], Some(next)));
    };
    let dry = "keyhelm auto-mk-rotate --dry-run";
    unmet("rotations", json!({ "plan": "00".repeat(32) }), "plan-moved", dry).await;
    // Its interval is not above its hold: the next rotation would come before the hold ends.
    let held = StandingOrder {
        not_more_often_than_s: 10,
        hold_before_clear_s: 10,
        until: service::now().plus_ms(60_000),
        ..ended_standing()
    };
    let bytes = codec::encode(&held);
    let signatures = administrator.sign(domain::STANDING_ORDER, &bytes);
    let body = json!({ "bytes": hex::encode(bytes), "signatures": signatures });
    let response = cluster.api.post(&path("standing-orders"), &body).await;
    let found = problem(response, StatusCode::CONFLICT, "not-taken").await;
    assert_eq!(found.next_command.as_deref(), Some("keyhelm manifest"));
    let manifest: ManifestView = cluster.api.read(&path("manifest")).await;
    assert_eq!(manifest.standing_order.unwrap().hold_before_clear_s, 0, "that of before");
    assert_eq!(counters().await, before);
    let list: Vec<Value> = cluster.api.read(&path("rotations")).await;
    assert_eq!(list.len(), 1, "only that of the founding");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_are_worked_on_at_once_are_told_to_come_back() {
    let (mut cluster, _) = founded().await;
    // Each draft now waits for a silent unit.
    cluster.stop_unit("op-1").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..MAX_REQUESTS + 10 {
        let api = cluster.api.clone();
        let body = json!({ "purpose": "rotate", "mode": "strict", "valid_for_s": 60 });
        requests.spawn(async move { api.post(&path("order-drafts"), &body).await });
    }
    while let Some(response) = requests.join_next().await {
        let response = response.unwrap();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(response.headers()["retry-after"], "1");
            problem(response, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
            return;
        }
        problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
    }
    panic!("every one of them was worked on at once");
}
