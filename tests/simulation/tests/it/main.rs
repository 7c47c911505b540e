//! The seeded world: no checker fires over many seeds, the same seed gives the same trace, and
//! each rule of the store and of the processes, taken out alone, lets a checker fire. What the
//! rules inside the machines are worth is shown by `scripts/mutate`.
#![allow(clippy::unwrap_used, missing_docs)]

use simulation::fault_table::{self, FaultTable};
use simulation::{Config, Outcome, Rules, run};

/// As many as two cores run in about two minutes.
const SEEDS: u64 = 2_000;
/// With fewer than these the rarest faults need not have hit everybody in every phase.
const SEEDS_FOR_EVERY_CELL: usize = 2_000;

fn seeds() -> u64 {
    std::env::var("KEYHELM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// Runs the seeds on as many threads as there are cores, in the order of the seeds.
fn run_all(count: u64) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let workers: Vec<_> = (0..threads)
        .map(|first| {
            std::thread::spawn(move || {
                let own = (first..count).step_by(threads as usize);
                own.map(|seed| (seed, run(Config::of(seed)))).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn no_checker_fires() {
    let outcomes = run_all(seeds());
    let sum = |of: fn(&Outcome) -> u32| outcomes.iter().map(of).sum::<u32>();
    let had_both = |outcome: &&Outcome| outcome.rotations_through_faults > 0;
    let with_both = outcomes.iter().filter(had_both).count();
    println!(
        "{} seeds: {} events, {} faults, {} rotations done, {} aborted, {} mixed ends, {} units \
         replaced, {} recovered, {} set back, {} removed, {} holds, {} coordinators and {} \
         reencryptors exchanged, {} keystores restored, {} rolled back, \
         {} foreign ones named, {} rotations with keys in quarantine; \
         {with_both} seeds finished a rotation in which there was a fault",
        outcomes.len(),
        sum(|it| it.events),
        sum(|it| it.faults),
        sum(|it| it.rotations_done),
        sum(|it| it.rotations_aborted),
        sum(|it| it.mixed_ends),
        sum(|it| it.replaced),
        sum(|it| it.recovered),
        sum(|it| it.set_back),
        sum(|it| it.removed),
        sum(|it| it.holds),
        sum(|it| it.exchanged),
        sum(|it| it.reencryptors_exchanged),
        sum(|it| it.restored),
        sum(|it| it.rolled_back),
        sum(|it| it.foreign_named),
        sum(|it| it.quarantined),
    );
    let mut table = FaultTable::new();
    for (cell, count) in outcomes.iter().flat_map(|outcome| &outcome.table) {
        *table.entry(*cell).or_default() += count;
    }
    println!("{}", fault_table::shown(&table));
    for (seed, outcome) in outcomes.iter().enumerate() {
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {:?}; see it whole: cargo run --release -p simulation --bin replay {seed}",
            outcome.violation
        );
    }
    assert!(with_both * 100 >= outcomes.len() * 95, "the world is too kind, or too cruel");
    assert!(sum(|it| it.foreign_named) > 0, "precheck named no keystore that was foreign");
    assert!(sum(|it| it.recovered) > 0, "no unit recovered its master key");
    assert!(sum(|it| it.exchanged) > 0, "no coordinator was exchanged");
    assert!(sum(|it| it.reencryptors_exchanged) > 0, "no reencryptor was exchanged");
    assert!(sum(|it| it.quarantined) > 0, "no key was carried in quarantine");
    let empty = fault_table::empty_cells(&table);
    assert!(outcomes.len() < SEEDS_FOR_EVERY_CELL || empty.is_empty(), "never: {empty:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 42] {
        let config = Config { keep_trace: true, ..Config::of(seed) };
        assert_eq!(run(config).trace, run(config).trace);
    }
}

#[test]
fn each_rule_around_the_machines_is_needed() {
    let all = Rules::ALL;
    let without = [
        ("the gate's row lock", Rules { row_lock: false, ..all }),
        ("CHECK of the pattern", Rules { pattern_check: false, ..all }),
        ("a blob for every open generation", Rules { every_generation: false, ..all }),
        ("tombstones", Rules { tombstones: false, ..all }),
        ("a second look where a unit may lie", Rules { second_look: false, ..all }),
        ("a save before the answer", Rules { save_first: false, ..all }),
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

/// A disk damages one re-wrapped row. The read-back finds it and goes no further, so every key still
/// opens with the old master key; without it the old master key is cleared and a key is lost.
#[test]
fn a_damaged_row_is_found_before_the_old_key_is_cleared() {
    let found = |read_back| {
        let rules = Rules { read_back, ..Rules::ALL };
        let config = |seed| Config { rules, is_damaged: true, ..Config::of(seed) };
        let runs = (0..12).filter_map(move |seed| run(config(seed)).violation);
        runs.map(|violation| violation.checker).collect::<Vec<_>>()
    };
    let with = found(true);
    assert!(with.iter().all(|checker| *checker == "converges"), "{with:?}");
    let without = found(false);
    println!("with read-back {} of 12 stop, without it: {without:?}", with.len());
    assert!(!with.is_empty() && without.contains(&"no_key_lost"), "{with:?} {without:?}");
}
