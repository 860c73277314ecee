//! What Consul does with the WAN pool: the servers of all datacenters in one pool (spec gossip.md sections 10.1, 10.3, 10.4).
//!
//! In: news of both pools. Out: the members for the router, and joins of the own datacenter's servers, so that one server
//! that joins another datacenter brings the others with it (flood join). A server without a WAN port has no such pool.

use std::net::{IpAddr, SocketAddr};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tribune_config::Config;
use tribune_local::members::{MemberKind, PoolRules, Role, Rules, ServerFacts, recognise, role_of};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_serf::MemberChange;
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::{Text, text};

use super::{Admission, News, Pool, PoolError, PoolOptions, Subscription, consul};
use crate::Handle;
use crate::federation::Router;
use crate::info::Identity;

/// Between two looks for servers of the datacenter that are not in the WAN pool, if nobody comes.
const FLOOD_INTERVAL: Duration = Duration::from_secs(60);
/// How often the router is told again: a leave that was refuted, for one, is no news.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Starts the WAN pool of a server; `None` on clients, and where it is turned off.
///
/// # Errors
/// What cannot be bound or read.
pub(crate) fn start_wan(
    env: &Env,
    tasks: &TaskGroup,
    config: &Config,
    identity: &Identity,
    revision: &str,
) -> Result<Option<Pool>, PoolError> {
    if !identity.server {
        return Ok(None);
    }
    let name = wan_name(&identity.node, &identity.datacenter);
    let admission = Admission {
        networks: config.addrs.serf_wan_allowed.clone(),
        rules: Rules {
            name: name.clone(),
            pool: PoolRules::Wan,
        },
    };
    let kind = tribune_local::members::Pool::Wan;
    let tags = consul::tags(config, identity, revision, kind);
    match PoolOptions::wan(config, name, tags, Arc::new(admission)) {
        Some(options) => Pool::start(env, tasks, options).map(Some),
        None => Ok(None),
    }
}

/// Name of a server in the WAN pool.
pub(crate) fn wan_name(node: &str, datacenter: &str) -> Text {
    text(&format!("{node}.{datacenter}"))
}

/// Declares a failed server of the datacenter as left in both pools, any other agent in the LAN pool; as
/// [`Pool::force_leave`]. False if the LAN pool does not know it; nothing is done then.
///
/// # Errors
/// As there.
pub(crate) async fn force_leave(
    lan: &Pool,
    wan: Option<&Pool>,
    datacenter: &str,
    node: &str,
    prune: bool,
) -> Result<bool, &'static str> {
    if !lan.is_known(node) {
        return Ok(false);
    }
    let Some(wan) = wan else {
        return lan.force_leave(node, prune).await;
    };
    let suffixed = node
        .strip_suffix(datacenter)
        .is_some_and(|rest| rest.ends_with('.'));
    let name = if suffixed {
        text(node)
    } else {
        wan_name(node, datacenter)
    };
    // At the same time: pruning takes seconds in each.
    let (here, there) = tokio::join!(lan.force_leave(node, prune), wan.force_leave(&name, prune));
    there?;
    here
}

/// Runs what Consul does with the WAN pool, as tasks.
pub(crate) fn run_wan(handle: &Handle, lan: &Pool, wan: &Pool, tasks: &TaskGroup) {
    let stop = tasks.stop().clone();
    let news = lan.subscribe();
    let datacenter = handle.identity().datacenter.clone();
    let flood = flood(lan.clone(), wan.clone(), datacenter, news, stop.clone());
    tasks.spawn("wan-flood", flood);
    let Some(router) = handle.inner.cluster.router() else {
        return;
    };
    router.set_pool(wan.clone());
    let news = wan.subscribe();
    tasks.spawn(
        "wan-members",
        follow_members(Arc::clone(router), wan.clone(), news, stop),
    );
}

/// Tells the router who is in the pool.
async fn follow_members(
    router: Arc<Router>,
    wan: Pool,
    mut news: Subscription,
    stop: CancellationToken,
) {
    let env = wan.env().clone();
    loop {
        router.set_members(&wan.members());
        let again = env.mono() + TELL_AGAIN;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            first = news.next() => if first.is_none() {
                return;
            },
            () = env.sleep_until(again) => {}
        }
        // One look for all of them.
        while news.try_next().is_some() {}
    }
}

