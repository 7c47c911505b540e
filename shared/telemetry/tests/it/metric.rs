//! What callers choose makes no series of its own.

use std::time::Duration;

use telemetry::metric;

#[test]
fn a_method_that_a_caller_made_up_is_told_as_other() {
    metric::start("test", "0");
    let route = "/made-up";
    for method in ["GET", "get", "MADE-UP-1", "MADE-UP-2", &"X".repeat(100_000)] {
        metric::request(route, method, 401, Duration::ZERO);
    }
    let rendered = metric::render();
    let of_route = |line: &&str| {
        line.starts_with("keyhelm_http_requests_total{") && line.contains(&format!("\"{route}\""))
    };
    let mut series: Vec<_> = rendered.lines().filter(of_route).collect();
    series.sort_unstable();
    let [get, other] = series.as_slice() else { panic!("{series:?}") };
    assert!(get.contains("method=\"GET\"") && get.ends_with(" 1"), "{get}");
    assert!(other.contains("method=\"other\"") && other.ends_with(" 4"), "{other}");
}
