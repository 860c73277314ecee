//! Flags, read by the rules of Go's `flag` package.
//!
//! In: the flags a command knows, its arguments. Out: [`Flags`] and the positional rest, or the error text that Go
//! prints. One or two dashes; `-x v` or `-x=v`; booleans take a value only with `=`; reading stops at the first
//! positional argument or behind `--`. Rules: spec cli.md section 1.

use std::{collections::BTreeMap, time::Duration};

use tribune_types::duration::parse_go;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Text,
    Uint,
    Int,
    Duration,
    /// Text, repeatable.
    List,
    /// `key=value`, repeatable.
    Pairs,
    /// A number, a duration, a boolean whose error text is that of the parser behind it.
    LazyUint,
    LazyDuration,
    LazyBool,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Word for the value in help texts; empty takes the kind's.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
}

/// A flag whose value is named after its kind.
pub(crate) const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        name,
        kind,
        value: "",
        help,
    }
}

/// A flag with a word for its value.
pub(crate) const fn flag_of(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        value,
        help,
    }
}

impl Flag {
    /// Word for the value, empty for switches.
    pub(crate) fn value_word(&self) -> &'static str {
        if !self.value.is_empty() {
            return self.value;
        }
        match self.kind {
            Kind::Bool => "",
            Kind::Text => "string",
            Kind::Uint => "uint",
            Kind::Int => "int",
            Kind::Duration => "duration",
            Kind::LazyBool => "true|false",
            Kind::List | Kind::Pairs | Kind::LazyUint | Kind::LazyDuration => "value",
        }
    }

    fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::LazyBool)
    }

    /// The reason why `text` is no value for this flag.
    fn refuse(&self, text: &str) -> Option<String> {
        let parse_error = || Some("parse error".to_owned());
        let out_of_range = || Some("value out of range".to_owned());
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        match self.kind {
            Kind::Text | Kind::List => None,
            Kind::Bool => parse_bool(text).is_none().then(parse_error).flatten(),
            Kind::LazyBool => parse_bool(text)
                .is_none()
                .then(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
            Kind::Uint => match parse_uint(text) {
                Some(_) => None,
                None if digits(text) => out_of_range(),
                None => parse_error(),
            },
            Kind::Int => match text.parse::<i64>() {
                Ok(_) => None,
                Err(_) if digits(text.trim_start_matches(['-', '+'])) => out_of_range(),
                Err(_) => parse_error(),
            },
            Kind::Duration => tribune_types::duration::parse_go_signed(text)
                .is_err()
                .then(parse_error)
                .flatten(),
            Kind::LazyUint => text
                .parse::<u64>()
                .is_err()
                .then(|| format!("strconv.ParseUint: parsing {text:?}: invalid syntax")),
            Kind::LazyDuration => parse_go(text).err().map(|e| e.to_string()),
            Kind::Pairs => {
                (!text.contains('=')).then(|| format!("Missing \"=\" value in argument: {text}"))
            }
        }
    }
}

/// Go takes `0x` numbers too.
fn parse_uint(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Go's spellings of a boolean.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why the arguments do not fit the flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("invalid value {value:?} for flag -{name}: {reason}")]
    Value {
        name: String,
        value: String,
        reason: String,
    },
    #[error("invalid boolean value {value:?} for -{name}: {reason}")]
    Bool {
        name: String,
        value: String,
        reason: String,
    },
    /// `-h` or `-help` behind other flags.
    #[error("flag: help requested")]
    Help,
}

/// Flag values of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(BTreeMap<&'static str, Vec<String>>);

