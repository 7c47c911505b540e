//! Goal: in a small world no property fails in any state, and the search would find it if one did.
//! Method: small worlds looked at whole; and once more with a rule taken out, or with a property that
//! is too strict, which must be found.
#![allow(clippy::unwrap_used, missing_docs)]

use model::{Bounds, Found, Without, search};

const WORLD: Bounds =
    Bounds { units: 2, orders: 1, from_any: false, generations: 2, crashes: 0, set_backs: 0 };

fn holds(bounds: Bounds) -> Found {
    let found = search(bounds, None, 2);
    println!("{bounds:?}: {found}");
    assert!(found.broken.is_empty() && found.is_complete, "{found}");
    assert!(found.unreached.is_empty(), "the world is too small: {found}");
    found
}

#[test]
fn every_property_holds_in_every_state_of_a_small_world() {
    for bounds in [
        Bounds { crashes: 2, ..WORLD },
        Bounds { units: 3, generations: 1, crashes: 1, ..WORLD },
        Bounds { orders: 2, generations: 1, ..WORLD },
    ] {
        assert!(holds(bounds).states > 3_000, "it has lost most of its states");
    }
}

/// What is taken out, where, and one of the properties that must fail.
#[test]
fn a_rule_taken_out_is_found() {
    let crashing = Bounds { crashes: 1, ..WORLD };
    let set_back = Bounds { set_backs: 1, generations: 1, ..WORLD };
    for (without, bounds, expected) in [
        (Without::SaveBeforeAnswer, crashing, "no unit both aborts and promotes an order"),
        (Without::FlipCertificate, WORLD, "no flip before every unit has promoted"),
        (Without::SetBackExempt, set_back, "every key opens in every unit that serves"),
    ] {
        let found = search(bounds, Some(without), 1);
        println!("without {without:?}: {found}");
        let names: Vec<_> = found.broken.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&expected), "{without:?}: {names:?}");
    }
}
