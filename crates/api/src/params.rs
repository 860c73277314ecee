//! Query strings: decoding, and the parameters that many endpoints share (spec http-api.md sections 1.2, 1.4 and 1.5).

use std::borrow::Cow;
use std::time::Duration;

use tribune_types::duration::parse_go_signed;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, ListOptions, ReadOptions};
use tribune_types::text::{Text, TextMap, text};

use crate::errors::{ApiError, NAMESPACES_ENTERPRISE};
use crate::json::{go_quote, lossy};

/// More pairs than any client sends; the rest of the string is refused.
const PAIRS_MAX: usize = 1000;

/// A name and its value, unescaped.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A decoded query string. Borrows what needs no decoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params<'a> {
    pairs: Vec<Pair<'a>>,
}

/// A percent sign without two hexadecimal digits, or too many pairs. Answered with 500 and no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid query string")]
pub struct QueryError;

impl<'a> Params<'a> {
    /// Decodes a query string without its question mark. `&` and `;` separate pairs.
    pub fn parse(query: &'a str) -> Result<Params<'a>, QueryError> {
        let mut pairs = Vec::new();
        for pair in query.split(['&', ';']) {
            if pair.is_empty() {
                continue;
            }
            if pairs.len() == PAIRS_MAX {
                return Err(QueryError);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Params { pairs })
    }

    /// True if the parameter is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// The first value as bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.pairs
            .iter()
            .find(|(n, _)| **n == *name.as_bytes())
            .map(|(_, v)| &**v)
    }

    /// The first value as text.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(lossy)
    }

    /// The first value as text, empty if absent.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        self.get(name).unwrap_or_default()
    }

    /// All values as text, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Cow<'s, str>> {
        self.pairs
            .iter()
            .filter(|(n, _)| **n == *name.as_bytes())
            .map(|(_, v)| lossy(v))
    }

    /// True without any parameter.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs in Go's canonical form: sorted by name, escaped.
    pub fn encode(&self) -> String {
        let mut sorted: Vec<&Pair<'a>> = self.pairs.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out = String::new();
        for (name, value) in sorted {
            if !out.is_empty() {
                out.push('&');
            }
            escape(&mut out, name);
            out.push('=');
            escape(&mut out, value);
        }
        out
    }

    /// Refuses `?ns=`, which only the enterprise product knows.
    pub fn refuse_namespace(&self) -> Result<(), ApiError> {
        match self.bytes("ns") {
            Some(ns) if !ns.is_empty() => Err(ApiError::bad_request(format_args!(
                "Invalid query parameter: \"ns\"{NAMESPACES_ENTERPRISE}"
            ))),
            _ => Ok(()),
        }
    }

    /// The datacenter asked for, unless it is the agent's own.
    pub fn datacenter(&self, own: &str) -> Option<Text> {
        let dc = self.bytes("dc")?;
        if dc.is_empty() || dc == own.as_bytes() {
            None
        } else {
            Some(text(&lossy(dc)))
        }
    }

    /// `node-meta=key:value`, repeatable.
    pub fn node_meta(&self) -> TextMap {
        self.all("node-meta")
            .map(|pair| {
                let (key, value) = pair.split_once(':').unwrap_or((&pair, ""));
                (text(key), text(value))
            })
            .collect()
    }

    /// Filter, metadata and sorting of a list; `_agent` becomes `own`.
    pub fn list_options(&self, own: &str) -> ListOptions {
        if self.pairs.is_empty() {
            return ListOptions::default();
        }
        let near = self.text("near");
        ListOptions {
            node_meta: self.node_meta(),
            filter: text(&self.text("filter")),
            near: text(if near == "_agent" { own } else { &near }),
        }
    }

    /// Index, wait, consistency and datacenter. `discovery_max_stale` is what catalog and health reads fall back to.
    pub fn read_options(
        &self,
        own_dc: &str,
        discovery_max_stale: Duration,
    ) -> Result<ReadOptions, ApiError> {
        let mut options = self.guarantee_options(own_dc, discovery_max_stale)?;
        if !self.pairs.is_empty() {
            options.wait = self.wait()?;
            options.min_index = Index(self.index()?);
        }
        Ok(options)
    }

    /// Consistency and datacenter alone, for what never blocks and takes no index.
    pub fn guarantee_options(
        &self,
        own_dc: &str,
        discovery_max_stale: Duration,
    ) -> Result<ReadOptions, ApiError> {
        let mut options = ReadOptions::default();
        if self.pairs.is_empty() && discovery_max_stale.is_zero() {
            return Ok(options);
        }
        options.datacenter = self.datacenter(own_dc);
        let (mut stale, consistent, cached) = (
            self.has("stale"),
            self.has("consistent"),
            self.has("cached"),
        );
        let mut unspecified = !(stale || consistent || cached || self.has("leader"));
        if let Some(given) = self.get("max_stale").filter(|v| !v.is_empty()) {
            let nanos = parse_go_signed(&given).map_err(|_| {
                ApiError::bad(format!("Invalid max_stale value {}", go_quote(&given)))
            })?;
            if nanos > 0 {
                options.max_stale = Some(Duration::from_nanos(nanos.unsigned_abs()));
                stale = true;
                unspecified = false;
            }
        }
        if unspecified && !discovery_max_stale.is_zero() {
            options.max_stale = Some(discovery_max_stale);
            stale = true;
        }
        if stale && consistent {
            return Err(ApiError::bad(
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            ));
        }
        if cached && consistent {
            return Err(ApiError::bad(
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            ));
        }
        options.consistency = if stale {
            Consistency::Stale
        } else if consistent {
            Consistency::Consistent
        } else {
            Consistency::Default
        };
        Ok(options)
    }

    /// `?wait`; `None` for absent, empty, zero or negative.
    pub fn wait(&self) -> Result<Option<Duration>, ApiError> {
        match self.get("wait").filter(|v| !v.is_empty()) {
            None => Ok(None),
            Some(given) => match parse_go_signed(&given) {
                Ok(nanos) if nanos > 0 => Ok(Some(Duration::from_nanos(nanos.unsigned_abs()))),
                Ok(_) => Ok(None),
                Err(_) => Err(ApiError::bad("Invalid wait time")),
            },
        }
    }

    /// `?index`; 0 for absent or empty.
    pub fn index(&self) -> Result<u64, ApiError> {
        match self.get("index").filter(|v| !v.is_empty()) {
            None => Ok(0),
            Some(given) => {
                crate::errors::parse_uint(&given).map_err(|_| ApiError::bad("Invalid index"))
            }
        }
    }
}

