//! Places in a trace.

use telemetry::trace::Context;

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_traceparent_is_read_and_written_the_same() {
    assert_eq!(Context::parse(GIVEN).unwrap().to_string(), GIVEN);
    let unsampled = GIVEN.replace("-01", "-00");
    assert!(!Context::parse(&unsampled).unwrap().is_sampled());
    assert_eq!(Context::parse(&unsampled).unwrap().to_string(), unsampled);
    // A later version may have more parts, and what is known of it is used.
    let later = format!("cc{}-what-the-future-brings", &GIVEN[2..]);
    assert_eq!(Context::parse(&later).unwrap().to_string(), GIVEN);
}

#[test]
fn what_is_malformed_names_no_place() {
    let zeros = "0".repeat(32);
    for text in [
        "",
        "00",
        &GIVEN[..GIVEN.len() - 1],
        &GIVEN.to_uppercase(),
        &GIVEN.replace("00-", "ff-"),
        &format!("{GIVEN}-more"),
        &format!("00-{zeros}-b7ad6b7169203331-01"),
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
    ] {
        assert_eq!(Context::parse(text), None, "{text}");
    }
}

#[test]
fn a_name_leads_to_the_same_place_each_time_and_another_to_another() {
    let root = Context::root([7; 16]);
    assert_eq!(root.child("phase 1"), root.child("phase 1"));
    let places = [root, root.child("a"), root.child("b"), root.child("a").child("a")];
    for (index, place) in places.iter().enumerate() {
        assert_eq!(places.iter().position(|other| other == place), Some(index));
        // All of them are in one trace.
        assert_eq!(place.to_string()[3..35], "07".repeat(16));
    }
    assert_ne!(Context::root([8; 16]).child("a"), root.child("a"));
}

#[test]
fn what_is_below_an_untold_place_is_untold() {
    let hidden = Context::root([7; 16]).unsampled();
    assert!(!hidden.child("a").is_sampled());
    assert!(hidden.child("a").sampled_as(&Context::root([7; 16])).is_sampled());
}
