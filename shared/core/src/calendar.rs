//! Hours and days, all in UTC.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// The hour that a time is in, by its beginning.
pub fn hour_of(at: Timestamp) -> Timestamp {
    beginning(at, 3600)
}

/// The day that a time is in (UTC), by its beginning.
pub fn day_of(at: Timestamp) -> Timestamp {
    beginning(at, 24 * 3600)
}

/// The day that a time is in, in UTC.
pub fn date_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

fn beginning(at: Timestamp, seconds: i64) -> Timestamp {
    let into = SignedDuration::from_secs(at.as_second().rem_euclid(seconds));
    Timestamp::from_second(at.as_second()).map_or(at, |at| at - into)
}

/// A day for people to read, such as `2026-11-30`.
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}