/// What a `Cache-Control` request header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// `max-age`, or zero for `must-revalidate`.
    pub max_age: Option<Duration>,
    /// `stale-if-error`.
    pub stale_if_error: Option<Duration>,
}

/// Reads a `Cache-Control` request header: only its numbers can be wrong.
pub fn parse_cache_control(header: &str) -> Result<CacheControl, ApiError> {
    let mut control = CacheControl::default();
    for part in header.split(',') {
        let part = part.trim().to_ascii_lowercase();
        let secs = |value: &str| {
            let secs = value.parse().map(Duration::from_secs);
            secs.map_err(|_| ApiError::bad("Invalid Cache-Control header."))
        };
        match part.split_once('=') {
            Some(("max-age", value)) => control.max_age = Some(secs(value)?),
            Some(("stale-if-error", value)) => control.stale_if_error = Some(secs(value)?),
            _ if part == "must-revalidate" => control.max_age = Some(Duration::ZERO),
            _ => {}
        }
    }
    Ok(control)
}

/// A Go boolean (`1`, `t`, `TRUE`, ...).
pub fn parse_bool(given: &str) -> Option<bool> {
    match given {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Decodes `%xx` and `+`.
fn decode(part: &str) -> Result<Cow<'_, [u8]>, QueryError> {
    let bytes = part.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'%' | b'+')) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(hex_pair(bytes.get(at + 1..at + 3)).ok_or(QueryError)?);
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(Cow::Owned(out))
}

