//! Durations in the text form of configuration files and requests (`1h2m3.5s`, `300ms`).
//!
//! The grammar and the shown form are Go's, because clients print and compare them.

use std::time::Duration;

/// Why a text is no duration. `Display` gives the text that clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of number and unit, or out of range.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Parses a duration; the sign is kept, the range is that of 64-bit nanoseconds.
pub fn parse_go_signed(s: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(s.to_owned());
    let (negative, mut rest) = match s.as_bytes().first() {
        Some(b'-') => (true, &s[1..]),
        Some(b'+') => (false, &s[1..]),
        _ => (false, s),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(whole_len);
        let mut fraction = "";
        rest = after;
        if let Some(after_dot) = rest.strip_prefix('.') {
            let len = after_dot.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, rest) = after_dot.split_at(len);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_len = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_len);
        rest = after;
        let scale: u64 = match unit {
            "" => return Err(DurationError::MissingUnit(s.to_owned())),
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                return Err(DurationError::UnknownUnit {
                    unit: unit.to_owned(),
                    text: s.to_owned(),
                });
            }
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        let mut part = whole.checked_mul(scale).ok_or_else(invalid)?;
        let mut digit_scale = scale as f64;
        let mut extra = 0.0f64;
        for digit in fraction.bytes() {
            digit_scale /= 10.0;
            extra += f64::from(digit - b'0') * digit_scale;
        }
        part = part
            .checked_add((extra + 1e-6) as u64)
            .ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
    }
    let signed = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -signed } else { signed })
}

/// Parses a duration that must not be negative.
pub fn parse_go(s: &str) -> Result<Duration, DurationError> {
    match parse_go_signed(s)? {
        nanos if nanos >= 0 => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        _ => Err(DurationError::Invalid(s.to_owned())),
    }
}

/// The canonical text: `1h0m0s`, `1.5s`, `200ms`, `0s`.
pub fn format_go(d: Duration) -> String {
    let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            n if n < 1_000 => return format!("{n}ns"),
            n if n < 1_000_000 => ("\u{b5}s", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let secs = nanos / 1_000_000_000;
    let (hours, minutes) = (secs / 3600, secs / 60 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    if hours > 0 {
        format!("{hours}h{minutes}m{seconds}s")
    } else if minutes > 0 {
        format!("{minutes}m{seconds}s")
    } else {
        format!("{seconds}s")
    }
}

fn decimal(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_give_nanoseconds() {
        for (text, want) in [
            ("0", 0i64),
            ("5s", 5_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("100us", 100_000),
            ("-3ms", -3_000_000),
            ("1m0.25s", 60_250_000_000),
        ] {
            assert_eq!(parse_go_signed(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn bad_texts_say_what_is_wrong() {
        for (text, want) in [
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("s", "time: invalid duration \"s\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(parse_go_signed(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn durations_print_in_the_canonical_form() {
        for (nanos, want) in [
            (0u64, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (200_000_000, "200ms"),
            (10_000_000_000, "10s"),
            (86_400_000_000_000, "24h0m0s"),
            (90_500_000_000, "1m30.5s"),
        ] {
            assert_eq!(format_go(Duration::from_nanos(nanos)), want);
        }
    }
}
