//! Prefixes and destinations as one writes them on a command line.
//!
//! ```text
//! SOURCE[:DESTINATION][@DATACENTER]     or     SOURCE@DATACENTER:DESTINATION     (the older tool's order)
//! ```
//!
//! Keys may contain both signs, names of datacenters neither: the last `@` counts, and the first `:` before it. What
//! cannot be written so goes into a configuration file, field by field.

/// One prefix as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixSpec {
    /// Prefix of the keys to copy; empty means all.
    pub source: String,
    /// Datacenter to copy from; empty means that of the source's agent.
    pub datacenter: String,
    /// What stands in place of `source` in the copies. `None`: the same.
    pub destination: Option<String>,
}

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing in front of the first sign.
    #[error("prefix {0:?} has no source; write a single * to mirror all keys")]
    NoSource(String),
    /// A datacenter of characters that none has.
    #[error("prefix {text:?}: {datacenter:?} is no name of a datacenter")]
    Datacenter {
        /// The whole text.
        text: String,
        /// The part behind the sign.
        datacenter: String,
    },
}

impl PrefixSpec {
    /// Reads one prefix. Slashes in front are dropped, as keys have none.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (left, datacenter, behind) = match text.rsplit_once('@') {
            None => (text, "", None),
            Some((left, right)) => match right.split_once(':') {
                Some((dc, destination)) => (left, dc, Some(destination)),
                None => (left, right, None),
            },
        };
        if text.contains('@') && !is_datacenter(datacenter) {
            return Err(SpecError::Datacenter {
                text: text.to_owned(),
                datacenter: datacenter.to_owned(),
            });
        }
        let (source, destination) = match behind {
            Some(destination) => (left, Some(destination)),
            None => match left.split_once(':') {
                Some((source, destination)) => (source, Some(destination)),
                None => (left, None),
            },
        };
        if source.is_empty() {
            return Err(SpecError::NoSource(text.to_owned()));
        }
        Ok(Self {
            source: key_prefix(source),
            datacenter: datacenter.to_owned(),
            destination: destination.map(key_prefix),
        })
    }
}

/// A prefix without slashes in front; `*` alone is all keys.
pub(crate) fn key_prefix(text: &str) -> String {
    match text {
        "*" => String::new(),
        text => text.trim_start_matches('/').to_owned(),
    }
}

/// Whether `name` can be that of a datacenter.
pub(crate) fn is_datacenter(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.bytes().all(fits)
}

/// Takes `[ADDRESS][@DATACENTER]` apart.
pub(crate) fn destination(text: &str) -> (&str, &str) {
    match text.rsplit_once('@') {
        Some((address, datacenter)) => (address, datacenter),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_in_both_orders() {
        // (text, source, datacenter, destination)
        for (text, source, dc, destination) in [
            ("global@nyc1", "global", "nyc1", None),
            ("global@nyc1:backup", "global", "nyc1", Some("backup")),
            ("global:backup@nyc1", "global", "nyc1", Some("backup")),
            ("global", "global", "", None),
            ("global:backup", "global", "", Some("backup")),
            ("/a/b/:/c/@dc-2_x", "a/b/", "dc-2_x", Some("c/")),
            ("user@host/@dc1", "user@host/", "dc1", None),
            ("a:b:c@dc1", "a", "dc1", Some("b:c")),
            ("*@dc1", "", "dc1", None),
            ("*:all/@dc1", "", "dc1", Some("all/")),
            ("a/:*@dc1", "a/", "dc1", Some("")),
            ("a/@dc1:x:y", "a/", "dc1", Some("x:y")),
        ] {
            let got = PrefixSpec::parse(text).unwrap();
            let want = PrefixSpec {
                source: source.to_owned(),
                datacenter: dc.to_owned(),
                destination: destination.map(str::to_owned),
            };
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix_says_why() {
        for (text, want) in [
            ("", "has no source"),
            ("@dc1", "has no source"),
            (":b@dc1", "has no source"),
            ("a@", "no name of a datacenter"),
            ("a@d c", "no name of a datacenter"),
            ("a@dc/x", "no name of a datacenter"),
        ] {
            let error = PrefixSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn destinations_name_an_agent_a_datacenter_or_both() {
        for (text, want) in [
            ("@dc2", ("", "dc2")),
            ("127.0.0.1:8500", ("127.0.0.1:8500", "")),
            ("https://a:1@dc2", ("https://a:1", "dc2")),
        ] {
            assert_eq!(destination(text), want);
        }
    }
}
