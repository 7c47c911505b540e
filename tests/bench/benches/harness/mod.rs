//! Times a piece of work: how long one item takes, the median of some rounds and their range.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds, and how long each lasts.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(300);

/// Prints what an item takes of work that does so many items at once.
pub fn time<T>(name: &str, items: u64, mut work: impl FnMut() -> T) {
    black_box(work());
    let mut taken_ns: Vec<f64> = (0..ROUNDS).map(|_| round(items, &mut work)).collect();
    taken_ns.sort_by(f64::total_cmp);
    let (least, median, most) = (taken_ns[0], taken_ns[ROUNDS / 2], taken_ns[ROUNDS - 1]);
    println!(
        "{name:44} {median:9.0} ns ({least:.0} to {most:.0}), {:>12.0} a second",
        1e9 / median
    );
}

fn round<T>(items: u64, work: &mut impl FnMut() -> T) -> f64 {
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < ROUND {
        black_box(work());
        done += items;
    }
    started.elapsed().as_nanos() as f64 / done as f64
}