impl Flags {
    /// Reads `args`; returns the values and the arguments behind the flags.
    pub(crate) fn parse<'f>(
        known: impl Iterator<Item = &'f Flag> + Clone,
        args: &[String],
    ) -> Result<(Self, Vec<String>), FlagError> {
        let mut values = Self::default();
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            if arg.len() < 2 || !arg.starts_with('-') {
                break;
            }
            at += 1;
            if arg == "--" {
                break;
            }
            let body = arg.strip_prefix("--").unwrap_or(&arg[1..]);
            if body.starts_with(['-', '=']) {
                return Err(FlagError::Syntax(arg.clone()));
            }
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some(flag) = known.clone().find(|f| f.name == name) else {
                return Err(match name {
                    "h" | "help" => FlagError::Help,
                    name => FlagError::Unknown(name.to_owned()),
                });
            };
            let value = match inline {
                Some(value) => value.to_owned(),
                None if flag.is_switch() => "true".to_owned(),
                None => {
                    let value = args
                        .get(at)
                        .ok_or_else(|| FlagError::NoValue(name.to_owned()))?;
                    at += 1;
                    value.clone()
                }
            };
            if let Some(reason) = flag.refuse(&value) {
                let name = name.to_owned();
                return Err(if flag.is_switch() {
                    FlagError::Bool {
                        name,
                        value,
                        reason,
                    }
                } else {
                    FlagError::Value {
                        name,
                        value,
                        reason,
                    }
                });
            }
            let list = values.0.entry(flag.name).or_default();
            if !matches!(flag.kind, Kind::List | Kind::Pairs) {
                list.clear();
            }
            list.push(value);
        }
        Ok((values, args[at..].to_vec()))
    }

    /// Whether the flag was given.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text, empty when not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(|v| v.last())
            .map_or("", String::as_str)
    }

    /// The switch, off when not given.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    /// The switch, if it was given.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        parse_bool(self.text(name))
    }

    /// The number, 0 when not given.
    pub(crate) fn uint(&self, name: &str) -> u64 {
        parse_uint(self.text(name)).unwrap_or(0)
    }

    /// The number, `default` when not given.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.text(name).parse().unwrap_or(default)
    }

    /// The duration in nanoseconds, if given.
    pub(crate) fn nanos(&self, name: &str) -> Option<i64> {
        tribune_types::duration::parse_go_signed(self.text(name)).ok()
    }

    /// The duration, `default` when not given or negative.
    pub(crate) fn duration(&self, name: &str, default: Duration) -> Duration {
        parse_go(self.text(name)).unwrap_or(default)
    }

    /// All texts of a repeatable flag.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// All pairs of a repeatable flag, split at the first `=`.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        self.list(name)
            .iter()
            .filter_map(|p| p.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Flag; 8] = [
        flag("b", Kind::Bool, ""),
        flag("s", Kind::Text, ""),
        flag("u", Kind::Uint, ""),
        flag("i", Kind::Int, ""),
        flag("d", Kind::Duration, ""),
        flag("l", Kind::List, ""),
        flag("p", Kind::Pairs, ""),
        flag("z", Kind::LazyDuration, ""),
    ];

    fn parse(line: &str) -> Result<(Flags, Vec<String>), FlagError> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(KNOWN.iter(), &args)
    }

    #[test]
    fn values_come_in_every_spelling_of_go() {
        // (arguments, flag, value, rest)
        for (line, name, want, rest) in [
            ("-s v", "s", "v", ""),
            ("--s v", "s", "v", ""),
            ("-s=v=w r", "s", "v=w", "r"),
            ("-s= r", "s", "", "r"),
            ("-s -b r", "s", "-b", "r"),
            ("-b x -s v", "b", "true", "x -s v"),
            ("-b=0 x", "b", "0", "x"),
            ("-b -- -s v", "b", "true", "-s v"),
            ("-i -5 x", "i", "-5", "x"),
            ("-u 0x1f", "u", "0x1f", ""),
            ("-s a -s c", "s", "c", ""),
            ("- -s", "s", "", "- -s"),
        ] {
            let (flags, got) = parse(line).unwrap();
            assert_eq!(
                (flags.text(name), got.join(" ").as_str()),
                (want, rest),
                "{line}"
            );
        }
        let (flags, _) = parse("-l a -l c -p x=1 -p y=2=3").unwrap();
        assert_eq!(flags.list("l"), ["a", "c"]);
        assert_eq!(flags.pairs("p")[1], ("y".to_owned(), "2=3".to_owned()));
    }

    #[test]
    fn errors_are_worded_as_go_words_them() {
        for (line, want) in [
            ("-x", "flag provided but not defined: -x"),
            ("--x=1", "flag provided but not defined: -x"),
            ("-s", "flag needs an argument: -s"),
            ("---s", "bad flag syntax: ---s"),
            ("-=s", "bad flag syntax: -=s"),
            ("-b=zz", "invalid boolean value \"zz\" for -b: parse error"),
            ("-u zz", "invalid value \"zz\" for flag -u: parse error"),
            (
                "-u 99999999999999999999",
                "invalid value \"99999999999999999999\" for flag -u: value out of range",
            ),
            ("-d 5", "invalid value \"5\" for flag -d: parse error"),
            (
                "-z zz",
                "invalid value \"zz\" for flag -z: time: invalid duration \"zz\"",
            ),
            (
                "-p zz",
                "invalid value \"zz\" for flag -p: Missing \"=\" value in argument: zz",
            ),
            ("-b -help", "flag: help requested"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), want, "{line}");
        }
    }
}
