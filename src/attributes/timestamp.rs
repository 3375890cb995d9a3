//! Points in time, as microseconds and as texts.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{AttributeError, shortened};

const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// A point in time: microseconds since 1970 in UTC, without leap seconds.
///
/// Its text is that of RFC 3339. Years before 0 and after 9999 have a sign and six digits, so that all
/// timestamps have a text, which is read exactly.
///
/// ```
/// use nearfield::attributes::Timestamp;
///
/// let noon: Timestamp = "2024-05-01T14:00:00.25+02:00".parse()?;
/// assert_eq!(noon.as_micros(), 1_714_564_800_250_000);
/// assert_eq!(noon.to_string(), "2024-05-01T12:00:00.25Z");
/// # Ok::<(), nearfield::attributes::AttributeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the time that many microseconds after the beginning of 1970 in UTC, or before it if negative.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the beginning of 1970 in UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// The last whole microsecond at or before the time; times beyond the range give its end.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_micros()).unwrap_or(i64::MAX)),
            Err(error) => {
                let micros = error.duration().as_nanos().div_ceil(1000);
                Self(i64::try_from(micros).map_or(i64::MIN, |micros| -micros))
            }
        }
    }
}

/// Returns year, month and day of a day counted from 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH_DAYS;
    let (era, day) = (day.div_euclid(ERA_DAYS), day.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on, so that the leap day is the last of its year.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Returns the day counted from 1970 of a date.
fn day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let in_era = 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + in_era - EPOCH_DAYS
}

fn month_days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (days, seconds) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        let (year, month, day) = date(days);
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            write!(f, "{year:+07}")?;
        }
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros > 0 {
            let digits = format!("{micros:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// A cursor over the bytes of a text.
struct Digits<'t>(&'t [u8]);

impl Digits<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next byte if it is one of these.
    fn take(&mut self, bytes: &[u8]) -> Option<u8> {
        let first = self.peek().filter(|byte| bytes.contains(byte))?;
        self.0 = &self.0[1..];
        Some(first)
    }

    /// Takes exactly `count` digits.
    fn number(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let value = digits.iter().try_fold(0_i64, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    fn year(&mut self) -> Option<i64> {
        match self.take(b"+-") {
            None => self.number(4),
            Some(sign) => {
                let year = self.number(6)?;
                Some(if sign == b'-' { -year } else { year })
            }
        }
    }

    /// Takes the digits behind a point. Those behind the sixth are less than a microsecond, and dropped.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = count.min(6);
        let micros = self.number(kept).filter(|_| count > 0)? * 10_i64.pow(6 - kept as u32);
        self.0 = &self.0[count - kept..];
        Some(micros)
    }

    /// Takes an offset from UTC, in seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.take(b"Zz").is_some() {
            return Some(0);
        }
        let sign = self.take(b"+-")?;
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        self.take(b":")?;
        let minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        let seconds = hours * 3600 + minutes * 60;
        Some(if sign == b'-' { -seconds } else { seconds })
    }
}

/// Returns the microseconds of a text, or its fault.
fn micros(text: &str) -> Result<i64, &'static str> {
    let mut rest = Digits(text.as_bytes());
    let mut read_date = || {
        let year = rest.year()?;
        rest.take(b"-")?;
        let month = rest.number(2)?;
        rest.take(b"-")?;
        let day = rest.number(2)?;
        rest.take(b"Tt ")?;
        Some((year, month, day))
    };
    let (year, month, of_month) =
        read_date().ok_or("expected a date such as 2024-05-01, then T")?;
    let mut read_time = || {
        let hour = rest.number(2)?;
        rest.take(b":")?;
        let minute = rest.number(2)?;
        rest.take(b":")?;
        let second = rest.number(2)?;
        let micros = if rest.take(b".").is_some() { rest.fraction()? } else { 0 };
        Some((hour, minute, second, micros))
    };
    let (hour, minute, second, micros) =
        read_time().ok_or("expected a time such as 12:00:00 or 12:00:00.25")?;
    let offset = rest.offset().ok_or("expected Z, or an offset such as +02:00, behind the time")?;
    if !rest.0.is_empty() {
        return Err("more text follows its end");
    }
    if !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&of_month) {
        return Err("the calendar has no such date");
    }
    // A leap second is the first second of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return Err("the day has no such time");
    }
    let seconds = day(year, month, of_month) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    let all = i128::from(seconds - offset) * i128::from(SECOND) + i128::from(micros);
    i64::try_from(all).map_err(|_| "it is beyond 64 bits of microseconds")
}

