//! The LAN pool as the leader's reconciliation sees it: all members by name, and which of them changed lately.
//!
//! Fed by whoever runs the gossip pool, on every server, so that a new leader knows the pool at once. Names of changed
//! members queue up for the leader; of more than 256, the queue is given up and the whole pool is compared instead. While
//! this server does not lead, the queue fills up once and stays so, at no cost: taking the lead starts with a whole pass.
//!
//! Size: a member costs about 300 bytes, its texts shared with the tags that the pool keeps anyway.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tribune_leader::peers::PoolServer;
use tribune_leader::reconcile::{Agent, Member, NodeFacts, ServerFacts};
use tribune_local::members::{MemberKind, recognise};
use tribune_types::id::NodeId;
use tribune_types::member::Member as PoolMember;
use tribune_types::text::{Text, fold, text};
use tribune_types::time::Mono;

use crate::Server;

/// Changed members that wait for the leader. More: everything is compared.
const NEWS_MAX: usize = 256;
/// A pool known for a shorter time may still be incomplete: who is not in it may yet come.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// The pool.
#[derive(Default)]
pub(crate) struct Membership {
    pool: Mutex<Pool>,
    changed: Notify,
}

#[derive(Default)]
struct Pool {
    members: BTreeMap<Text, Member>,
    news: BTreeSet<Text>,
    overflown: bool,
    known_since: Option<Mono>,
}

/// What changed since the leader looked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// These members.
    Of(BTreeSet<Text>),
    /// More than can be told.
    Overflow,
}

impl Membership {
    /// Waits for news. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes the news.
    pub(crate) fn take_news(&self) -> News {
        let mut pool = self.pool.lock();
        let names = std::mem::take(&mut pool.news);
        if std::mem::take(&mut pool.overflown) {
            return News::Overflow;
        }
        News::Of(names)
    }

    /// One member.
    pub(crate) fn member(&self, name: &str) -> Option<Member> {
        self.pool.lock().members.get(name).cloned()
    }

    /// Names of all members, sorted.
    pub(crate) fn names(&self) -> Vec<Text> {
        self.pool.lock().members.keys().cloned().collect()
    }

    /// Names of all members as the catalog compares them, once the pool is known for long enough that who is missing is
    /// gone.
    pub(crate) fn settled(&self, now: Mono) -> Option<HashSet<String>> {
        let pool = self.pool.lock();
        pool.known_since
            .filter(|since| now >= *since + SETTLED_AFTER)?;
        Some(pool.members.keys().map(|name| fold(name)).collect())
    }

    fn set(&self, now: Mono, member: Member) {
        let mut pool = self.pool.lock();
        pool.known_since.get_or_insert(now);
        let old = pool.members.get(&member.name);
        if old == Some(&member) {
            return;
        }
        let name = member.name.clone();
        pool.members.insert(name.clone(), member);
        pool.tell(name);
        drop(pool);
        self.changed.notify_one();
    }

    fn forget(&self, name: &str) {
        let mut pool = self.pool.lock();
        let Some((name, _)) = pool.members.remove_entry(name) else {
            return;
        };
        pool.tell(name);
        drop(pool);
        self.changed.notify_one();
    }
}

impl Pool {
    fn tell(&mut self, name: Text) {
        if self.overflown {
            return;
        }
        self.news.insert(name);
        if self.news.len() > NEWS_MAX {
            self.news.clear();
            self.overflown = true;
        }
    }
}

impl Server {
    /// A member of the LAN pool is as given from now on. To be called for every member that the pool knows, when it is
    /// first seen and whenever its status, address or tags change. Cheap and never blocks; repeating it is harmless.
    pub fn on_member(&self, member: &PoolMember) {
        // The address book first: news of a member is followed by a look into it.
        let server = pool_server(&self.options().datacenter, member);
        self.directory().set(&member.name, server);
        let member = reconciled(&self.options().datacenter, member);
        self.membership().set(self.env().mono(), member);
    }

    /// The LAN pool has forgotten a member.
    pub fn on_member_reaped(&self, name: &str) {
        self.directory().forget(name);
        self.membership().forget(name);
    }
}

/// What the peer set wants to know of a member: nothing, if it is no server of this datacenter.
fn pool_server(datacenter: &str, member: &PoolMember) -> Option<PoolServer> {
    let ip: IpAddr = member.addr.parse().ok()?;
    let kind = recognise(&member.tags, &member.name, SocketAddr::new(ip, member.port))?;
    let MemberKind::Server(facts) = kind else {
        return None;
    };
    if *facts.datacenter != *datacenter || !facts.segment.is_empty() {
        return None;
    }
    Some(PoolServer {
        name: member.name.clone(),
        id: NodeId::parse(&facts.id).ok(),
        addr: facts.rpc_addr(),
        status: member.status,
        version: text(&facts.version.to_string()),
        expect: facts.expect,
        bootstrap: facts.bootstrap,
        voter: !facts.non_voter,
        ours: facts.tribune,
    })
}

