//! The two forms of a line (agent.md section 12).
//!
//! ```text
//! 2026-01-01T00:00:00.000Z [INFO]  agent.server.raft: text: key=value other="two words"
//! {"@level":"info","@message":"text","@module":"agent.server.raft","@timestamp":"2026-01-01T00:00:00.000000Z","key":"value"}
//! ```
//!
//! A line is one line whatever its values hold: control characters are escaped, so nobody can forge a second one. Times are
//! UTC. Text values with white space or control characters are quoted; JSON keys are sorted, numbers and booleans stay so.

use std::fmt::Write as _;

use bytes::Bytes;
use tribune_api::render::string as json_string;
use tribune_config::config::LogLevel;
use tribune_types::time::Wall;

use super::record::{FieldValue, Record};

/// A line with its newline in the asked form.
pub(super) fn line(record: &Record<'_>, json: bool) -> Bytes {
    if json {
        json_line(record)
    } else {
        text_line(record)
    }
}

fn text_line(record: &Record<'_>) -> Bytes {
    let mut out = String::with_capacity(128);
    time(&mut out, record.wall, 1_000_000, 3);
    out.push_str(match record.level {
        LogLevel::Trace => " [TRACE] ",
        LogLevel::Debug => " [DEBUG] ",
        LogLevel::Info => " [INFO]  ",
        LogLevel::Warn => " [WARN]  ",
        LogLevel::Error => " [ERROR] ",
    });
    out.push_str(&record.module);
    out.push_str(": ");
    escape(&mut out, &record.fields.message, Quotes::Without);
    for (at, (name, value)) in record.fields.pairs.iter().enumerate() {
        out.push_str(if at == 0 { ": " } else { " " });
        escape(&mut out, name, Quotes::Without);
        out.push('=');
        match value {
            FieldValue::Text(text) if text.chars().any(|c| c.is_whitespace() || is_unsafe(c)) => {
                out.push('"');
                escape(&mut out, text, Quotes::Within);
                out.push('"');
            }
            FieldValue::Text(text) => out.push_str(text),
            // Writing to a string cannot fail.
            FieldValue::Int(n) => _ = write!(out, "{n}"),
            FieldValue::UInt(n) => _ = write!(out, "{n}"),
            FieldValue::Float(n) => _ = write!(out, "{n}"),
            FieldValue::Bool(b) => _ = write!(out, "{b}"),
        }
    }
    out.push('\n');
    Bytes::from(out)
}

fn json_line(record: &Record<'_>) -> Bytes {
    let mut out = Vec::with_capacity(192);
    let level = match record.level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let mut stamp = String::new();
    time(&mut stamp, record.wall, 1_000, 6);
    let head = [
        ("@level", level),
        ("@message", &record.fields.message),
        ("@module", &record.module),
        ("@timestamp", &stamp),
    ];
    out.push(b'{');
    for (at, (name, text)) in head.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json_string(&mut out, name);
        out.push(b':');
        json_string(&mut out, text);
    }
    let mut pairs: Vec<&(&str, FieldValue)> = record.fields.pairs.iter().collect();
    pairs.sort_by_key(|(name, _)| *name);
    for (name, value) in pairs {
        out.push(b',');
        json_string(&mut out, name);
        out.push(b':');
        match value {
            FieldValue::Text(text) => json_string(&mut out, text),
            FieldValue::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
            FieldValue::UInt(n) => out.extend_from_slice(n.to_string().as_bytes()),
            FieldValue::Float(n) if n.is_finite() => {
                out.extend_from_slice(n.to_string().as_bytes())
            }
            // JSON has no word for these.
            FieldValue::Float(n) => json_string(&mut out, &n.to_string()),
            FieldValue::Bool(b) => out.extend_from_slice(b.to_string().as_bytes()),
        }
    }
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Within,
    Without,
}

/// Characters that terminals or line readers act upon.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escape(out: &mut String, text: &str, quotes: Quotes) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' if quotes == Quotes::Within => {
                out.push('\\');
                out.push(c);
            }
            c if is_unsafe(c) => {
                let _ = if (c as u32) < 0x100 {
                    write!(out, "\\x{:02x}", c as u32)
                } else {
                    write!(out, "\\u{:04x}", c as u32)
                };
            }
            c => out.push(c),
        }
    }
}

