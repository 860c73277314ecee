//! Settings: [`DnsOptions`] as the binary builds them, and the form in which questions use them.
//!
//! Source: spec config.md `dns_config` and the top-level DNS keys. [`Settings`] holds what is derived once per reload:
//! names in wire form, TTLs in seconds, prefix rules sorted by length.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::{Text, fold, text};

use crate::wire::{Name, Soa};

/// Settings of the DNS server. `listen`, `domain`, `alt_domain`, `datacenter`, `node` and `translate_wan_addrs` are
/// fixed at start; a reload with other values of them keeps the old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// Addresses to listen on, UDP and TCP each. Port 0 takes a free port. Empty turns the server off.
    pub listen: Vec<SocketAddr>,
    /// The zone, with or without the last dot, in any letter case. Default `consul.`.
    pub domain: String,
    /// A second zone with the same content; empty for none.
    pub alt_domain: String,
    /// Datacenter of this agent.
    pub datacenter: Text,
    /// Name of this agent's node, for metrics.
    pub node: Text,
    /// Answer with WAN addresses for instances of other datacenters.
    pub translate_wan_addrs: bool,
    /// Servers for all other names, tried in order. Empty turns recursion off.
    pub recursors: Vec<SocketAddr>,
    /// How long to wait for each of them. Default 2 s.
    pub recursor_timeout: Duration,
    /// Let any server answer. Default true.
    pub allow_stale: bool,
    /// Answer from the agent's cache. Default false.
    pub use_cache: bool,
    /// With `use_cache`: what prepared queries found is given out so long, zero is for ever. Default 0.
    pub cache_max_age: Duration,
    /// With `allow_stale`: ask the leader if the answer is older. Default 87600 h.
    pub max_stale: Duration,
    /// TTL of node, address and NS records. Default 0; cut to whole seconds.
    pub node_ttl: Duration,
    /// TTL by service: exact names, `prefix*` (the longest wins) or `*`. Others get 0.
    pub service_ttl: Vec<(String, Duration)>,
    /// Set the TC bit when records were left out. Default false.
    pub enable_truncate: bool,
    /// Leave out instances with a warning, too. Default false.
    pub only_passing: bool,
    /// Spell all names out. Default false.
    pub disable_compression: bool,
    /// Most answers over UDP to clients without EDNS; 0 is none at all. Default 3, never above 8.
    pub udp_answer_limit: usize,
    /// Most address answers over any transport; 0 is no limit. Default 0.
    pub a_record_limit: usize,
    /// Add the node's metadata as TXT records to address and SRV answers. Default true.
    pub node_meta_txt: bool,
    /// Numbers of the SOA record.
    pub soa: SoaOptions,
}

/// Numbers of the SOA record, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoaOptions {
    /// How often secondaries ask. Default 3600.
    pub refresh: u32,
    /// How soon they ask again. Default 600.
    pub retry: u32,
    /// When they give up. Default 86400.
    pub expire: u32,
    /// TTL of negative answers and of the SOA record. Default 0.
    pub min_ttl: u32,
}

impl Default for SoaOptions {
    fn default() -> SoaOptions {
        SoaOptions {
            refresh: 3600,
            retry: 600,
            expire: 86_400,
            min_ttl: 0,
        }
    }
}

impl Default for DnsOptions {
    /// Consul's defaults; listens nowhere and has no names.
    fn default() -> DnsOptions {
        DnsOptions {
            listen: Vec::new(),
            domain: "consul.".to_owned(),
            alt_domain: String::new(),
            datacenter: text("dc1"),
            node: Text::default(),
            translate_wan_addrs: false,
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2),
            allow_stale: true,
            use_cache: false,
            cache_max_age: Duration::ZERO,
            max_stale: Duration::from_secs(87_600 * 3600),
            node_ttl: Duration::ZERO,
            service_ttl: Vec::new(),
            enable_truncate: false,
            only_passing: false,
            disable_compression: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            node_meta_txt: true,
            soa: SoaOptions::default(),
        }
    }
}

/// Why a recursor cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecursorError {
    /// Neither an address nor an address with a port. The text is Go's, which operators know.
    #[error("address {0}: too many colons in address")]
    Colons(String),
    /// A host name, or nothing of the kind.
    #[error("recursor {0:?} is not an IP address")]
    NotAnAddress(String),
}

/// Parses a recursor as configuration has it: `ip`, `[ip]`, `ip:port` or `[v6]:port`; the port is 53 unless given.
///
/// # Errors
/// Anything else, host names included.
pub fn recursor_addr(recursor: &str) -> Result<SocketAddr, RecursorError> {
    let bare = recursor
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(recursor);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 53));
    }
    recursor.parse().map_err(|_| {
        if !recursor.starts_with('[') && recursor.matches(':').count() > 1 {
            RecursorError::Colons(recursor.to_owned())
        } else {
            RecursorError::NotAnAddress(recursor.to_owned())
        }
    })
}

/// A zone's name is no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a domain name")]
pub struct DomainError(pub String);

