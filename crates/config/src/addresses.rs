//! Addresses of the cluster and the fronts: templates, forms, advertise rules, conflicts.
//!
//! In: the merged tree and the machine's interfaces. Out: [`ClusterAddrs`], [`Listeners`], tagged addresses. Rules that
//! stop at once are returned as errors, forms of values are collected; order and texts are those of 1.8.7.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::{ListenAddr, UnixSocketConfig};
use crate::error::{ConfigError, multi};
use crate::get::View;
use crate::interfaces::Interfaces;
use crate::sockaddr::expand;

/// A host without a port: what `client_addr` and `addresses.*` hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Unix(PathBuf),
}

/// Reads addresses with the interfaces at hand, collecting what does not parse.
pub(crate) struct Reader<'a> {
    pub(crate) view: View<'a>,
    pub(crate) host: &'a Interfaces,
    pub(crate) errors: Vec<String>,
}

pub(crate) fn rule<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Rule(text.into()))
}

fn is_any(ip: IpAddr) -> bool {
    ip.is_unspecified()
}

impl Reader<'_> {
    /// Space-separated addresses after templates are expanded.
    pub(crate) fn hosts(&mut self, key: &str, name: &str) -> Option<Vec<Host>> {
        let text = self.view.opt_str(key)?;
        let text = match expand(text, self.host) {
            Ok(text) => text,
            Err(e) => {
                self.errors.push(format!("{name}: {e}"));
                return None;
            }
        };
        let mut out = Vec::new();
        for word in text.split_ascii_whitespace() {
            match word.strip_prefix("unix://") {
                Some(path) => out.push(Host::Unix(path.into())),
                None => match parse_ip(word) {
                    Some(ip) => out.push(Host::Ip(ip)),
                    None => {
                        self.errors
                            .push(format!("{name}: invalid ip address: {word}"));
                        return None;
                    }
                },
            }
        }
        Some(out)
    }

    /// At most one IP address.
    pub(crate) fn ip(&mut self, key: &str) -> Option<IpAddr> {
        let text = self.view.opt_str(key)?.to_owned();
        let mut hosts = match expand(&text, self.host) {
            Ok(expanded) if expanded.split_ascii_whitespace().count() > 1 => {
                // 1.8.7 looks at the form of the first before it counts.
                let words: Vec<&str> = expanded.split_ascii_whitespace().collect();
                match words
                    .iter()
                    .find(|w| parse_ip(w).is_none() && !w.starts_with("unix://"))
                {
                    Some(word) => self
                        .errors
                        .push(format!("{key}: invalid ip address: {word}")),
                    None => self.errors.push(format!(
                        "{key}: multiple addresses found: {}",
                        words.join(" ")
                    )),
                }
                return None;
            }
            _ => self.hosts(key, key)?,
        };
        match hosts.pop()? {
            Host::Ip(ip) => Some(ip),
            Host::Unix(_) => {
                self.errors.push(format!("{key} cannot be a unix socket"));
                None
            }
        }
    }

    /// Addresses or names after templates are expanded, as for joins and recursors.
    pub(crate) fn names(&mut self, key: &str) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for text in self.view.list(key) {
            // Cloud discovery strings hold spaces and stay whole.
            let result = if text.contains("{{") {
                expand(&text, self.host)
            } else {
                Ok(text.clone())
            };
            match result {
                Ok(expanded) if text.contains("{{") => {
                    out.extend(expanded.split_ascii_whitespace().map(str::to_owned));
                }
                Ok(expanded) => out.push(expanded),
                Err(e) => self.errors.push(format!("{key}: {e}")),
            }
        }
        out
    }

    /// A port of the tree; out of range is collected. Negative and zero mean off and read as -1.
    pub(crate) fn port(&mut self, key: &str) -> i32 {
        let port = self.view.int(key);
        if port > 65535 {
            self.errors.push(format!("{key}: invalid port: {port}"));
            return -1;
        }
        if port <= 0 {
            -1
        } else {
            i32::try_from(port).unwrap_or(-1)
        }
    }

    /// Networks; what does not parse is returned as text.
    pub(crate) fn networks(&self, key: &str) -> Result<Vec<IpNet>, ConfigError> {
        let mut bad = Vec::new();
        let mut nets = Vec::new();
        for text in self.view.list(key) {
            match text.parse::<IpNet>() {
                Ok(net) => nets.push(net.trunc()),
                Err(_) => bad.push(format!("invalid cidr: {text}")),
            }
        }
        if bad.is_empty() {
            Ok(nets)
        } else {
            rule(format!("{key}: {}", multi(&bad)))
        }
    }

    /// `bind_addr`: exactly one IP.
    pub(crate) fn bind(&mut self) -> Result<IpAddr, ConfigError> {
        let text = self.view.str("bind_addr");
        let expanded = match expand(text, self.host) {
            Ok(expanded) => expanded,
            Err(e) => return rule(format!("bind_addr: {e}")),
        };
        let words: Vec<&str> = expanded.split_ascii_whitespace().collect();
        match words[..] {
            [] => rule("bind_addr cannot be empty"),
            [word] if word.starts_with("unix://") => rule("bind_addr cannot be a unix socket"),
            [word] => match word.parse() {
                Ok(ip) => Ok(ip),
                // 1.8.7 says "cannot be empty" here, which misleads.
                Err(_) => rule(format!("bind_addr must be an ip address: {word}")),
            },
            _ => rule(
                "bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
            ),
        }
    }
}

