//! Durations and moments as people type them.

use std::time::Duration;

use protocol::UnixMillis;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

/// Seconds of `90s`, `15m`, `24h`, `90d`, `2w`, `1h30m`, or `0`.
pub fn duration(text: &str) -> Result<u32, String> {
    let refused = || {
        format!("\"{text}\" is no duration: write it as 30s, 15m, 24h, 90d or 1h30m (0 for none)")
    };
    if text == "0" {
        return Ok(0);
    }
    let (mut total, mut number) = (0_u64, None::<u64>);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            let grown = number.unwrap_or(0).checked_mul(10);
            let grown = grown.and_then(|number| number.checked_add(u64::from(digit)));
            number = Some(grown.ok_or_else(refused)?);
            continue;
        }
        let seconds = match letter {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            'w' => 7 * 24 * 60 * 60,
            _ => return Err(refused()),
        };
        let part = number.take().and_then(|number| number.checked_mul(seconds));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
    }
    if number.is_some() || text.is_empty() {
        return Err(refused());
    }
    u32::try_from(total).map_err(|_| format!("\"{text}\" is longer than 136 years"))
}

/// Least time between two looks.
const LEAST_INTERVAL: Duration = Duration::from_millis(500);

/// The time between two looks: a duration as above, or milliseconds as `500ms`; at least that.
pub fn interval(text: &str) -> Result<Duration, String> {
    let milliseconds = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    let found = match milliseconds {
        Some(ms) => Duration::from_millis(ms),
        None => Duration::from_secs(u64::from(duration(text)?)),
    };
    match found < LEAST_INTERVAL {
        true => Err(format!("\"{text}\" is too often: not below 500ms")),
        false => Ok(found),
    }
}

/// A moment: RFC 3339, or a date, which means its beginning in UTC.
pub fn moment(text: &str) -> Result<UnixMillis, String> {
    let refused = || {
        format!("\"{text}\" is no time: write it as 2030-01-31 or 2030-01-31T12:00:00Z (RFC 3339)")
    };
    let found = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(found) => found,
        Err(_) => date(text).ok_or_else(refused)?.with_time(Time::MIDNIGHT).assume_utc(),
    };
    let ms = found.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(ms).map(UnixMillis).map_err(|_| refused())
}

fn date(text: &str) -> Option<Date> {
    let parts: Vec<_> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}
