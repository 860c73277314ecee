//! Who a member is by its tags (spec gossip.md section 10.2).
//!
//! Anything that does not parse makes a member "not a server": such a member is shown, but nobody talks to it as to one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tribune_types::text::{Text, TextMap, text};

use super::number::{host_port, integer, version};
use super::tags::TRIBUNE_TAG;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A server, of any datacenter.
    Server(Box<ServerFacts>),
    /// A client agent.
    Client(ClientFacts),
}

/// What a server's tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Member name (WAN: with the datacenter).
    pub name: Text,
    /// Member name without its datacenter.
    pub short_name: Text,
    /// Node identity as told; may be empty or no UUID at all.
    pub id: Text,
    /// Datacenter.
    pub datacenter: Text,
    /// Network segment; empty without Enterprise.
    pub segment: Text,
    /// IP address of the member.
    pub ip: IpAddr,
    /// Port of the server RPC, as told.
    pub port: i64,
    /// Port of WAN gossip, 0 if not told.
    pub wan_join_port: i64,
    /// Port of the pool in which the member was seen.
    pub gossip_port: u16,
    /// Founds the cluster alone.
    pub bootstrap: bool,
    /// Number of servers that found the cluster together; 0 if not told.
    pub expect: i64,
    /// Build text.
    pub build: Text,
    /// Version in the build text.
    pub version: Version,
    /// Version of the internal protocol of 0.x agents, 2.
    pub protocol: i64,
    /// Version of the Raft protocol; 0 if not told.
    pub raft_version: i64,
    /// Takes no part in votes.
    pub non_voter: bool,
    /// State of its ACL system.
    pub acls: AclMode,
    /// Its server RPC offers TLS.
    pub use_tls: bool,
    /// Numbers of features by name, without the prefix of the tag.
    pub features: Vec<(Text, i64)>,
    /// Addresses in Enterprise network segments.
    pub segments: Vec<SegmentAddr>,
    /// A server of Tribune's own kind: only these can share a replicated log with us.
    pub tribune: bool,
}

/// Address of a server in a network segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAddr {
    /// Segment.
    pub name: Text,
    /// Host.
    pub host: Text,
    /// Port as told.
    pub port: i64,
}

impl ServerFacts {
    /// Where its server RPC listens; `None` if the port it tells cannot be one.
    pub fn rpc_addr(&self) -> Option<SocketAddr> {
        let port = u16::try_from(self.port).ok().filter(|port| *port != 0)?;
        Some(SocketAddr::new(self.ip, port))
    }

    /// Where its WAN gossip listens; `None` if it has none.
    pub fn wan_addr(&self) -> Option<SocketAddr> {
        let port = u16::try_from(self.wan_join_port).ok();
        Some(SocketAddr::new(self.ip, port.filter(|port| *port != 0)?))
    }

    /// The number of a feature.
    pub fn feature(&self, name: &str) -> Option<i64> {
        let found = self.features.iter().find(|(feature, _)| &**feature == name);
        found.map(|(_, number)| *number)
    }
}

/// What a client agent's tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// Member name.
    pub name: Text,
    /// Node identity as told; may be empty or no UUID at all.
    pub id: Text,
    /// Datacenter.
    pub datacenter: Text,
    /// Network segment; empty without Enterprise.
    pub segment: Text,
    /// IP address of the member.
    pub ip: IpAddr,
}

/// Three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First.
    pub major: u64,
    /// Second.
    pub minor: u64,
    /// Third.
    pub patch: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// State of a server's ACL system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AclMode {
    /// Off.
    Disabled,
    /// On.
    Enabled,
    /// On, but still in the state before 1.4.
    Legacy,
    /// Not told, or not understood.
    Unknown,
}

impl AclMode {
    /// The value of the tag.
    pub fn as_tag(self) -> &'static str {
        match self {
            AclMode::Disabled => "0",
            AclMode::Enabled => "1",
            AclMode::Legacy => "2",
            AclMode::Unknown => "3",
        }
    }

    fn of_tag(value: Option<&Text>) -> AclMode {
        match value.map(|value| &**value) {
            Some("0") => AclMode::Disabled,
            Some("1") => AclMode::Enabled,
            Some("2") => AclMode::Legacy,
            _ => AclMode::Unknown,
        }
    }
}