/// Joins the servers of the datacenter that are not in the WAN pool, now, whenever one comes, and every minute.
async fn flood(
    lan: Pool,
    wan: Pool,
    datacenter: Text,
    mut news: Subscription,
    stop: CancellationToken,
) {
    let env = wan.env().clone();
    loop {
        let missing = missing(&lan.members(), &wan.members(), &datacenter);
        // Side by side: one that says nothing does not hold up the others.
        let joins = missing.iter().map(|addr| wan.join(slice::from_ref(addr)));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = join_all(joins) => {}
        }
        let again = env.mono() + FLOOD_INTERVAL;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                came = news.next() => match came {
                    None => return,
                    Some(news) if brings_a_server(&news) => break,
                    Some(_) => {}
                },
                () = env.sleep_until(again) => break,
            }
        }
        while news.try_next().is_some() {}
    }
}

fn brings_a_server(news: &News) -> bool {
    match news {
        News::Lost => true,
        News::Changed(change, member) => {
            *change == MemberChange::Joined && role_of(&member.tags) == Some(Role::Server)
        }
    }
}

/// Addresses, in the form of joins, of the datacenter's servers that the WAN pool does not know, in whatever state.
fn missing(lan: &[Member], wan: &[Member], datacenter: &str) -> Vec<String> {
    let there: Vec<Text> = wan
        .iter()
        .filter_map(server)
        .filter(|facts| *facts.datacenter == *datacenter)
        .map(|facts| facts.name)
        .collect();
    lan.iter()
        .filter(|member| member.status == MemberStatus::Alive)
        .filter_map(|member| {
            let facts = server(member)?;
            let name = wan_name(&facts.name, datacenter);
            if there.contains(&name) {
                return None;
            }
            Some(format!("{name}/{}", facts.wan_addr()?))
        })
        .collect()
}

fn server(member: &Member) -> Option<Box<ServerFacts>> {
    let ip: IpAddr = member.addr.parse().ok()?;
    let addr = SocketAddr::new(ip, member.port);
    match recognise(&member.tags, &member.name, addr)? {
        MemberKind::Server(facts) => Some(facts),
        MemberKind::Client(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, addr: &str, status: MemberStatus, tags: &[(&str, &str)]) -> Member {
        let base = [
            ("role", "consul"),
            ("dc", "dc1"),
            ("port", "8300"),
            ("vsn", "2"),
            ("build", "1.8.7:"),
        ];
        Member {
            name: text(name),
            addr: text(addr),
            port: 8301,
            tags: base
                .iter()
                .chain(tags)
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            status,
            protocol: [1, 5, 2],
            delegate: [2, 5, 4],
        }
    }

    #[test]
    fn servers_that_the_wan_pool_does_not_know_are_joined_where_they_say() {
        use MemberStatus::{Alive, Failed, Left};
        let port = ("wan_join_port", "9302");
        // (LAN member, WAN members, what is joined)
        for (lan, wan, want) in [
            (
                member("s1", "10.0.0.1", Alive, &[port]),
                vec![],
                Some("s1.dc1/10.0.0.1:9302"),
            ),
            (
                member("s1", "fd00::1", Alive, &[port]),
                vec![],
                Some("s1.dc1/[fd00::1]:9302"),
            ),
            // Known in whatever state: failed members are tried by the pool itself.
            (
                member("s1", "10.0.0.1", Alive, &[port]),
                vec![member("s1.dc1", "10.0.0.1", Failed, &[])],
                None,
            ),
            (
                member("s1", "10.0.0.1", Alive, &[port]),
                vec![member("s1.dc1", "10.0.0.1", Left, &[])],
                None,
            ),
            // The namesake of another datacenter is another server.
            (
                member("s1", "10.0.0.1", Alive, &[port]),
                vec![member("s1.dc2", "10.0.0.9", Alive, &[("dc", "dc2")])],
                Some("s1.dc1/10.0.0.1:9302"),
            ),
            (
                member("s1", "10.0.0.1", Alive, &[port]),
                vec![member("s1.dc1", "10.0.0.9", Alive, &[("dc", "dc2")])],
                Some("s1.dc1/10.0.0.1:9302"),
            ),
            // Neither there, nor with a WAN port, nor a server.
            (member("s1", "10.0.0.1", Failed, &[port]), vec![], None),
            (member("s1", "10.0.0.1", Alive, &[]), vec![], None),
            (
                member("s1", "10.0.0.1", Alive, &[("wan_join_port", "0")]),
                vec![],
                None,
            ),
            (
                member("s1", "10.0.0.1", Alive, &[port, ("role", "node")]),
                vec![],
                None,
            ),
        ] {
            let found = missing(std::slice::from_ref(&lan), &wan, "dc1");
            let want: Vec<String> = want.map(str::to_owned).into_iter().collect();
            assert_eq!(found, want, "{lan:?} {wan:?}");
        }
    }
}
