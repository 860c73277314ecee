//! Who may be in our pools (spec gossip.md section 10.3). Texts as Consul 1.8.7 gives them; they reach logs on both
//! sides, and operators search for them.
//!
//! Asked twice: about the whole table of a join, and about every single statement that a node is alive, our own
//! included. Knowing the wrong sort of member is what merges two clusters by accident, so the first refusal refuses a
//! join as a whole.
//!
//! A server of another make cannot share our replicated log, and would take ours for servers of its own. Our servers do
//! not believe statements that one is there; clients do, for a client may be moved from one kind to the other. A table of a
//! join that names one is merged without it: whoever brings it may have known that server before ours.

use std::collections::BTreeMap;

use tribune_types::id::NodeId;
use tribune_types::text::{Text, TextMap};

use super::number::version;
use super::recognise::{MemberKind, Role, Version, is_tribune, recognise, role_of};

/// Agents of this version on choose their identity so that it is unique; older ones may share that of their machine.
const UNIQUE_IDS_SINCE: Version = Version {
    major: 0,
    minor: 8,
    patch: 5,
};

/// The rules of one pool.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Own member name.
    pub name: Text,
    /// Which rules.
    pub pool: PoolRules,
}

/// What a pool asks of its members.
#[derive(Debug, Clone)]
pub enum PoolRules {
    /// One datacenter, one segment, every identity once.
    Lan {
        /// Own identity.
        id: NodeId,
        /// Own datacenter.
        datacenter: Text,
        /// Own segment; empty without Enterprise.
        segment: Text,
        /// This agent is a server.
        server: bool,
    },
    /// Servers only.
    Wan,
}

/// A member that is about to be believed.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Name.
    pub name: &'a str,
    /// Address.
    pub addr: std::net::SocketAddr,
    /// Tags.
    pub tags: &'a TextMap,
    /// The table of a join says that it left. Never for a single statement.
    pub left: bool,
}

/// Whether one statement that a node is alive may be believed.
///
/// # Errors
/// Why not.
pub fn check_alive(rules: &Rules, member: &Candidate<'_>) -> Result<(), String> {
    check_join(rules, std::slice::from_ref(member))?;
    match rules.pool {
        PoolRules::Lan { server: true, .. } => of_our_kind(member),
        PoolRules::Lan { .. } | PoolRules::Wan => Ok(()),
    }
}

/// Whether the table of a join may be merged.
///
/// # Errors
/// Why not, about the first member that is wrong.
pub fn check_join(rules: &Rules, members: &[Candidate<'_>]) -> Result<(), String> {
    match &rules.pool {
        PoolRules::Wan => members.iter().try_for_each(is_server),
        PoolRules::Lan {
            id,
            datacenter,
            segment,
            server: _,
        } => {
            let id = id.to_string();
            let mut owners = BTreeMap::new();
            members.iter().try_for_each(|member| {
                if !unique(&rules.name, &id, member, &mut owners)? {
                    return Ok(());
                }
                belongs(datacenter, segment, member)
            })
        }
    }
}

/// A server is of Tribune's own kind.
fn of_our_kind(member: &Candidate<'_>) -> Result<(), String> {
    if role_of(member.tags) == Some(Role::Server) && !is_tribune(member.tags) {
        return Err(format!(
            "Member '{}' is a server of another make, which cannot share the replicated log of Tribune's servers; give \
             it a datacenter of its own",
            member.name
        ));
    }
    Ok(())
}

fn is_server(member: &Candidate<'_>) -> Result<(), String> {
    match recognise(member.tags, member.name, member.addr) {
        Some(MemberKind::Server(_)) => Ok(()),
        _ => Err(format!("Member '{}' is not a server", member.name)),
    }
}

/// Checks the identity. False if nothing else is to be checked.
fn unique<'a>(
    own_name: &str,
    own_id: &str,
    member: &Candidate<'a>,
    owners: &mut BTreeMap<&'a str, &'a str>,
) -> Result<bool, String> {
    let Some(id) = member.tags.get("id").filter(|id| !id.is_empty()) else {
        return Ok(true);
    };
    if member.left {
        return Ok(false);
    }
    if **id == *own_id && member.name != own_name {
        return Err(format!(
            "Member '{}' has conflicting node ID '{id}' with this agent's ID",
            member.name
        ));
    }
    if let Some(owner) = owners.get(&**id) {
        return Err(format!(
            "Member '{}' has conflicting node ID '{id}' with member '{owner}'",
            member.name
        ));
    }
    let since = member.tags.get("build").and_then(|build| version(build));
    if since.is_some_and(|version| version >= UNIQUE_IDS_SINCE) {
        owners.insert(id, member.name);
    }
    Ok(true)
}