/// The word of the `role` tag of servers.
pub(super) const SERVER_ROLE: &str = "consul";
/// The word of the `role` tag of clients.
pub(super) const CLIENT_ROLE: &str = "node";

/// True if the tags are those of a server of Tribune's own kind.
pub fn is_tribune(tags: &TextMap) -> bool {
    tags.get(TRIBUNE_TAG).is_some()
}

/// Recognises a member by its tags; `None` for everything that is neither a server nor a client.
pub fn recognise(tags: &TextMap, name: &str, addr: SocketAddr) -> Option<MemberKind> {
    match role_of(tags)? {
        Role::Server => server(tags, name, addr).map(|facts| MemberKind::Server(Box::new(facts))),
        Role::Client => Some(MemberKind::Client(ClientFacts {
            name: text(name),
            id: tag(tags, "id"),
            datacenter: tag(tags, "dc"),
            segment: tag(tags, "segment"),
            ip: addr.ip(),
        })),
    }
}

/// The role a member claims, whatever its other tags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A server.
    Server,
    /// A client agent.
    Client,
}

/// The role a member claims; `None` if it claims none of ours.
pub fn role_of(tags: &TextMap) -> Option<Role> {
    match tags.get("role").map(|role| &**role) {
        Some(SERVER_ROLE) => Some(Role::Server),
        Some(CLIENT_ROLE) => Some(Role::Client),
        _ => None,
    }
}

fn tag(tags: &TextMap, name: &str) -> Text {
    tags.get(name).cloned().unwrap_or_default()
}

fn server(tags: &TextMap, name: &str, addr: SocketAddr) -> Option<ServerFacts> {
    let required = |name| integer(tags.get(name)?);
    // Absent is 0; present it must be a number.
    let optional = |name| tags.get(name).map_or(Some(0), |value| integer(value));
    let datacenter = tag(tags, "dc");
    let build = tag(tags, "build");
    let mut features = Vec::new();
    let mut segments = Vec::new();
    for (key, value) in tags.iter() {
        if let Some(feature) = key.strip_prefix("ft_") {
            features.push((text(feature), integer(value)?));
        } else if let Some(segment) = key.strip_prefix("sl_") {
            let (host, port) = host_port(value)?;
            segments.push(SegmentAddr {
                name: text(segment),
                host: text(host),
                port,
            });
        }
    }
    Some(ServerFacts {
        name: text(name),
        short_name: text(short_name(name, &datacenter)),
        id: tag(tags, "id"),
        segment: tag(tags, "segment"),
        ip: addr.ip(),
        port: required("port")?,
        wan_join_port: optional("wan_join_port")?,
        gossip_port: addr.port(),
        bootstrap: tags.get("bootstrap").is_some(),
        expect: optional("expect")?,
        version: version(&build)?,
        build,
        protocol: required("vsn")?,
        raft_version: optional("raft_vsn")?,
        non_voter: tags.get("nonvoter").is_some(),
        acls: AclMode::of_tag(tags.get("acls")),
        use_tls: tags.get("use_tls").is_some(),
        features,
        segments,
        tribune: is_tribune(tags),
        datacenter,
    })
}