/// Appends a time as `2026-01-01T00:00:00.<fraction>Z`; the fraction counts units of `unit_ns`.
fn time(out: &mut String, wall: Wall, unit_ns: u64, digits: usize) {
    let secs = wall.unix_secs();
    let (days, second) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(days);
    let fraction = wall.0 % 1_000_000_000 / unit_ns;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:0digits$}Z"
    );
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, a leap day is the last day of its year, and 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (
        era * 400 + year + u64::from(month <= 2),
        month,
        day - (153 * shifted + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::record::Fields;
    use super::*;

    fn record(
        level: LogLevel,
        module: &'static str,
        message: &str,
        pairs: &[(&'static str, FieldValue)],
    ) -> Record<'static> {
        // 2026-11-23T06:46:38.170917Z
        let wall = Wall(1_795_416_398_170_917_421);
        Record {
            wall,
            level,
            module: Cow::Borrowed(module),
            fields: Fields {
                message: message.to_owned(),
                pairs: pairs.to_vec(),
            },
        }
    }

    fn text(s: &str) -> FieldValue {
        FieldValue::Text(s.to_owned())
    }

    #[test]
    fn lines_have_the_forms_of_the_real_agent() {
        // Captured from Consul 1.8.7; the times are the test's. (record, text, json)
        let cases = [
            (
                record(LogLevel::Info, "agent", "started state syncer", &[]),
                "2026-11-23T06:46:38.170Z [INFO]  agent: started state syncer\n",
                r#"{"@level":"info","@message":"started state syncer","@module":"agent","@timestamp":"2026-11-23T06:46:38.170917Z"}"#,
            ),
            (
                record(
                    LogLevel::Trace,
                    "agent.tlsutil",
                    "Update",
                    &[("version", FieldValue::Int(1))],
                ),
                "2026-11-23T06:46:38.170Z [TRACE] agent.tlsutil: Update: version=1\n",
                r#"{"@level":"trace","@message":"Update","@module":"agent.tlsutil","@timestamp":"2026-11-23T06:46:38.170917Z","version":1}"#,
            ),
            (
                record(
                    LogLevel::Error,
                    "agent.anti_entropy",
                    "failed to sync remote state",
                    &[("error", text("No cluster leader"))],
                ),
                "2026-11-23T06:46:38.170Z [ERROR] agent.anti_entropy: failed to sync remote state: error=\"No cluster leader\"\n",
                r#"{"@level":"error","@message":"failed to sync remote state","@module":"agent.anti_entropy","@timestamp":"2026-11-23T06:46:38.170917Z","error":"No cluster leader"}"#,
            ),
            (
                record(
                    LogLevel::Warn,
                    "agent.server.raft",
                    "heartbeat timeout reached, starting election",
                    &[("last-leader", text(""))],
                ),
                "2026-11-23T06:46:38.170Z [WARN]  agent.server.raft: heartbeat timeout reached, starting election: last-leader=\n",
                r#"{"@level":"warn","@message":"heartbeat timeout reached, starting election","@module":"agent.server.raft","@timestamp":"2026-11-23T06:46:38.170917Z","last-leader":""}"#,
            ),
            (
                record(
                    LogLevel::Debug,
                    "agent.http",
                    "Request finished",
                    &[
                        ("method", text("PUT")),
                        ("url", text("/v1/agent/join/a&b%20c?a=1&b=<x>\"q")),
                        ("from", text("127.0.0.1:43924")),
                        ("latency", text("430.541µs")),
                    ],
                ),
                "2026-11-23T06:46:38.170Z [DEBUG] agent.http: Request finished: method=PUT url=/v1/agent/join/a&b%20c?a=1&b=<x>\"q from=127.0.0.1:43924 latency=430.541µs\n",
                r#"{"@level":"debug","@message":"Request finished","@module":"agent.http","@timestamp":"2026-11-23T06:46:38.170917Z","from":"127.0.0.1:43924","latency":"430.541µs","method":"PUT","url":"/v1/agent/join/a\u0026b%20c?a=1\u0026b=\u003cx\u003e\"q"}"#,
            ),
        ];
        for (record, text, json) in cases {
            assert_eq!(line(&record, false), text);
            assert_eq!(line(&record, true), format!("{json}\n"));
        }
    }

    #[test]
    fn no_value_makes_a_second_line() {
        let evil = "a\nb\r\u{1b}[31m \u{85}\u{2028}\u{7f}\"\\";
        let record = record(
            LogLevel::Info,
            "agent",
            evil,
            &[("k", text(evil)), ("n", FieldValue::Float(f64::NAN))],
        );
        for json in [false, true] {
            let bytes = line(&record, json);
            let text = std::str::from_utf8(&bytes).unwrap();
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.contains(['\r', '\u{1b}', '\u{2028}']), "{text:?}");
        }
        let bytes = line(&record, true);
        let back: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(back["k"], evil);
        assert_eq!(back["@message"], evil);
        assert_eq!(back["n"], "NaN");
        let shown = String::from_utf8(line(&record, false).to_vec()).unwrap();
        assert!(
            shown.contains(r#"k="a\nb\r\x1b[31m \x85\u2028\x7f\"\\" n=NaN"#),
            "{shown}"
        );
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // (seconds since 1970, text)
        for (secs, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (68_169_600, "1972-02-29T00:00:00.000Z"),
            (946_684_799, "1999-12-31T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = String::new();
            time(&mut out, Wall(secs * 1_000_000_000), 1_000_000, 3);
            assert_eq!(out, want);
        }
    }
}
