//! How fast keys are re-encrypted.

use keyhelm::watch::pace::Pace;

use super::sample::{later, reencrypting, rotation};

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let mut pace = Pace::default();
    pace.hear(&reencrypting(0), later(1_000));
    assert_eq!(pace.rate(&reencrypting(0)), None, "one count says nothing");
    for second in 2..=20 {
        pace.hear(&reencrypting((second - 1) * 1_000), later(second * 1_000));
    }
    let view = reencrypting(19_000);
    assert_eq!((pace.rate(&view), pace.left_ms(&view)), (Some(1_000), Some(281_000)));
    // It becomes five times as fast: after the window nothing else is left in the rate.
    for second in 21..=31 {
        pace.hear(&reencrypting(19_000 + (second - 20) * 5_000), later(second * 1_000));
    }
    let view = reencrypting(74_000);
    assert_eq!((pace.rate(&view), pace.left_ms(&view)), (Some(5_000), Some(45_200)));
}

#[test]
fn a_count_that_stands_still_leaves_no_time() {
    let mut pace = Pace::default();
    for second in 1..=12 {
        pace.hear(&reencrypting(500), later(second * 1_000));
    }
    let view = reencrypting(500);
    assert_eq!((pace.rate(&view), pace.left_ms(&view)), (Some(0), None));
}

#[test]
fn afterwards_the_rate_is_that_of_the_whole_phase() {
    let mut pace = Pace::default();
    pace.hear(&reencrypting(10), later(1_000));
    pace.hear(&reencrypting(20), later(2_000));
    let view = rotation("done");
    pace.hear(&view, later(92_000));
    assert_eq!((pace.rate(&view), pace.left_ms(&view)), (Some(3_333), None));
    assert_eq!(Pace::default().rate(&view), Some(3_333), "it is in the view alone");
    assert_eq!(pace.rate(&rotation("commit")), None);
}

#[test]
fn another_rotation_begins_anew() {
    let mut pace = Pace::default();
    pace.hear(&reencrypting(299_000), later(1_000));
    let mut other = reencrypting(1_000);
    other.rotation = protocol::RotationId::from_bytes([9; 16]);
    pace.hear(&other, later(2_000));
    assert_eq!(pace.rate(&other), None);
    other.keys_done = 3_000;
    pace.hear(&other, later(3_000));
    assert_eq!(pace.rate(&other), Some(2_000));
}