fn short_name<'a>(name: &'a str, datacenter: &str) -> &'a str {
    name.strip_suffix(datacenter)
        .and_then(|rest| rest.strip_suffix('.'))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> TextMap {
        pairs.iter().map(|(k, v)| (text(k), text(v))).collect()
    }

    /// Tags of a real 1.8.7 server, without its WAN port.
    const SERVER: [(&str, &str); 12] = [
        ("acls", "0"),
        ("build", "1.8.7:3ef8ad84"),
        ("dc", "dc1"),
        ("ft_fs", "1"),
        ("id", "f2e1b4c0-0d0a-4b5d-9d0b-7a2a3a1f9e11"),
        ("port", "8300"),
        ("raft_vsn", "3"),
        ("role", "consul"),
        ("segment", ""),
        ("vsn", "2"),
        ("vsn_max", "3"),
        ("vsn_min", "2"),
    ];

    fn with(changes: &[(&str, Option<&str>)]) -> TextMap {
        let mut tags = map(&SERVER);
        for (key, value) in changes {
            match value {
                Some(value) => tags.insert(text(key), text(value)),
                None => drop(tags.remove(key)),
            }
        }
        tags
    }

    fn server_of(tags: &TextMap) -> Option<ServerFacts> {
        let addr = "10.0.0.1:8301".parse().unwrap();
        match recognise(tags, "s1.dc1", addr)? {
            MemberKind::Server(facts) => Some(*facts),
            MemberKind::Client(_) => None,
        }
    }

    #[test]
    fn a_real_server_is_recognised_with_all_its_facts() {
        let facts = server_of(&map(&SERVER)).unwrap();
        assert_eq!(facts.rpc_addr(), Some("10.0.0.1:8300".parse().unwrap()));
        assert_eq!(facts.wan_addr(), None);
        assert_eq!((&*facts.name, &*facts.short_name), ("s1.dc1", "s1"));
        assert_eq!(facts.version.to_string(), "1.8.7");
        assert_eq!(facts.feature("fs"), Some(1));
        assert_eq!((facts.raft_version, facts.expect), (3, 0));
        assert!(!facts.bootstrap && !facts.use_tls && !facts.non_voter && !facts.tribune);
    }

    #[test]
    fn what_does_not_parse_is_not_a_server() {
        // (tag, value, still a server)
        for (tag, value, want) in [
            ("port", None, false),
            ("port", Some("x"), false),
            ("port", Some(""), false),
            ("port", Some("8300 "), false),
            ("port", Some("+8300"), true),
            ("vsn", None, false),
            ("vsn", Some("two"), false),
            ("vsn_min", Some("two"), true),
            ("expect", Some(""), false),
            ("expect", Some("3"), true),
            ("wan_join_port", Some("a"), false),
            ("raft_vsn", Some("a"), false),
            ("raft_vsn", None, true),
            ("build", None, false),
            ("build", Some("1.8"), false),
            ("build", Some("v1.8.7-dev"), true),
            ("sl_alpha", Some("10.0.0.1"), false),
            ("sl_alpha", Some("10.0.0.1:1"), true),
            ("ft_x", Some("on"), false),
            ("ft_x", Some("0"), true),
            ("id", None, true),
            ("id", Some("no uuid"), true),
            ("dc", None, true),
            ("acls", None, true),
            ("role", Some("node"), false),
            ("role", None, false),
            ("role", Some("Consul"), false),
        ] {
            let found = server_of(&with(&[(tag, value)]));
            assert_eq!(found.is_some(), want, "{tag} {value:?}");
        }
    }

    #[test]
    fn presence_alone_counts_for_flags() {
        let tags = with(&[
            ("bootstrap", Some("0")),
            ("use_tls", Some("")),
            ("nonvoter", Some("")),
            ("acls", None),
        ]);
        let facts = server_of(&tags).unwrap();
        assert!(facts.bootstrap && facts.use_tls && facts.non_voter);
        assert_eq!(facts.acls, AclMode::Unknown);
    }

    #[test]
    fn a_port_that_is_none_has_no_address() {
        for port in ["0", "-1", "65536", "99999999"] {
            let facts = server_of(&with(&[("port", Some(port))])).unwrap();
            assert_eq!(facts.rpc_addr(), None, "{port}");
        }
    }

    #[test]
    fn clients_need_nothing_but_their_role() {
        let addr = "10.0.0.2:8301".parse().unwrap();
        let found = recognise(&map(&[("role", "node")]), "c1", addr);
        assert!(matches!(found, Some(MemberKind::Client(_))));
        assert_eq!(recognise(&TextMap::new(), "c1", addr), None);
    }

    #[test]
    fn names_lose_only_their_own_datacenter() {
        for (name, dc, want) in [
            ("s1.dc1", "dc1", "s1"),
            ("a.b.dc1", "dc1", "a.b"),
            ("s1.dc2", "dc1", "s1.dc2"),
            ("s1dc1", "dc1", "s1dc1"),
            ("s1", "dc1", "s1"),
        ] {
            assert_eq!(short_name(name, dc), want);
        }
    }
}
