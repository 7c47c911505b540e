//! `docs/monitoring` knows exactly the metrics that there are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use telemetry::metric::{ALL, Kind};

/// What follows the list.
const AFTER: &str = r#"
Of an instance only the coordinator tells that holds the lease. One that has lost it shows counters as it knew
them last, and 0 for what runs or is held: `keyhelm_lease_held` says which is which.

## Scraping

Where a metric is told by `instance`, that is an instance of keyhelm. Prometheus has a label of this name too, the
address it scrapes; without `honor_labels: true` ours becomes `exported_instance`, and neither alerts nor dashboard
find it.

```yaml
rule_files: [alerts.yml]
scrape_configs:
  - job_name: keyhelm            # alerts.yml asks for jobs whose names begin so
    honor_labels: true
    static_configs:
      - targets: ["op-1:7610", "rec-1:7610", "coordinator:7610", "gateway:7610", "reencryptor:7610"]
    relabel_configs:             # which process said it, where `instance` is ours
      - { source_labels: [__address__], target_label: target }
```

[alerts.yml](alerts.yml) are rules for Prometheus, [alerts_test.yml](alerts_test.yml) shows for each of them when it
fires (`promtool test rules docs/monitoring/alerts_test.yml`), [dashboard.json](dashboard.json) is a dashboard for
Grafana.
"#;

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
    text.push_str(AFTER);
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
    for file in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        let asked = mentioned(&text);
        assert!(asked.contains("keyhelm_mk_holders"), "{file} asks for {asked:?}");
        for name in asked {
            assert!(ALL.iter().any(|metric| metric.name == name), "{file}: no metric {name}");
        }
    }
}

/// Whether they fire as they should, `promtool` says.
#[test]
fn each_alert_is_tried_out_where_it_fires_and_where_it_must_not() {
    let read = |file: &str| std::fs::read_to_string(folder().join(file)).unwrap();
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let tried = |name: &str| {
        let name = format!("alertname: {name}");
        let after = |at: usize| tests[at + name.len()..].trim_start_matches([',', '\n', ' ']);
        let told: Vec<_> = tests.match_indices(&name).map(|(at, _)| after(at)).collect();
        let is_silent = |told: &&str| told.starts_with("exp_alerts: []");
        let silent = told.iter().filter(|told| is_silent(told)).count();
        (silent, told.len() - silent)
    };
    for name in names {
        let (silent, fires) = tried(name);
        assert!(silent > 0 && fires > 0, "{name} is tried {silent} times, and fires {fires} times");
    }
}
