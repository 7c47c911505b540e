//! `docs/monitoring` knows exactly the metrics that there are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use telemetry::metric::{ALL, Kind};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring")
}

fn document() -> String {
    let mut text =
        "# Metrics\n\nServed by every process at `/metrics` of its `observe_listen`.\n\n\
                    | metric | kind | meaning |\n|---|---|---|\n"
            .to_owned();
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        text.push_str(&format!("| `{}` | {kind} | {} |\n", metric.name, metric.help));
    }
    text.push_str(
        "\n[alerts.yml](alerts.yml) are rules for Prometheus, [dashboard.json](dashboard.json) is a \
         dashboard for Grafana.\n",
    );
    text
}

#[test]
fn the_list_of_metrics_is_what_the_code_says() {
    let path = folder().join("METRICS.md");
    if std::env::var_os("KEYHELM_UPDATE_DOCS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == document(),
        "docs/monitoring/METRICS.md is not what the code says: run this test with \
         KEYHELM_UPDATE_DOCS=1 and commit the file"
    );
}

#[test]
fn names_follow_the_conventions_and_are_used_once() {
    let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len());
    for metric in ALL {
        let is_total = metric.name.ends_with("_total");
        assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"));
        assert!(metric.name.starts_with("keyhelm_") && metric.help.ends_with('.'));
    }
}

/// Words that begin as our metrics do, without what Prometheus adds to histograms.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("keyhelm_"));
    let plain = |word: &str| word.strip_suffix("_bucket").unwrap_or(word).to_owned();
    words.map(plain).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    for file in ["alerts.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        let asked = mentioned(&text);
        assert!(asked.contains("keyhelm_mk_holders"), "{file} asks for {asked:?}");
        for name in asked {
            assert!(ALL.iter().any(|metric| metric.name == name), "{file}: no metric {name}");
        }
    }
}
