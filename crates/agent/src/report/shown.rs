//! How settings become values: durations as text (`1m0s`), addresses as `tcp://ip:port`, secrets as `hidden`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tribune_types::duration::format_go;
use tribune_types::text::{Text, TextMap, text};
use tribune_types::value::{Value, ValueMap};

/// What stands in for a secret, set or not.
pub(super) const HIDDEN: &str = "hidden";

/// A setting that can be shown.
pub(super) trait Shown {
    fn shown(self) -> Value;
}

macro_rules! shown {
    ($($type:ty => |$value:ident| $shown:expr;)*) => {
        $(impl Shown for $type {
            fn shown(self) -> Value {
                let $value = self;
                $shown
            }
        })*
    };
}

shown! {
    Value => |value| value;
    ValueMap => |map| Value::Map(map);
    bool => |b| Value::Bool(b);
    i64 => |n| Value::Int(n);
    i32 => |n| Value::Int(n.into());
    u8 => |n| Value::Int(n.into());
    u16 => |n| Value::Int(n.into());
    u32 => |n| Value::Int(n.into());
    u64 => |n| Value::UInt(n);
    usize => |n| Value::UInt(n as u64);
    f64 => |n| Value::Float(n);
    &str => |s| Value::String(text(s));
    &String => |s| Value::String(text(s));
    &Text => |s| Value::String(s.clone());
    String => |s| Value::String(text(&s));
    Duration => |d| Value::String(text(&format_go(d)));
    IpAddr => |ip| Value::String(text(&ip.to_string()));
    &IpNet => |net| Value::String(text(&net.to_string()));
    &Option<PathBuf> => |path| Value::String(text(&path.as_deref().unwrap_or("".as_ref()).to_string_lossy()));
}

/// A list of settings.
pub(super) fn list<T: Shown>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(Shown::shown).collect())
}

/// An address with its scheme.
pub(super) fn tcp(addr: SocketAddr) -> String {
    format!("tcp://{addr}")
}

/// A map of strings whose values are hidden under names of secrets.
pub(super) fn strings(map: &TextMap) -> Value {
    Value::Map(
        map.iter()
            .map(|(key, value)| (key.clone(), Value::String(value.clone())))
            .collect(),
    )
}

/// An object from names and values.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect(),
    )
}

/// Hides every text under the name of a secret, at any depth.
pub(super) fn hide_secrets(value: &mut Value) {
    match value {
        Value::Map(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(secret) if is_secret(name) => *secret = text(HIDDEN),
                    inner => hide_secrets(inner),
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(hide_secrets),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "key", "keyfile"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_under_names_of_secrets_are_hidden_at_any_depth() {
        let secret = || Value::String(text("s3cr3t"));
        let inner = object([
            ("private_key", secret()),
            ("Token", secret()),
            ("key_type", secret()),
            ("AccessKey", Value::Int(1)),
        ]);
        let mut value = object([
            ("EncryptKey", secret()),
            ("Other", Value::List(vec![inner])),
        ]);
        hide_secrets(&mut value);
        let mut json = Vec::new();
        tribune_api::render::value(&mut json, &value);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"EncryptKey":"hidden","Other":[{"AccessKey":1,"Token":"hidden","key_type":"s3cr3t","private_key":"hidden"}]}"#
        );
    }
}