/// What reconciliation wants to know of a member.
fn reconciled(datacenter: &str, member: &PoolMember) -> Member {
    Member {
        name: member.name.clone(),
        status: member.status,
        agent: agent_of(datacenter, member),
    }
}

fn agent_of(datacenter: &str, member: &PoolMember) -> Option<Agent> {
    let ip: IpAddr = member.addr.parse().ok()?;
    let kind = recognise(&member.tags, &member.name, SocketAddr::new(ip, member.port))?;
    let (id, server) = match kind {
        MemberKind::Client(facts) if *facts.datacenter == *datacenter => (facts.id, None),
        // Only the default segment; the others are Enterprise.
        MemberKind::Server(facts)
            if *facts.datacenter == *datacenter && facts.segment.is_empty() =>
        {
            let server = ServerFacts {
                port: facts.port,
                version: text(&facts.version.to_string()),
                raft_version: facts.raft_version,
                serf_protocol: member.protocol,
            };
            (facts.id, Some(server))
        }
        _ => return None,
    };
    Some(Agent {
        name: member.name.clone(),
        id: NodeId::parse(&id).ok(),
        address: member.addr.clone(),
        server,
        node: NodeFacts::default(),
    })
}

#[cfg(test)]
mod tests {
    use tribune_types::member::MemberStatus;
    use tribune_types::text::TextMap;

    use super::*;

    fn member(name: &str, status: MemberStatus) -> Member {
        Member {
            name: text(name),
            status,
            agent: None,
        }
    }

    fn of(names: &[&str]) -> News {
        News::Of(names.iter().map(|name| text(name)).collect())
    }

    #[test]
    fn only_changes_are_news() {
        let pool = Membership::default();
        let now = Mono(0);
        pool.set(now, member("a", MemberStatus::Alive));
        pool.set(now, member("b", MemberStatus::Alive));
        assert_eq!(pool.take_news(), of(&["a", "b"]));
        pool.set(now, member("a", MemberStatus::Alive));
        pool.forget("c");
        assert_eq!(pool.take_news(), of(&[]));
        pool.set(now, member("a", MemberStatus::Failed));
        pool.forget("b");
        assert_eq!(pool.take_news(), of(&["a", "b"]));
        assert_eq!(pool.member("b"), None);
    }

    #[test]
    fn too_much_news_is_told_as_such_and_then_forgotten() {
        let pool = Membership::default();
        for number in 0..=NEWS_MAX {
            pool.set(Mono(0), member(&number.to_string(), MemberStatus::Alive));
        }
        assert_eq!(pool.take_news(), News::Overflow);
        assert_eq!(pool.take_news(), of(&[]));
        pool.set(Mono(0), member("x", MemberStatus::Alive));
        assert_eq!(pool.take_news(), of(&["x"]));
    }

    #[test]
    fn a_pool_is_settled_a_minute_after_its_first_member() {
        let pool = Membership::default();
        assert_eq!(pool.settled(Mono(u64::MAX)), None);
        let start = Mono(0);
        pool.set(start, member("Web", MemberStatus::Left));
        pool.set(start + SETTLED_AFTER, member("b", MemberStatus::Alive));
        assert_eq!(pool.settled(start + Duration::from_secs(59)), None);
        let names = pool.settled(start + SETTLED_AFTER).unwrap();
        assert!(names.contains("web") && names.contains("b"));
    }

    #[test]
    fn only_agents_of_our_datacenter_concern_the_catalog() {
        // (tags, concerns the catalog, as a server)
        let server = [("role", "consul"), ("port", "8300"), ("vsn", "2")];
        let build = ("build", "1.8.7:");
        for (tags, concerns, is_server) in [
            (vec![("role", "node"), ("dc", "dc1")], true, false),
            (vec![("role", "node"), ("dc", "dc2")], false, false),
            (vec![("role", "other"), ("dc", "dc1")], false, false),
            (vec![], false, false),
            ([&server[..], &[("dc", "dc1"), build]].concat(), true, true),
            (
                [&server[..], &[("dc", "dc2"), build]].concat(),
                false,
                false,
            ),
            ([&server[..], &[("dc", "dc1")]].concat(), false, false),
            (
                [&server[..], &[("dc", "dc1"), build, ("segment", "s")]].concat(),
                false,
                false,
            ),
        ] {
            let member = PoolMember {
                name: text("a"),
                addr: text("10.0.0.1"),
                tags: tags
                    .iter()
                    .map(|(k, v)| (text(k), text(v)))
                    .collect::<TextMap>(),
                protocol: [1, 5, 2],
                ..PoolMember::default()
            };
            let agent = agent_of("dc1", &member);
            assert_eq!(agent.is_some(), concerns, "{tags:?}");
            let facts = agent.and_then(|agent| agent.server);
            assert_eq!(facts.is_some(), is_server, "{tags:?}");
            if let Some(facts) = facts {
                assert_eq!((facts.port, &*facts.version), (8300, "1.8.7"));
            }
        }
    }
}
