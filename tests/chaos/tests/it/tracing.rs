//! A rotation is one trace over all processes, as an independent receiver has it.

use std::time::Duration;

use chaos::Stack;
use chaos::compose::UNITS;
use chaos::traces::{Span, Trace};

use crate::kills;
use crate::quickstart::newest;

/// What every unit does in a rotation, and the phase that it does it in.
const STEPS: [&str; 3] = ["commit", "promote", "clear"];

fn unit_of(span: &Span) -> Option<&str> {
    let (kind, name) = span.service.split_once(' ')?;
    kind.ends_with("-unit").then_some(name)
}

/// Exactly one root, every parent there, every unit's steps under the coordinator's phases.
async fn check(stack: &Stack, rotation: &serde_json::Value) -> Trace {
    let trace_id = rotation["trace_id"].as_str().unwrap();
    let trace = Trace::of(stack.traces_port, trace_id).await.unwrap();
    let roots = trace.roots();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(
        (roots[0].name.as_str(), roots[0].service.as_str()),
        ("rotation", "coordinator coordinator")
    );
    assert!(trace.orphans().is_empty(), "{:#?}", trace.orphans());
    for step in STEPS {
        for unit in UNITS {
            let spans: Vec<_> =
                trace.named(step).filter(|span| unit_of(span) == Some(unit)).collect();
            assert_eq!(spans.len(), 1, "{step} of {unit}: {spans:#?}");
            let parent = trace.parent(spans[0]).unwrap();
            assert_eq!(parent.service, "coordinator coordinator", "{step} of {unit}");
        }
    }
    let made: Vec<_> = trace.named("generate").filter_map(unit_of).collect();
    assert_eq!(made.len(), 1, "generate: {made:?}");
    for unit in UNITS {
        let installed = trace.named("install").filter(|span| unit_of(span) == Some(unit)).count();
        assert_eq!(installed, usize::from(unit != made[0]), "install of {unit}");
    }
    trace
}

/// Two rotations, two traces that share nothing; pages under re-encryption, units' work under pages.
pub async fn each_rotation_is_one_trace(stack: &Stack) {
    let first = check(stack, &newest(stack).await).await;
    stack.cli(0, "auto-mk-rotate --yes").await.unwrap();
    let second = check(stack, &newest(stack).await).await;
    assert!(first.spans.keys().all(|id| !second.spans.contains_key(id)));
    let pages: Vec<_> = second.named("page").collect();
    assert!(pages.len() >= 3, "{pages:#?}");
    for page in &pages {
        assert_eq!(page.service, "keystore-reencryptor reencryptor");
        assert_eq!(second.parent(page).unwrap().name, "reencrypt");
        let under = |span: &&Span| span.parent_span_id.as_ref() == Some(&page.span_id);
        let rewraps: Vec<_> = second.named("rewrap").filter(under).collect();
        assert_eq!(rewraps.len(), 1, "{rewraps:#?}");
        assert!(rewraps[0].service.starts_with("operational-unit "), "{rewraps:#?}");
    }
    println!(
        "trace: {} spans of {} processes, {} pages",
        second.spans.len(),
        second.services().len(),
        pages.len()
    );
}

/// The newest rotation had more than two hundred pages: the first and the last have spans, and of the
/// others those that were slow or failed.
pub async fn of_many_pages_only_the_telling_ones_have_spans(stack: &Stack, least_pages: usize) {
    const SLOW: Duration = Duration::from_secs(1);
    let trace = check(stack, &newest(stack).await).await;
    let mut pages: Vec<_> = trace.named("page").collect();
    pages.sort_by_key(|page| page.start_unix_nano);
    let [first, between @ .., last] = &pages[..] else { panic!("{pages:#?}") };
    for page in between {
        assert!(page.took() >= SLOW || page.has_failed(), "neither slow nor failed: {page:#?}");
    }
    assert!(pages.len() < least_pages / 2, "{} of {least_pages} pages have spans", pages.len());
    for page in [first, last] {
        let under = |span: &&Span| span.parent_span_id.as_ref() == Some(&page.span_id);
        assert_eq!(trace.named("rewrap").filter(under).count(), 1, "{page:#?}");
    }
    println!("trace of {least_pages} pages or more: {} of them have spans", pages.len());
}

/// The coordinator is killed while the rotation stands at a phase, and comes back.
pub async fn a_coordinator_that_is_killed_goes_on_in_the_same_trace(stack: &Stack) {
    let rotation = kills::begin_held(stack, "promote").await;
    stack.kill("coordinator").await.unwrap();
    stack.start("coordinator").await.unwrap();
    stack.until_healthy("coordinator").await.unwrap();
    // A killed coordinator has forgotten that it was held.
    kills::until_done(stack, &rotation).await;
    let after = newest(stack).await;
    assert_eq!(after["rotation"], rotation.as_str());
    check(stack, &after).await;
    stack.cli(0, "keys check").await.unwrap();
}