fn belongs(datacenter: &str, segment: &str, member: &Candidate<'_>) -> Result<(), String> {
    let told = match recognise(member.tags, member.name, member.addr) {
        Some(MemberKind::Server(facts)) => Some(facts.datacenter),
        Some(MemberKind::Client(facts)) => Some(facts.datacenter),
        None => None,
    };
    if let Some(told) = told.filter(|told| **told != *datacenter) {
        return Err(format!(
            "Member '{}' part of wrong datacenter '{told}'",
            member.name
        ));
    }
    let told = member.tags.get("segment").map_or("", |told| told);
    if told != segment {
        return Err(format!(
            "Member '{}' part of wrong segment '{told}' (expected '{segment}')",
            member.name
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    const OWN: &str = "07070707-0707-4707-8707-070707070707";
    const OTHER: &str = "08080808-0808-4808-8808-080808080808";

    fn lan() -> Rules {
        Rules {
            name: text("me"),
            pool: PoolRules::Lan {
                id: NodeId::from_random([7; 16]),
                datacenter: text("dc1"),
                segment: Text::default(),
                server: false,
            },
        }
    }

    fn tags(changes: &[(&str, &str)]) -> TextMap {
        let base = [
            ("role", "node"),
            ("dc", "dc1"),
            ("segment", ""),
            ("build", "1.8.7:3ef8ad84"),
            ("vsn", "2"),
            ("port", "8300"),
        ];
        let pairs = base.iter().chain(changes);
        pairs.map(|(k, v)| (text(k), text(v))).collect()
    }

    fn member<'a>(name: &'a str, tags: &'a TextMap) -> Candidate<'a> {
        Candidate {
            name,
            addr: "10.0.0.1:8301".parse().unwrap(),
            tags,
            left: false,
        }
    }

    #[test]
    fn a_lan_member_is_of_our_datacenter_and_segment() {
        // (name, tags, refusal)
        for (name, changes, want) in [
            ("a", vec![], ""),
            ("a", vec![("id", OTHER)], ""),
            ("me", vec![("id", OWN)], ""),
            (
                "a",
                vec![("id", OWN)],
                "Member 'a' has conflicting node ID '07070707-0707-4707-8707-070707070707' with this agent's ID",
            ),
            (
                "ME",
                vec![("id", OWN)],
                "Member 'ME' has conflicting node ID '07070707-0707-4707-8707-070707070707' with this agent's ID",
            ),
            (
                "a",
                vec![("dc", "dc2")],
                "Member 'a' part of wrong datacenter 'dc2'",
            ),
            (
                "a",
                vec![("dc", "DC1")],
                "Member 'a' part of wrong datacenter 'DC1'",
            ),
            (
                "a",
                vec![("dc", "")],
                "Member 'a' part of wrong datacenter ''",
            ),
            (
                "s",
                vec![("role", "consul"), ("dc", "dc2")],
                "Member 's' part of wrong datacenter 'dc2'",
            ),
            // What is neither client nor server is of no datacenter.
            ("x", vec![("role", "other"), ("dc", "dc2")], ""),
            (
                "s",
                vec![("role", "consul"), ("port", "x"), ("dc", "dc2")],
                "",
            ),
            (
                "a",
                vec![("segment", "alpha")],
                "Member 'a' part of wrong segment 'alpha' (expected '')",
            ),
            (
                "x",
                vec![("role", "other"), ("segment", "b")],
                "Member 'x' part of wrong segment 'b' (expected '')",
            ),
            // The datacenter comes first.
            (
                "a",
                vec![("dc", "dc2"), ("segment", "b")],
                "Member 'a' part of wrong datacenter 'dc2'",
            ),
        ] {
            let tags = tags(&changes);
            let found = check_alive(&lan(), &member(name, &tags)).err();
            assert_eq!(found.unwrap_or_default(), want, "{name} {changes:?}");
        }
    }

    #[test]
    fn servers_do_not_believe_in_servers_of_another_make_and_clients_do() {
        let mut rules = lan();
        let theirs = tags(&[("role", "consul"), ("id", OTHER)]);
        let ours = tags(&[("role", "consul"), ("id", OTHER), ("tribune", "1")]);
        let client = tags(&[("id", OTHER)]);
        for server in [false, true] {
            if let PoolRules::Lan { server: own, .. } = &mut rules.pool {
                *own = server;
            }
            let refused = |tags| check_alive(&rules, &member("s", tags)).is_err();
            assert_eq!(refused(&theirs), server);
            assert!(!refused(&ours) && !refused(&client));
            // Whoever brings a table may have known such a server before.
            assert_eq!(check_join(&rules, &[member("s", &theirs)]), Ok(()));
        }
    }

    #[test]
    fn a_member_without_tags_passes() {
        let none = TextMap::new();
        assert_eq!(check_alive(&lan(), &member("a", &none)), Ok(()));
    }

    #[test]
    fn a_member_that_left_is_not_looked_at_if_it_has_an_identity() {
        let wrong = tags(&[("id", OWN), ("dc", "dc2")]);
        let left = Candidate {
            left: true,
            ..member("a", &wrong)
        };
        assert_eq!(check_join(&lan(), &[left]), Ok(()));
        let nameless = tags(&[("dc", "dc2")]);
        let left = Candidate {
            left: true,
            ..member("a", &nameless)
        };
        assert!(check_join(&lan(), &[left]).is_err());
    }

    #[test]
    fn an_identity_appears_once_in_a_join() {
        let new = tags(&[("id", OTHER)]);
        let old = tags(&[("id", OTHER), ("build", "0.8.4:")]);
        let odd = tags(&[("id", OTHER), ("build", "devel")]);
        let conflict = |name: &str, with: &str| {
            Err(format!(
                "Member '{name}' has conflicting node ID '{OTHER}' with member '{with}'"
            ))
        };
        let check = |members: &[(&str, &TextMap)]| {
            let members: Vec<_> = members.iter().map(|(n, t)| member(n, t)).collect();
            check_join(&lan(), &members)
        };
        assert_eq!(check(&[("a", &new), ("b", &new)]), conflict("b", "a"));
        // Old agents do not enter the comparison, but are compared.
        assert_eq!(check(&[("a", &old), ("b", &new)]), Ok(()));
        assert_eq!(check(&[("a", &new), ("b", &old)]), conflict("b", "a"));
        assert_eq!(check(&[("a", &odd), ("b", &odd)]), Ok(()));
    }

    #[test]
    fn the_first_wrong_member_names_the_refusal() {
        let good = tags(&[]);
        let wrong = tags(&[("dc", "dc3")]);
        let members = [member("a", &good), member("b", &wrong), member("c", &wrong)];
        assert_eq!(
            check_join(&lan(), &members),
            Err("Member 'b' part of wrong datacenter 'dc3'".to_owned())
        );
        assert_eq!(check_join(&lan(), &[]), Ok(()));
    }

    #[test]
    fn the_wan_is_for_servers_of_any_datacenter() {
        let wan = Rules {
            name: text("me.dc1"),
            pool: PoolRules::Wan,
        };
        for (changes, fine) in [
            (vec![("role", "consul"), ("dc", "dc7")], true),
            (vec![("role", "consul"), ("port", "x")], false),
            (vec![("role", "node")], false),
            (vec![("role", "other")], false),
        ] {
            let tags = tags(&changes);
            let found = check_alive(&wan, &member("a.dc7", &tags));
            let want = Err("Member 'a.dc7' is not a server".to_owned());
            assert_eq!(found, if fine { Ok(()) } else { want }, "{changes:?}");
        }
        let left = TextMap::new();
        let left = Candidate {
            left: true,
            ..member("gone", &left)
        };
        assert!(check_join(&wan, &[left]).is_err());
    }
}
