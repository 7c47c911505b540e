//! What Prometheus is told of rotations. Each test runs in one thread, which has a recorder of its own:
//! the clusters of other tests do not show.

use std::time::Duration;

use ::metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use protocol::api::{StartRotation, Started};
use protocol::order::Purpose;
use reqwest::{Method, StatusCode};

use crate::api::{PATIENCE, json};
use crate::cluster::{Cluster, INSTANCE};
use crate::founding::{draft, drafted, founded, path};

/// A recorder of what this thread tells. It lives as long as the process, as that of a service does.
struct Told {
    recorder: &'static PrometheusRecorder,
    _here: LocalRecorderGuard<'static>,
}

impl Told {
    fn here() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { recorder, _here: ::metrics::set_default_local_recorder(recorder) }
    }

    /// The samples of a metric, in order.
    fn of(&self, name: &str) -> Vec<String> {
        let text = self.recorder.handle().render();
        let is_sample = |line: &&str| line.starts_with(&format!("{name}{{"));
        let mut found: Vec<_> = text.lines().filter(is_sample).map(str::to_owned).collect();
        found.sort_unstable();
        found
    }

    /// Whether the one sample that a metric has for the instance is this.
    fn is(&self, name: &str, value: &str) -> bool {
        self.of(name) == [format!("{name}{{instance=\"{INSTANCE}\"}} {value}")]
    }

    async fn until(&self, name: &str, value: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.is(name, value) {
            assert!(tokio::time::Instant::now() < deadline, "{name}: {:?}", self.of(name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn ended(done: u32, aborted: u32) -> Vec<String> {
    let sample = |outcome, count| {
        format!("keyhelm_rotations_total{{instance=\"{INSTANCE}\",outcome=\"{outcome}\"}} {count}")
    };
    vec![sample("aborted", aborted), sample("done", done)]
}

#[tokio::test]
async fn what_has_not_happened_yet_is_a_zero_and_the_last_rotation_is_known_after_a_restart() {
    let told = Told::here();
    let (mut cluster, _) = founded().await;
    assert_eq!(told.of("keyhelm_rotations_total"), ended(1, 0));
    let last = told.of("keyhelm_last_rotation_timestamp_seconds");
    assert_eq!(last.len(), 1);
    cluster.stop_coordinator().await;
    drop(told);
    let anew = Told::here();
    cluster.start_coordinator().await;
    assert_eq!(anew.of("keyhelm_rotations_total"), ended(0, 0));
    assert_eq!(anew.of("keyhelm_last_rotation_timestamp_seconds"), last);
    assert!(anew.is("keyhelm_rotation_running", "0") && anew.is("keyhelm_rotation_holding", "0"));
}

#[tokio::test]
async fn an_instance_is_told_of_as_soon_as_it_has_announced_itself() {
    let told = Told::here();
    let cluster = Cluster::start().await;
    told.until("keyhelm_rotation_running", "0").await;
    assert_eq!(told.of("keyhelm_rotations_total"), ended(0, 0));
    assert!(told.of("keyhelm_last_rotation_timestamp_seconds").is_empty());
    drop(cluster);
}

#[tokio::test]
async fn a_rotation_that_holds_is_told_from_one_that_does_not() {
    let told = Told::here();
    let (cluster, administrator) = founded().await;
    let order = administrator.order(&drafted(&cluster.api, Purpose::Rotate, [1, 1]).await);
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &start).await;
    let started: Started = json(response, StatusCode::CREATED).await;
    for value in ["1", "0", "1", "0"] {
        told.until("keyhelm_rotation_holding", value).await;
    }
    cluster.api.events(started.rotation.unwrap().rotation, None).await;
    assert_eq!(told.of("keyhelm_rotations_total"), ended(2, 0));
    assert!(told.is("keyhelm_rotation_running", "0") && told.is("keyhelm_rotation_holding", "0"));
    // An order without holds never holds.
    let order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &start).await;
    let started: Started = json(response, StatusCode::CREATED).await;
    let mut events = cluster.api.follow(started.rotation.unwrap().rotation, None).await;
    while events.next().await.is_some() {
        assert!(told.is("keyhelm_rotation_holding", "0"));
    }
}

#[tokio::test]
async fn a_method_that_a_caller_made_up_is_no_label() {
    let told = Told::here();
    let cluster = Cluster::start().await;
    let nobody = cluster.api.with(None);
    for (method, path, status) in [
        ("MADE-UP-1", "/v1/instances", StatusCode::UNAUTHORIZED),
        ("MADE-UP-2", "/nowhere", StatusCode::NOT_FOUND),
        ("MADE-UP-3", "/healthz", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(nobody.request(method, path).send().await.unwrap().status(), status, "{path}");
    }
    let answered = told.of("keyhelm_http_requests_total");
    let by_other = answered.iter().filter(|line| line.contains("method=\"other\"")).count();
    assert_eq!(by_other, 3, "{answered:?}");
    assert!(!answered.iter().any(|line| line.contains("MADE-UP")), "{answered:?}");
}