/// Advertised addresses.
pub(crate) struct Advertised {
    pub(crate) lan: IpAddr,
    pub(crate) wan: IpAddr,
    pub(crate) tagged: BTreeMap<String, String>,
}

/// Applies the advertise rules: the configured address, else the bind address, else the machine's only fitting one.
pub(crate) fn advertise(reader: &mut Reader<'_>, bind: IpAddr) -> Result<Advertised, ConfigError> {
    let configured = reader.ip("advertise_addr");
    // Read once more because the WAN address falls back to it; 1.8.7 reports a bad one twice for that reason.
    let fallback = reader.ip("advertise_addr");
    let failed = reader
        .errors
        .iter()
        .any(|e| e.starts_with("advertise_addr:"));
    let lan = match configured {
        Some(ip) => ip,
        None if failed || !is_any(bind) => bind,
        None if bind.is_ipv4() => reader.host.private_v4().map_err(ConfigError::Rule)?,
        None => reader.host.public_v6().map_err(ConfigError::Rule)?,
    };
    let wan = reader.ip("advertise_addr_wan").or(fallback).unwrap_or(lan);
    if !failed && is_any(lan) {
        return rule("Advertise address cannot be 0.0.0.0, :: or [::]");
    }
    if !failed && is_any(wan) {
        return rule("Advertise WAN address cannot be 0.0.0.0, :: or [::]");
    }
    // Other names than those of below are the operator's to choose; these tell where the agent is.
    let mut tagged: BTreeMap<_, _> = reader.view.map("tagged_addresses").into_iter().collect();
    tagged.insert("lan".to_owned(), lan.to_string());
    tagged.insert("wan".to_owned(), wan.to_string());
    let families = [
        ("advertise_addr_ipv4", "lan_ipv4", lan, true),
        ("advertise_addr_ipv6", "lan_ipv6", lan, false),
        ("advertise_addr_wan_ipv4", "wan_ipv4", wan, true),
        ("advertise_addr_wan_ipv6", "wan_ipv6", wan, false),
    ];
    for (key, tag, base, v4) in families {
        let ip = reader.ip(key);
        if ip.is_some_and(|ip| ip.is_ipv4() != v4) {
            return rule(format!(
                "{key} must be an ipv{} address",
                if v4 { 4 } else { 6 }
            ));
        }
        if let Some(ip) = ip.or((base.is_ipv4() == v4).then_some(base)) {
            tagged.insert(tag.to_owned(), ip.to_string());
        }
    }
    Ok(Advertised { lan, wan, tagged })
}

/// Hosts with a port; a socket stands without. No port, no listener.
pub(crate) fn listen(hosts: &[Host], port: i32) -> Vec<ListenAddr> {
    let Some(port) = u16::try_from(port).ok().filter(|p| *p > 0) else {
        return Vec::new();
    };
    let one = |h: &Host| match h {
        Host::Ip(ip) => ListenAddr::Tcp(SocketAddr::new(*ip, port)),
        Host::Unix(path) => ListenAddr::Unix(path.clone()),
    };
    hosts.iter().map(one).collect()
}

/// Refuses two users of one address.
#[derive(Default)]
pub(crate) struct Used(BTreeMap<String, &'static str>);

impl Used {
    pub(crate) fn claim(&mut self, what: &'static str, addr: String) -> Result<(), ConfigError> {
        if let Some(by) = self.0.get(&addr) {
            return rule(format!("{what} address {addr} already configured for {by}"));
        }
        self.0.insert(addr, what);
        Ok(())
    }
}

/// Reads `unix_sockets`.
pub(crate) fn unix_sockets(view: View<'_>) -> UnixSocketConfig {
    UnixSocketConfig {
        user: view.string("unix_sockets.user"),
        group: view.string("unix_sockets.group"),
        mode: view.string("unix_sockets.mode"),
    }
}

/// An address, IPv6 with or without brackets.
fn parse_ip(word: &str) -> Option<IpAddr> {
    let bare = word
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6),
        None => word.parse().ok(),
    }
}
