//! One event, taken out of tracing: message and fields as values.
//!
//! Fields of the enclosing spans follow those of the event; of equal names the innermost stays. Secrets do not get here
//! because their types do not print themselves; fields whose name says that they hold one are hidden all the same.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tribune_config::config::LogLevel;
use tribune_types::time::Wall;

/// Longest value or message in bytes; the rest is cut. Bounds what one line can take of the queue.
const VALUE_MAX: usize = 16 * 1024;

/// Names of fields whose value is never shown.
const HIDDEN: [&str; 7] = [
    "token",
    "secret",
    "secret_id",
    "password",
    "private_key",
    "encrypt_key",
    "authorization",
];

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FieldValue {
    Text(String),
    Int(i64),
    UInt(u64),
    Float(f64),
    Bool(bool),
}

/// Message and fields of an event or a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) pairs: Vec<(&'static str, FieldValue)>,
}

impl Fields {
    /// Adds the fields of an enclosing span; present names stay.
    pub(super) fn inherit(&mut self, outer: &Fields) {
        for (name, value) in &outer.pairs {
            if !self.pairs.iter().any(|(known, _)| known == name) {
                self.pairs.push((name, value.clone()));
            }
        }
    }

    fn set(&mut self, field: &Field, value: FieldValue) {
        let name = field.name();
        if name == "message" {
            self.message = match value {
                FieldValue::Text(text) => text,
                other => format!("{other:?}"),
            };
            return;
        }
        let name = match name {
            "err" => "error",
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        let value = if HIDDEN.contains(&name) {
            FieldValue::Text("hidden".to_owned())
        } else {
            value
        };
        match self.pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, FieldValue::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, FieldValue::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, FieldValue::UInt(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, FieldValue::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, FieldValue::Text(cut(value.to_owned())));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            if text.len() > VALUE_MAX {
                break;
            }
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.set(field, FieldValue::Text(cut(text)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, FieldValue::Text(cut(format!("{value:?}"))));
    }
}

fn cut(mut text: String) -> String {
    if text.len() > VALUE_MAX {
        let mut end = VALUE_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A line to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) wall: Wall,
    pub(super) level: LogLevel,
    pub(super) module: Cow<'a, str>,
    pub(super) fields: Fields,
}

impl Record<'_> {
    /// A line of the pipeline about itself.
    pub(super) fn own(
        wall: Wall,
        level: LogLevel,
        message: &str,
        pairs: Vec<(&'static str, FieldValue)>,
    ) -> Record<'static> {
        Record {
            wall,
            level,
            module: Cow::Borrowed("agent"),
            fields: Fields {
                message: message.to_owned(),
                pairs,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = cut("é".repeat(VALUE_MAX));
        assert!(text.len() <= VALUE_MAX + '…'.len_utf8());
        assert!(text.ends_with('…'));
        assert_eq!(cut("short".to_owned()), "short");
    }

    #[test]
    fn inner_fields_win_over_those_of_the_span() {
        let mut inner = Fields {
            message: String::new(),
            pairs: vec![("a", FieldValue::Int(1))],
        };
        inner.inherit(&Fields {
            message: String::new(),
            pairs: vec![("a", FieldValue::Int(2)), ("b", FieldValue::Int(3))],
        });
        assert_eq!(
            inner.pairs,
            [("a", FieldValue::Int(1)), ("b", FieldValue::Int(3))]
        );
    }
}
