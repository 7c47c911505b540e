//! Goal: `keys create` and `keys import` say that keys are there when they are, and only then. Method: a
//! real gateway, and answers that are lost on the way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::between::{Between, Deed};
use crate::binary::{Ran, text};
use crate::cluster::Dev;

const AGAIN: &str = "Retry-After: 1";

fn problem(code: &str) -> String {
    format!(
        "{{\"resources\":[{{\"errorMsg\":\"no\",\"reasons\":[{{\"code\":\"{code}\",\
             \"message\":\"the key storage cannot be reached\"}}]}}]}}"
    )
}

/// In front of the cluster's gateway: what becomes of each batch, in order; then they pass.
fn batches(dev: &Dev, deeds: Vec<Deed>) -> Between {
    let mut deeds = deeds.into_iter();
    Between::new(&dev.gateway(), move |line, _| match line {
        "POST /v1/key-batches" => deeds.next().unwrap_or(Deed::Pass),
        _ => Deed::Pass,
    })
}

fn by_way_of(dev: &Dev, way: &Between, args: &[&str]) -> Ran {
    let token = dev.home.path("dev/token");
    let servers = ["--gateway", way.url(), "--instance", "embedded", "--token-file", text(&token)];
    dev.run(&[args, &servers].concat())
}

fn listed(dev: &Dev) -> usize {
    dev.good(&["keys", "list", "--json"]).lines().count()
}

#[test]
fn keys_whose_commit_was_answered_by_a_failure_are_found_to_be_there() {
    let dev = Dev::ready(&[]);
    let lost = || Deed::Replace(503, AGAIN, problem("KEYSTORE_UNAVAILABLE_ERR"));
    let way = batches(&dev, vec![lost()]);
    let made = by_way_of(&dev, &way, &["keys", "create", "--count", "30"]);
    assert_eq!((made.code, made.out.contains("30 keys made")), (0, true), "{made:?}");
    assert_eq!(listed(&dev), 30);

    // Whoever is not told to come again says that it is not known.
    let way = batches(&dev, vec![Deed::Replace(500, "X-Made: up", problem("INTERNAL_ERR"))]);
    let made = by_way_of(&dev, &way, &["keys", "create", "--count", "30"]);
    let word = "0 of 30 keys were made; whether the page after them was is not known";
    assert_eq!((made.code, made.err.contains(word)), (1, true), "{made:?}");
}

#[test]
fn a_page_that_was_never_sent_is_not_taken_for_written_because_one_key_of_it_is_there() {
    let dev = Dev::ready(&[]);
    let ids = ["7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10", "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f11"];
    let line = |name: &str, id: Option<&str>| {
        let id = id.map_or_else(String::new, |id| format!(",\"id\":\"{id}\""));
        format!("{{\"name\":\"{name}\",\"payload\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"{id}}}\n")
    };
    let first = dev.home.write("first.jsonl", &line("first", Some(ids[0])));
    dev.good(&["keys", "import", text(&first)]);
    for rest in [line("drawn", None), line("given", Some(ids[1]))] {
        let both = dev.home.write("both.jsonl", &(line("first", Some(ids[0])) + &rest));
        let way = batches(&dev, vec![Deed::Drop]);
        let ran = by_way_of(&dev, &way, &["keys", "import", text(&both)]);
        assert_eq!(
            (ran.code, ran.err.contains("0 of 2 keys were imported:")),
            (1, true),
            "{ran:?}"
        );
        assert_eq!(listed(&dev), 1);
    }
    // All that the file gave are there: the answer to them was lost.
    let other = dev.home.write("other.jsonl", &line("other", Some(ids[1])));
    let way = batches(&dev, vec![Deed::Replace(503, AGAIN, problem("KEYSTORE_UNAVAILABLE_ERR"))]);
    let ran = by_way_of(&dev, &way, &["keys", "import", text(&other)]);
    assert_eq!((ran.code, ran.out.contains("1 key imported")), (0, true), "{ran:?}");
    assert_eq!(listed(&dev), 2);
}

#[test]
fn pages_end_where_the_gateway_would_take_no_more_bytes() {
    let dev = Dev::ready(&[]);
    let payload = STANDARD.encode([7; 4096]);
    let line = |number: usize| {
        format!("{{\"name\":\"k{number:03}\",\"payload\":\"{payload}\",\"extractable\":true}}\n")
    };
    let file = dev.home.write("long.jsonl", &(0..300).map(line).collect::<String>());
    let way = batches(&dev, Vec::new());
    let ran = by_way_of(&dev, &way, &["keys", "import", text(&file)]);
    assert_eq!((ran.code, ran.out.contains("300 keys imported")), (0, true), "{ran:?}");
    assert_eq!(way.seen("POST /v1/key-batches").len(), 2, "256 keys are 1 MiB");
    assert_eq!(listed(&dev), 300);
}