/// The settings as questions use them.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) options: DnsOptions,
    /// Lower case.
    pub(crate) domain: Name,
    pub(crate) alt_domain: Option<Name>,
    pub(crate) node_ttl: u32,
    service_ttl_exact: Vec<(String, u32)>,
    /// Longest first.
    service_ttl_prefix: Vec<(String, u32)>,
    /// The SOA record but for its serial.
    soa: Soa,
}

impl Settings {
    pub(crate) fn new(options: DnsOptions) -> Result<Settings, DomainError> {
        let name =
            |domain: &str| Name::from_text(domain).ok_or_else(|| DomainError(domain.to_owned()));
        let domain_text = options.domain.to_ascii_lowercase();
        let domain = name(&domain_text)?;
        let alt = options.alt_domain.to_ascii_lowercase();
        let alt_domain = if alt.trim_end_matches('.').is_empty() {
            None
        } else {
            Some(name(&alt)?)
        };
        let below = |label: &str| name(&format!("{label}.{}", domain_text.trim_start_matches('.')));
        let soa = Soa {
            mname: below("ns")?,
            rname: below("hostmaster")?,
            serial: 0,
            refresh: options.soa.refresh,
            retry: options.soa.retry,
            expire: options.soa.expire,
            minimum: options.soa.min_ttl,
        };
        let mut exact = Vec::new();
        let mut prefix = Vec::new();
        for (rule, ttl) in &options.service_ttl {
            match rule.strip_suffix('*') {
                Some(start) => prefix.push((fold(start), seconds(*ttl))),
                None => exact.push((fold(rule), seconds(*ttl))),
            }
        }
        prefix.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        Ok(Settings {
            node_ttl: seconds(options.node_ttl),
            domain,
            alt_domain,
            service_ttl_exact: exact,
            service_ttl_prefix: prefix,
            soa,
            options,
        })
    }

    /// TTL of the records of a service, by its lower-case name.
    pub(crate) fn service_ttl(&self, service: &str) -> u32 {
        if let Some((_, ttl)) = self
            .service_ttl_exact
            .iter()
            .find(|(name, _)| name == service)
        {
            return *ttl;
        }
        self.service_ttl_prefix
            .iter()
            .find(|(start, _)| service.starts_with(start.as_str()))
            .map_or(0, |(_, ttl)| *ttl)
    }

    /// The content of the SOA record at this moment.
    pub(crate) fn soa(&self, now_unix: u32) -> Arc<Soa> {
        Arc::new(Soa {
            serial: now_unix,
            ..self.soa.clone()
        })
    }

    /// TTL of the SOA record.
    pub(crate) fn soa_ttl(&self) -> u32 {
        self.soa.minimum
    }

    /// True if other names are asked for elsewhere.
    pub(crate) fn recursion(&self) -> bool {
        !self.options.recursors.is_empty()
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_rule_wins_then_the_longest_prefix() {
        let rules = [("d*", 42), ("db", 10), ("db*", 66), ("*", 5)];
        let options = DnsOptions {
            service_ttl: rules
                .iter()
                .map(|(rule, ttl)| ((*rule).to_owned(), Duration::from_secs(*ttl)))
                .collect(),
            ..DnsOptions::default()
        };
        let settings = Settings::new(options).unwrap();
        for (service, ttl) in [("db", 10), ("dblb", 66), ("dk", 42), ("api", 5)] {
            assert_eq!(settings.service_ttl(service), ttl, "{service}");
        }
        assert_eq!(
            Settings::new(DnsOptions::default())
                .unwrap()
                .service_ttl("db"),
            0
        );
    }

    #[test]
    fn recursors_are_addresses_with_or_without_a_port() {
        for (recursor, want) in [
            ("8.8.8.8", "8.8.8.8:53"),
            ("8.8.8.8:5353", "8.8.8.8:5353"),
            ("2001:4860:4860::8888", "[2001:4860:4860::8888]:53"),
            ("[2001:4860:4860::8888]", "[2001:4860:4860::8888]:53"),
            ("[2001:4860:4860::8888]:54", "[2001:4860:4860::8888]:54"),
        ] {
            assert_eq!(
                recursor_addr(recursor),
                Ok(want.parse().unwrap()),
                "{recursor}"
            );
        }
        for recursor in ["1.2.3.4::53", "2001:4860:4860::8888:::53"] {
            assert!(
                matches!(recursor_addr(recursor), Err(RecursorError::Colons(_))),
                "{recursor}"
            );
        }
        for recursor in ["", "dns.example", "dns.example:53", "1.2.3.4:x"] {
            assert!(
                matches!(recursor_addr(recursor), Err(RecursorError::NotAnAddress(_))),
                "{recursor}"
            );
        }
    }

    #[test]
    fn zones_must_be_domain_names() {
        assert!(
            Settings::new(DnsOptions {
                domain: "a..b".to_owned(),
                ..DnsOptions::default()
            })
            .is_err()
        );
        assert!(
            Settings::new(DnsOptions {
                domain: ".".to_owned(),
                ..DnsOptions::default()
            })
            .is_ok()
        );
        let upper = Settings::new(DnsOptions {
            domain: "CONSUL".to_owned(),
            ..DnsOptions::default()
        })
        .unwrap();
        assert_eq!(upper.domain.wire(), b"\x06consul\x00");
    }
}