/// Decodes the `%xx` of a path; `None` for a percent sign without two digits.
pub fn decode_path(path: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') {
        return Some(Cow::Borrowed(bytes));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(hex_pair(bytes.get(at + 1..at + 3))?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(Cow::Owned(out))
}

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let [high, low] = pair? else { return None };
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn escape(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// True for characters that a path may hold: letters, marks, numbers, punctuation, symbols and the space.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    !(c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<ReadOptions, String> {
        Params::parse(query)
            .unwrap()
            .read_options("dc1", Duration::ZERO)
            .map_err(|e| format!("{} {}", e.status, e.text))
    }

    #[test]
    fn pairs_are_decoded_and_the_first_of_a_name_wins() {
        let params = Params::parse("a=1&a=2;b&c=x%20y+z&%61b=%FF&=v&&").unwrap();
        assert_eq!(params.get("a").as_deref(), Some("1"));
        assert_eq!(params.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(params.get("b").as_deref(), Some(""));
        assert_eq!(params.get("c").as_deref(), Some("x y z"));
        assert_eq!(params.bytes("ab"), Some(&b"\xff"[..]));
        assert!(!params.has("d"));
    }

    #[test]
    fn a_percent_sign_without_digits_is_refused() {
        for query in ["%", "a=%", "a=%1", "%zz", "a=b&c=%g0", "a=%\u{e9}9"] {
            assert_eq!(Params::parse(query), Err(QueryError), "{query}");
        }
    }

    #[test]
    fn the_canonical_form_is_sorted_and_escaped() {
        assert_eq!(
            Params::parse("z=a%20b&cas=1&recurse&a=%2F")
                .unwrap()
                .encode(),
            "a=%2F&cas=1&recurse=&z=a+b"
        );
    }

    #[test]
    fn read_options_follow_the_parameters() {
        assert_eq!(options(""), Ok(ReadOptions::default()));
        assert_eq!(
            options("leader&index=&wait=").unwrap(),
            ReadOptions::default()
        );
        assert_eq!(options("index=7&wait=10s").unwrap().min_index, Index(7));
        assert_eq!(
            options("index=7&wait=10s").unwrap().wait,
            Some(Duration::from_secs(10))
        );
        assert_eq!(options("wait=-5s").unwrap().wait, None);
        assert_eq!(
            options("stale=false").unwrap().consistency,
            Consistency::Stale
        );
        assert_eq!(
            options("consistent").unwrap().consistency,
            Consistency::Consistent
        );
        assert_eq!(
            options("max_stale=10s").unwrap().consistency,
            Consistency::Stale
        );
        assert_eq!(
            options("max_stale=0s").unwrap().consistency,
            Consistency::Default
        );
        assert_eq!(options("dc=dc1").unwrap().datacenter, None);
        assert_eq!(
            options("dc=dc2").unwrap().datacenter.as_deref(),
            Some("dc2")
        );
    }

    #[test]
    fn bad_read_options_are_refused_in_known_words() {
        for (query, want) in [
            ("index=x", "400 Invalid index"),
            ("index=-1", "400 Invalid index"),
            ("index=99999999999999999999", "400 Invalid index"),
            ("wait=x", "400 Invalid wait time"),
            ("wait=5", "400 Invalid wait time"),
            ("max_stale=x", "400 Invalid max_stale value \"x\""),
            (
                "stale&consistent",
                "400 Cannot specify ?stale with ?consistent, conflicting semantics.",
            ),
            (
                "cached&consistent",
                "400 Cannot specify ?cached with ?consistent, conflicting semantics.",
            ),
        ] {
            assert_eq!(options(query), Err(want.to_owned()), "{query}");
        }
    }

    #[test]
    fn discovery_reads_are_stale_only_when_nothing_is_specified() {
        let read = |query: &'static str| {
            Params::parse(query)
                .unwrap()
                .read_options("dc1", Duration::from_secs(5))
                .unwrap()
                .consistency
        };
        assert_eq!(read(""), Consistency::Stale);
        assert_eq!(read("leader"), Consistency::Default);
        assert_eq!(read("consistent"), Consistency::Consistent);
    }

    #[test]
    fn namespaces_are_refused_unless_empty() {
        let check = |query: &'static str| {
            Params::parse(query)
                .unwrap()
                .refuse_namespace()
                .map_err(|e| e.text.into_owned())
        };
        assert_eq!(check("ns="), Ok(()));
        assert_eq!(check("ns=x"), Err("Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature".to_owned()));
    }

    #[test]
    fn near_agent_is_the_agents_own_node() {
        let list = Params::parse("near=_agent&node-meta=a:b:c&node-meta=d&filter=x")
            .unwrap()
            .list_options("n1");
        assert_eq!(&*list.near, "n1");
        assert_eq!(list.node_meta.get("a").map(|v| &**v), Some("b:c"));
        assert_eq!(list.node_meta.get("d").map(|v| &**v), Some(""));
        assert_eq!(&*list.filter, "x");
    }
}
