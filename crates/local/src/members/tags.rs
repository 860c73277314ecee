//! The tags this agent tells others (spec gossip.md section 10.1).
//!
//! All of them together, in their wire form, must fit into 512 bytes; a server's take about 200.

use tribune_types::id::NodeId;
use tribune_types::text::{Text, TextMap, text};

use super::recognise::{AclMode, CLIENT_ROLE, SERVER_ROLE};

/// Carried by Tribune's servers, so that they recognise one another: a replicated log cannot be shared with servers of
/// another make. The value is the version of what Tribune's servers say to one another. Others ignore it.
pub const TRIBUNE_TAG: &str = "tribune";
/// Value of [`TRIBUNE_TAG`].
const TRIBUNE_VERSION: &str = "1";

/// A gossip pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// All agents of a datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

/// What the tags of an agent are made from.
#[derive(Debug, Clone)]
pub struct OwnTags {
    /// Datacenter.
    pub datacenter: Text,
    /// Node identity.
    pub id: NodeId,
    /// Version whose behaviour is offered, with its prerelease; `1.8.7`.
    pub version: Text,
    /// Revision; its first eight characters are told, without a dash at their end.
    pub revision: Text,
    /// State of the ACL system.
    pub acls: AclMode,
    /// Set on servers.
    pub server: Option<ServerTags>,
}

/// What a server tells besides.
#[derive(Debug, Clone, Default)]
pub struct ServerTags {
    /// Port of the server RPC.
    pub port: u16,
    /// Port of WAN gossip; `None` if that is off.
    pub wan_join_port: Option<u16>,
    /// Founds the cluster alone.
    pub bootstrap: bool,
    /// Servers that found the cluster together; 0 if not set, and 1 is the same as `bootstrap`.
    pub expect: u32,
    /// Takes no part in votes.
    pub non_voter: bool,
    /// A certificate authority is configured, so the server RPC offers TLS.
    pub use_tls: bool,
}

/// The tags of this agent in a pool.
pub fn own_tags(own: &OwnTags, pool: Pool) -> TextMap {
    let mut tags = TextMap::new();
    let mut put = |key: &str, value: &str| tags.insert(text(key), text(value));
    let short = own
        .revision
        .char_indices()
        .nth(8)
        .map_or(&*own.revision, |(end, _)| &own.revision[..end])
        .trim_end_matches('-');
    put("acls", own.acls.as_tag());
    put("build", &format!("{}:{short}", own.version));
    put("dc", &own.datacenter);
    put("id", &own.id.to_string());
    put("segment", "");
    put("vsn", "2");
    put("vsn_min", "2");
    put("vsn_max", "3");
    let Some(server) = &own.server else {
        put("role", CLIENT_ROLE);
        return tags;
    };
    put("role", SERVER_ROLE);
    put("port", &server.port.to_string());
    put("raft_vsn", "3");
    put("ft_fs", "1");
    put(TRIBUNE_TAG, TRIBUNE_VERSION);
    if let (Pool::Lan, Some(port)) = (pool, server.wan_join_port) {
        put("wan_join_port", &port.to_string());
    }
    if server.bootstrap || server.expect == 1 {
        put("bootstrap", "1");
    }
    if server.expect > 1 {
        put("expect", &server.expect.to_string());
    }
    if server.non_voter {
        put("nonvoter", "1");
    }
    if server.use_tls {
        put("use_tls", "1");
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::super::recognise::{MemberKind, is_tribune, recognise};
    use super::*;

    fn own(server: Option<ServerTags>) -> OwnTags {
        OwnTags {
            datacenter: text("dc1"),
            id: NodeId::from_random([7; 16]),
            version: text("1.8.7"),
            revision: text("3ef8ad84e1d22c2c"),
            acls: AclMode::Disabled,
            server,
        }
    }

    fn shown(tags: &TextMap) -> String {
        let pairs: Vec<String> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn a_client_says_what_clients_of_consul_say_and_nothing_else() {
        assert_eq!(
            shown(&own_tags(&own(None), Pool::Lan)),
            "acls=0 build=1.8.7:3ef8ad84 dc=dc1 id=07070707-0707-4707-8707-070707070707 role=node segment= vsn=2 \
             vsn_max=3 vsn_min=2"
        );
    }

    #[test]
    fn a_server_tells_its_ports_and_its_kind() {
        let server = ServerTags {
            port: 8300,
            wan_join_port: Some(8302),
            ..ServerTags::default()
        };
        let own = own(Some(server));
        let lan = own_tags(&own, Pool::Lan);
        assert_eq!(
            shown(&lan),
            "acls=0 build=1.8.7:3ef8ad84 dc=dc1 ft_fs=1 id=07070707-0707-4707-8707-070707070707 port=8300 raft_vsn=3 \
             role=consul segment= tribune=1 vsn=2 vsn_max=3 vsn_min=2 wan_join_port=8302"
        );
        assert_eq!(own_tags(&own, Pool::Wan).get("wan_join_port"), None);
        let addr = "10.0.0.1:8301".parse().unwrap();
        let Some(MemberKind::Server(facts)) = recognise(&lan, "s1", addr) else {
            panic!("not recognised");
        };
        assert_eq!(facts.wan_addr(), Some("10.0.0.1:8302".parse().unwrap()));
        assert!(facts.tribune && is_tribune(&lan));
    }

    #[test]
    fn founding_is_told_one_way() {
        // (bootstrap, expect, bootstrap tag, expect tag)
        for (bootstrap, expect, want_bootstrap, want_expect) in [
            (false, 0, None, None),
            (true, 0, Some("1"), None),
            (false, 1, Some("1"), None),
            (false, 3, None, Some("3")),
        ] {
            let server = ServerTags {
                bootstrap,
                expect,
                ..ServerTags::default()
            };
            let tags = own_tags(&own(Some(server)), Pool::Lan);
            assert_eq!(tags.get("bootstrap").map(|v| &**v), want_bootstrap);
            assert_eq!(tags.get("expect").map(|v| &**v), want_expect);
        }
    }

    #[test]
    fn a_short_revision_is_told_whole() {
        for (revision, want) in [
            ("", "1.8.7:"),
            ("abc", "1.8.7:abc"),
            ("12345678", "1.8.7:12345678"),
            ("tribune-0.1.0", "1.8.7:tribune"),
        ] {
            let own = OwnTags {
                revision: text(revision),
                ..own(None)
            };
            assert_eq!(
                own_tags(&own, Pool::Lan).get("build").map(|v| &**v),
                Some(want)
            );
        }
    }
}