/// Reads RFC 3339. Digits behind the microsecond are dropped; a leap second is the first second of the next minute.
impl FromStr for Timestamp {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let refuse = |fault| AttributeError::Timestamp { text: shortened(text), fault };
        micros(text).map(Self).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_times() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2024-05-01T12:00:00Z", 1_714_564_800_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("+010000-01-01T00:00:00Z", 253_402_300_800_000_000),
            ("-000001-12-31T23:59:59Z", -62_167_219_201_000_000),
            ("+294247-01-10T04:00:54.775807Z", i64::MAX),
            ("-290308-12-21T19:59:05.224192Z", i64::MIN),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(micros)), "{text}");
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn other_forms_of_the_same_time() {
        for text in [
            "2024-05-01t12:00:00z",
            "2024-05-01 12:00:00.000Z",
            "2024-05-01T17:30:00+05:30",
            "2024-04-30T12:01:00-23:59",
            "2024-05-01T11:59:60Z",
            "2024-05-01T12:00:00.0000009Z",
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(1_714_564_800_000_000)), "{text}");
        }
    }

    #[test]
    fn faults() {
        for text in [
            "",
            "2024",
            "2024-05-01",
            "2024-05-01T12:00:00",
            "2024-05-01T12:00Z",
            "2024-05-01T12:00:00.Z",
            "2024-05-01T12:00:00Zz",
            "2024-05-01T12:00:00+24:00",
            "2024-05-01T12:00:00+02",
            "2024-13-01T12:00:00Z",
            "2024-00-01T12:00:00Z",
            "2023-02-29T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "2024-05-00T12:00:00Z",
            "2024-05-01T24:00:00Z",
            "2024-05-01T12:60:00Z",
            "2024-05-01T12:00:61Z",
            "+294247-01-10T04:00:54.775808Z",
            "-290308-12-21T19:59:05.224191Z",
            "+999999-01-01T00:00:00Z",
            "2024-05-0\u{661}T12:00:00Z",
            "-2024-05-01T12:00:00Z",
        ] {
            let refused = text.parse::<Timestamp>();
            assert!(
                matches!(refused, Err(AttributeError::Timestamp { .. })),
                "{text}: {refused:?}"
            );
        }
    }

    #[test]
    fn every_day_of_two_eras_is_read_as_written() {
        let mut before = (0, 0, 0);
        for days in -(ERA_DAYS + EPOCH_DAYS)..ERA_DAYS - 400 {
            let (year, month, of_month) = date(days);
            assert_eq!(day(year, month, of_month), days);
            assert!((1..=month_days(year, month)).contains(&of_month));
            assert!((year, month, of_month) > before || days == -(ERA_DAYS + EPOCH_DAYS));
            before = (year, month, of_month);
        }
    }

    #[test]
    fn times_of_the_system_saturate_and_round_down() {
        assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_nanos(1999)), Timestamp(1));
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_nanos(1)), Timestamp(-1));
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_micros(7)), Timestamp(-7));
        let far = Duration::from_secs(i64::MAX as u64 / 2);
        if let Some(time) = UNIX_EPOCH.checked_add(far) {
            assert_eq!(Timestamp::from(time), Timestamp(i64::MAX));
        }
        if let Some(time) = UNIX_EPOCH.checked_sub(far) {
            assert_eq!(Timestamp::from(time), Timestamp(i64::MIN));
        }
    }
}
