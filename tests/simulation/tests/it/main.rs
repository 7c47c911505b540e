//! The seeded world: no checker fires over many seeds, the same seed gives the same trace, and
//! each rule of the store, taken out alone, lets a checker fire.
#![allow(clippy::unwrap_used, missing_docs)]

use simulation::{Config, Outcome, Rules, run};

fn seeds() -> u64 {
    std::env::var("KEYHELM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

#[test]
fn no_checker_fires() {
    let mut total = Outcome::default();
    let (mut with_faults, count) = (0, seeds());
    for seed in 0..count {
        let outcome = run(Config::of(seed));
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {:?}; see it whole: cargo run --release -p simulation --bin replay {seed}",
            outcome.violation
        );
        with_faults += u64::from(outcome.faults > 0 && outcome.rotations_done > 1);
        total.events += outcome.events;
        total.faults += outcome.faults;
        total.rotations_done += outcome.rotations_done;
        total.rotations_aborted += outcome.rotations_aborted;
    }
    println!(
        "{count} seeds: {} events, {} faults, {} rotations done, {} aborted, {with_faults} seeds \
         finished a rotation and had a fault",
        total.events, total.faults, total.rotations_done, total.rotations_aborted
    );
    assert!(with_faults * 100 >= count * 95, "the world is too kind, or too cruel");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 42] {
        let config = Config { keep_trace: true, ..Config::of(seed) };
        assert_eq!(run(config).trace, run(config).trace);
    }
}

#[test]
fn each_rule_of_the_store_is_needed() {
    let all = Rules::ALL;
    let without = [
        ("the gate's row lock", Rules { row_lock: false, ..all }),
        ("CHECK of the pattern", Rules { pattern_check: false, ..all }),
        ("a blob for every open generation", Rules { every_generation: false, ..all }),
        ("tombstones", Rules { tombstones: false, ..all }),
    ];
    for (name, rules) in without {
        let fired = (0..400).find_map(|seed| {
            let violation = run(Config { rules, ..Config::of(seed) }).violation?;
            Some((seed, violation))
        });
        let (seed, violation) = fired.unwrap_or_else(|| panic!("nothing fires without {name}"));
        println!("without {name}: seed {seed}: {}: {}", violation.checker, violation.text);
    }
}
