//! Typed access to [`Json`] with Go's error texts.

use std::borrow::Cow;
use std::time::Duration;

use tribune_types::duration::parse_go_signed;
use tribune_types::text::{Text, TextMap, text};
use tribune_types::value::{Value, ValueMap};

use crate::json::{Json, JsonError};

/// Where a value stands, for error texts: the struct's Go name and the path of fields from the outermost struct.
#[derive(Clone, Copy)]
pub(super) struct At<'p> {
    /// Name of the innermost struct; empty for unnamed ones.
    pub(super) within: &'static str,
    /// Field name.
    pub(super) field: &'p str,
    /// The field this struct is the value of.
    pub(super) outer: Option<&'p At<'p>>,
}

impl<'p> At<'p> {
    /// A field of the outermost struct.
    pub(super) fn top(within: &'static str, field: &'p str) -> At<'p> {
        At {
            within,
            field,
            outer: None,
        }
    }

    /// A field of a struct that stands at `self`.
    pub(super) fn inside(&'p self, within: &'static str, field: &'p str) -> At<'p> {
        At {
            within,
            field,
            outer: Some(self),
        }
    }

    fn path(&self) -> String {
        match self.outer {
            None => self.field.to_owned(),
            Some(outer) => format!("{}.{}", outer.path(), self.field),
        }
    }

    /// The error of a value of the wrong type.
    pub(super) fn mismatch(&self, given: &str, wanted: &str) -> JsonError {
        JsonError::Type(format!(
            "{given} into Go struct field {}.{} of type {wanted}",
            self.within,
            self.path()
        ))
    }
}

/// The error of a body of the wrong type.
pub(super) fn top_mismatch(value: &Json<'_>, wanted: &str) -> JsonError {
    JsonError::Type(format!("{} into Go value of type {wanted}", value.kind()))
}

/// The fields of a body; `null` has none.
pub(super) fn top_fields<'v, 'a>(
    value: &'v Json<'a>,
    go_type: &str,
) -> Result<&'v [(Cow<'a, str>, Json<'a>)], JsonError> {
    match value {
        Json::Object(fields) => Ok(fields),
        Json::Null => Ok(&[]),
        other => Err(top_mismatch(other, go_type)),
    }
}

/// The fields of an object, in order.
type Fields<'v, 'a> = &'v [(Cow<'a, str>, Json<'a>)];

/// The fields of a nested struct; `null` is `None`.
pub(super) fn fields<'v, 'a>(
    value: &'v Json<'a>,
    at: At<'_>,
    go_type: &str,
) -> Result<Option<Fields<'v, 'a>>, JsonError> {
    match value {
        Json::Object(fields) => Ok(Some(fields)),
        Json::Null => Ok(None),
        other => Err(at.mismatch(other.kind(), go_type)),
    }
}

/// A field name in lower case, for matching.
pub(super) fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The error of an unknown field.
pub(super) fn unknown(name: &str) -> JsonError {
    JsonError::UnknownField(name.to_owned())
}

/// Text; `null` leaves `into` as it is.
pub(super) fn string(into: &mut Text, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    match value {
        Json::String(s) => *into = text(s),
        Json::Null => {}
        other => return Err(at.mismatch(other.kind(), "string")),
    }
    Ok(())
}

/// A boolean.
pub(super) fn boolean(into: &mut bool, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    match value {
        Json::Bool(b) => *into = *b,
        Json::Null => {}
        other => return Err(at.mismatch(other.kind(), "bool")),
    }
    Ok(())
}

/// A signed integer without fraction or exponent.
pub(super) fn int(into: &mut i64, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    match value {
        Json::Number(n) => {
            *into = n
                .parse()
                .map_err(|_| at.mismatch(&format!("number {n}"), "int"))?
        }
        Json::Null => {}
        other => return Err(at.mismatch(other.kind(), "int")),
    }
    Ok(())
}

