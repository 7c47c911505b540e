//! Durations and moments.

use keyhelm::parse::{duration, moment};
use protocol::UnixMillis;

#[test]
fn durations_are_read() {
    for (text, seconds) in [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1m", 60),
        ("24h", 86_400),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
        ("1h30m", 5_400),
    ] {
        assert_eq!(duration(text), Ok(seconds), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in ["", "1", "90", "m", "1x", "-1m", "1 m", "1.5h", "1h30", "99999999999999999999d"] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert!(duration("60000d").unwrap_err().contains("longer"));
}

#[test]
fn moments_are_read_in_any_zone() {
    let noon = UnixMillis(1_896_091_200_000);
    assert_eq!(moment("2030-01-31T12:00:00Z"), Ok(noon));
    assert_eq!(moment("2030-01-31T13:00:00+01:00"), Ok(noon));
    assert_eq!(moment("2030-01-31"), Ok(UnixMillis(noon.0 - 12 * 3_600_000)));
    assert_eq!(keyhelm::show::time::moment(noon), "2030-01-31T12:00:00Z");
}

#[test]
fn what_is_no_moment_is_refused() {
    for text in ["", "tomorrow", "2030-02-30", "2030-1-1", "1969-12-31", "2030-01-31T12:00:00"] {
        assert!(moment(text).is_err(), "{text}");
    }
}
