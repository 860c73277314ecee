//! The generic tree against the schema: canonical keys, checked types, unknown keys found.
//!
//! In: an [`Object`] of one source. Out: an object that holds only canonical keys with values of their declared type,
//! or all type errors, or all unknown keys. Typing is strict (config.md section 1); a list of one object stands for
//! the object. Error texts are those of 1.8.7.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ParseError;
use crate::schema::{Kind, Schema};
use crate::tree::{Object, Tree};

/// Text of problems kept for one source; what is beyond is counted, so that a hostile file cannot multiply itself.
const PROBLEM_BYTES_MAX: usize = 256 * 1024;

/// Decodes one source.
pub(crate) fn decode(input: Object, schema: &'static Schema) -> Result<Object, ParseError> {
    let mut decoder = Decoder::default();
    let out = decoder.object(&Path::Root, input, schema);
    if !decoder.types.list.is_empty() {
        decoder.types.list.sort();
        return Err(ParseError::Types(decoder.types.finish()));
    }
    if !decoder.unknown.list.is_empty() {
        return Err(ParseError::UnknownKeys(decoder.unknown.finish()));
    }
    Ok(out)
}

/// The place of a value; written out only when a problem is reported.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    Entry(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, at) => write!(f, "{parent}[{at}]"),
            Path::Entry(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

#[derive(Default)]
struct Problems {
    list: Vec<String>,
    bytes: usize,
    dropped: usize,
}

impl Problems {
    fn add(&mut self, problem: fmt::Arguments<'_>) {
        if self.bytes >= PROBLEM_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        let text = problem.to_string();
        self.bytes += text.len();
        self.list.push(text);
    }

    fn finish(mut self) -> Vec<String> {
        if self.dropped > 0 {
            self.list.push(format!("and {} more", self.dropped));
        }
        self.list
    }
}

#[derive(Default)]
struct Decoder {
    types: Problems,
    unknown: Problems,
}

impl Decoder {
    fn object(&mut self, path: &Path<'_>, mut input: Object, schema: &'static Schema) -> Object {
        for (alias, canonical) in schema.aliases {
            if let Some(key) = input
                .keys()
                .find(|k| k.eq_ignore_ascii_case(alias))
                .cloned()
            {
                let value = input.remove(&key).unwrap_or(Tree::Null);
                input.entry((*canonical).to_owned()).or_insert(value);
            }
        }
        // Keys by their folded form; an exact spelling wins over others, which then are unknown.
        let mut folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in input.keys() {
            folded
                .entry(key.to_lowercase())
                .or_default()
                .push(key.clone());
        }
        let mut out = Object::new();
        for (name, kind) in schema.fields {
            let key = if input.contains_key(*name) {
                Some((*name).to_owned())
            } else {
                folded.get(*name).and_then(|keys| keys.first()).cloned()
            };
            let Some(value) = key.and_then(|key| input.remove(&key)) else {
                continue;
            };
            if let Some(value) = self.value(&Path::Key(path, name), value, *kind) {
                out.insert((*name).to_owned(), value);
            }
        }
        for key in input.keys() {
            self.unknown
                .add(format_args!("invalid config key {}", Path::Key(path, key)));
        }
        out
    }

    fn value(&mut self, path: &Path<'_>, value: Tree, kind: Kind) -> Option<Tree> {
        let value = if matches!(kind, Kind::List(_) | Kind::Any) {
            value
        } else {
            single(value)
        };
        let expected = match (kind, value) {
            (_, Tree::Null) => return None,
            (Kind::Any, value) => return Some(unwrap_any(value)),
            (Kind::Bool, value @ Tree::Bool(_)) | (Kind::Str, value @ Tree::String(_)) => {
                return Some(value);
            }
            (Kind::Int, value @ Tree::Int(_)) | (Kind::Float, value @ Tree::Float(_)) => {
                return Some(value);
            }
            // Go converts numbers of the other kind; fractions are cut.
            (Kind::Int, Tree::Float(f)) => return Some(Tree::Int(f as i64)),
            (Kind::Float, Tree::Int(i)) => return Some(Tree::Float(i as f64)),
            (Kind::Uint(go), Tree::Int(i)) => return self.unsigned(path, i, i.to_string(), go),
            (Kind::Uint(go), Tree::Float(f)) => {
                return self.unsigned(path, f as i64, format!("{f:.6}"), go);
            }
            (Kind::List(element), Tree::List(items)) => {
                let mut out = Vec::with_capacity(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    out.extend(self.value(&Path::Index(path, at), item, *element));
                }
                return Some(Tree::List(out));
            }
            (Kind::List(_), other) => {
                self.types.add(format_args!(
                    "'{path}': source data must be an array or slice, got {}",
                    other.kind()
                ));
                return None;
            }
            (Kind::Map(element), Tree::Map(map)) => {
                let mut out = Object::new();
                for (key, item) in map {
                    if let Some(item) = self.value(&Path::Entry(path, &key), item, *element) {
                        out.insert(key, item);
                    } else if matches!(element, Kind::Any) {
                        out.insert(key, Tree::Null);
                    }
                }
                return Some(Tree::Map(out));
            }
            (Kind::Obj(schema), Tree::Map(map)) => {
                return Some(Tree::Map(self.object(path, map, schema)));
            }
            (Kind::Map(_) | Kind::Obj(_), other) => {
                self.types.add(format_args!(
                    "'{path}' expected a map, got '{}'",
                    other.kind()
                ));
                return None;
            }
            (Kind::Bool, other) => ("bool", other),
            (Kind::Int, other) => ("int", other),
            (Kind::Uint(go), other) => (go, other),
            (Kind::Float, other) => ("float64", other),
            (Kind::Str, other) => ("string", other),
        };
        let (want, got) = (expected.0, expected.1.type_name());
        self.types.add(format_args!(
            "'{path}' expected type '{want}', got unconvertible type '{got}'"
        ));
        None
    }

    fn unsigned(&mut self, path: &Path<'_>, value: i64, shown: String, go: &str) -> Option<Tree> {
        if value < 0 {
            self.types.add(format_args!(
                "cannot parse '{path}', {shown} overflows uint"
            ));
            return None;
        }
        // 1.8.7 would keep the low 32 bits of a larger value; a clear error is better.
        if go == "uint32" && u32::try_from(value).is_err() {
            self.types.add(format_args!(
                "cannot parse '{path}', {shown} overflows uint32"
            ));
            return None;
        }
        Some(Tree::Int(value))
    }
}

/// The element of a list of one, however deep.
fn single(mut value: Tree) -> Tree {
    loop {
        match value {
            Tree::List(mut list) if list.len() == 1 => value = list.remove(0),
            other => return other,
        }
    }
}

/// A free-form value without the lists that HCL puts around objects. Only values reached through single-element
/// lists are unwrapped further, as 1.8.7 does.
fn unwrap_any(value: Tree) -> Tree {
    match value {
        Tree::List(mut list) if list.len() == 1 => match list.remove(0) {
            Tree::Map(map) => Tree::Map(map.into_iter().map(|(k, v)| (k, unwrap_any(v))).collect()),
            other => other,
        },
        other => other,
    }
}