/// An unsigned integer; `go_type` is `uint64` or `uint`.
pub(super) fn uint(
    into: &mut u64,
    value: &Json<'_>,
    at: At<'_>,
    go_type: &str,
) -> Result<(), JsonError> {
    match value {
        Json::Number(n) => {
            *into = n
                .parse()
                .map_err(|_| at.mismatch(&format!("number {n}"), go_type))?
        }
        Json::Null => {}
        other => return Err(at.mismatch(other.kind(), go_type)),
    }
    Ok(())
}

/// A float.
pub(super) fn float(into: &mut f64, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    match value {
        Json::Number(n) => {
            *into = n
                .parse()
                .ok()
                .filter(|f: &f64| f.is_finite())
                .ok_or_else(|| at.mismatch(&format!("number {n}"), "float64"))?;
        }
        Json::Null => {}
        other => return Err(at.mismatch(other.kind(), "float64")),
    }
    Ok(())
}

/// A list; `null` is `None`.
pub(super) fn list<'v, 'a>(
    value: &'v Json<'a>,
    at: At<'_>,
    go_type: &str,
) -> Result<Option<&'v [Json<'a>]>, JsonError> {
    match value {
        Json::Array(items) => Ok(Some(items)),
        Json::Null => Ok(None),
        other => Err(at.mismatch(other.kind(), go_type)),
    }
}

/// A list of strings; `null` is `None`.
pub(super) fn string_list(
    value: &Json<'_>,
    at: At<'_>,
    go_type: &str,
) -> Result<Option<Vec<Text>>, JsonError> {
    let Some(items) = list(value, at, go_type)? else {
        return Ok(None);
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let mut one = Text::default();
        string(&mut one, item, at)?;
        texts.push(one);
    }
    Ok(Some(texts))
}

/// A map of strings; `null` is `None`.
pub(super) fn text_map(value: &Json<'_>, at: At<'_>) -> Result<Option<TextMap>, JsonError> {
    let Some(pairs) = fields(value, at, "map[string]string")? else {
        return Ok(None);
    };
    let mut sorted = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let mut one = Text::default();
        string(&mut one, value, at)?;
        sorted.push((text(key), one));
    }
    Ok(Some(sorted.into_iter().collect()))
}

/// A map of lists of strings, sorted by key.
pub(super) fn header_map(
    value: &Json<'_>,
    at: At<'_>,
) -> Result<Vec<(Text, Vec<Text>)>, JsonError> {
    let mut map = std::collections::BTreeMap::new();
    for (key, value) in fields(value, at, "map[string][]string")?.unwrap_or_default() {
        map.insert(
            text(key),
            string_list(value, at, "[]string")?.unwrap_or_default(),
        );
    }
    Ok(map.into_iter().collect())
}

/// A duration as Go text or a number of nanoseconds. Other types are ignored, as Consul does; negative reads zero.
pub(super) fn duration(value: &Json<'_>) -> Result<Duration, JsonError> {
    Ok(Duration::from_nanos(
        u64::try_from(duration_signed(value)?).unwrap_or(0),
    ))
}

/// As [`duration`], with its sign.
pub(super) fn duration_signed(value: &Json<'_>) -> Result<i64, JsonError> {
    match value {
        Json::String(s) => parse_go_signed(s).map_err(|error| JsonError::Value(error.to_string())),
        // Go passes the number through a float.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturating, as out-of-range durations mean nothing"
        )]
        Json::Number(n) => Ok(n.parse::<f64>().map_or(0, |f| f as i64)),
        _ => Ok(0),
    }
}

/// A free-form value; every number becomes a float, as in Go.
pub(super) fn value(json: &Json<'_>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Float(
            n.parse()
                .ok()
                .filter(|f: &f64| f.is_finite())
                .unwrap_or_default(),
        ),
        Json::String(s) => Value::String(text(s)),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(pairs) => Value::Map(value_map(pairs)),
    }
}

fn value_map(pairs: &[(Cow<'_, str>, Json<'_>)]) -> ValueMap {
    pairs.iter().map(|(key, v)| (text(key), value(v))).collect()
}

/// An opaque object; `null` is `None`.
pub(super) fn opaque_map(json: &Json<'_>, at: At<'_>) -> Result<Option<ValueMap>, JsonError> {
    Ok(fields(json, at, "map[string]interface {}")?.map(value_map))
}
