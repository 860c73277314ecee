//! What Consul does with the LAN pool: its tags and rules, user events, the list of servers, the catalog's members, a full
//! sync when servers come (spec gossip.md section 10, agent.md section 2).
//!
//! In: the pool's user events and news of members. Out: events for this agent, servers for a client, members for the
//! leader of a server. The codec of events is `tribune-wire`, the rules are `tribune_local::members`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};
use tribune_config::Config;
use tribune_local::members::{
    AclMode, MemberKind, OwnTags, PoolRules, Role, Rules, ServerTags, own_tags, recognise, role_of,
};
use tribune_local::sync_delay_on_join;
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_serf::MemberChange;
use tribune_types::event::UserEvent;
use tribune_types::id::NodeId;
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::{Text, TextMap, text};

use super::options::EVENTS_MAX;
use super::{
    Admission, Fired, News, Pool, PoolError, PoolOptions, Subscription, codec, coordinates, wan,
};
use crate::Handle;
use crate::client::ServerAddr;
use crate::info::{COMPATIBLE_VERSION, Identity};
use crate::remote_exec;

/// A server gained the lead.
const NEW_LEADER: &str = "consul:new-leader";
/// Bytes of a leader's name that are shown.
const LEADER_NAME_MAX: usize = 512;
/// What stands before the names of users' events.
const USER_EVENT: &str = "consul:event:";
/// What all names of Consul's own events begin with.
const CONSUL_EVENT: &str = "consul:";

/// What is left to run for a LAN pool once there is a handle.
pub(crate) struct LanParts {
    events: mpsc::Receiver<Fired>,
    news: Subscription,
}

/// Starts the LAN pool of an agent.
///
/// # Errors
/// What cannot be bound or read.
pub(crate) fn start_lan(
    env: &Env,
    tasks: &TaskGroup,
    config: &Config,
    identity: &Identity,
    revision: &str,
) -> Result<(Pool, LanParts), PoolError> {
    let (events_tx, events) = mpsc::channel(EVENTS_MAX);
    let rules = Rules {
        name: identity.node.clone(),
        pool: PoolRules::Lan {
            id: identity.id,
            datacenter: identity.datacenter.clone(),
            segment: Text::default(),
            server: identity.server,
        },
    };
    let admission = Admission {
        networks: config.addrs.serf_lan_allowed.clone(),
        rules,
    };
    let options = PoolOptions::lan(
        config,
        identity.node.clone(),
        tags(
            config,
            identity,
            revision,
            tribune_local::members::Pool::Lan,
        ),
        Arc::new(admission),
        events_tx,
    );
    let pool = Pool::start(env, tasks, options)?;
    let news = pool.subscribe();
    Ok((pool, LanParts { events, news }))
}

/// The tags of this agent in a pool.
pub(crate) fn tags(
    config: &Config,
    identity: &Identity,
    revision: &str,
    pool: tribune_local::members::Pool,
) -> TextMap {
    let tls = &config.reloadable.tls;
    let server = identity.server.then(|| ServerTags {
        port: config.addrs.rpc_advertise.port(),
        wan_join_port: config.addrs.serf_wan_advertise.map(|addr| addr.port()),
        bootstrap: config.server.bootstrap,
        expect: config.server.bootstrap_expect,
        non_voter: false,
        use_tls: tls.ca_file.is_some() || tls.ca_path.is_some(),
    });
    let own = OwnTags {
        datacenter: identity.datacenter.clone(),
        id: identity.id,
        version: text(COMPATIBLE_VERSION),
        revision: text(revision),
        acls: if config.acl.enabled {
            AclMode::Enabled
        } else {
            AclMode::Disabled
        },
        server,
    };
    own_tags(&own, pool)
}

/// Runs what Consul does with the LAN pool, as tasks.
pub(crate) fn run_lan(handle: &Handle, pool: &Pool, parts: LanParts, tasks: &TaskGroup) {
    let stop = tasks.stop().clone();
    let servers_came = Arc::new(Notify::new());
    tasks.spawn(
        "gossip-events",
        receive_events(
            handle.clone(),
            pool.clone(),
            parts.events,
            Arc::clone(&servers_came),
            stop.clone(),
        ),
    );
    tasks.spawn(
        "gossip-members",
        follow_members(
            handle.clone(),
            pool.clone(),
            parts.news,
            Arc::clone(&servers_came),
            stop.clone(),
        ),
    );
    tasks.spawn(
        "gossip-sync",
        sync_when_servers_come(handle.clone(), pool.clone(), servers_came, stop.clone()),
    );
    if !handle.config().coordinate.disabled {
        tasks.spawn(
            "coordinates",
            coordinates::run(handle.clone(), pool.clone(), stop.clone()),
        );
    }
    if !handle.config().flags.disable_remote_exec && !handle.inner.local.env().is_sim() {
        let orders = handle.inner.local.events.take_orders();
        tasks.spawn(
            "remote-exec",
            remote_exec::run(handle.clone(), orders, tasks.clone()),
        );
    }
    if let Some(server) = handle.inner.cluster.server() {
        if let Some(names) = server.take_force_leaves() {
            tasks.spawn(
                "gossip-force-leave",
                force_out(handle.clone(), pool.clone(), names, stop.clone()),
            );
        }
        tasks.spawn(
            "gossip-leader",
            announce_lead(handle.clone(), pool.clone(), stop),
        );
    }
}

/// The Serf name and the payload of a user event.
pub(crate) fn encode_event(event: &UserEvent) -> (String, Vec<u8>) {
    let name = format!("{USER_EVENT}{}", event.name);
    let mut payload = Vec::new();
    codec::pack_event(event, &mut payload);
    (name, payload)
}

async fn receive_events(
    handle: Handle,
    pool: Pool,
    mut events: mpsc::Receiver<Fired>,
    servers_came: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let fired = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            fired = events.recv() => match fired {
                Some(fired) => fired,
                None => return,
            },
        };
        if &*fired.name == NEW_LEADER {
            if let Some(suppressed) = pool.may_warn() {
                let name = fired
                    .payload
                    .get(..LEADER_NAME_MAX)
                    .unwrap_or(&fired.payload);
                let name = String::from_utf8_lossy(name);
                match suppressed {
                    0 => info!("New leader elected: payload={name}"),
                    _ => info!(suppressed, "New leader elected: payload={name}"),
                }
            }
            servers_came.notify_one();
        } else if let Some(name) = fired.name.strip_prefix(USER_EVENT) {
            match codec::unpack_event(&fired.payload) {
                Ok(event) => {
                    debug!("User event: event={name}");
                    handle.inner.local.receive_event(UserEvent {
                        ltime: fired.ltime,
                        ..event
                    });
                }
                Err(err) => {
                    if let Some(suppressed) = pool.may_warn() {
                        warn!(event = %name, %err, suppressed, "failed to decode an event");
                    }
                }
            }
        } else if fired.name.starts_with(CONSUL_EVENT)
            && let Some(suppressed) = pool.may_warn()
        {
            warn!(event = %fired.name, suppressed, "unhandled event of another agent");
        }
    }
}

/// How often a server is told everything again: a leave that was refuted, for one, changes how a member looks and is no
/// news. What the server knows already costs it nothing.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Tells the rest of the agent what the pool knows.
async fn follow_members(
    handle: Handle,
    pool: Pool,
    mut news: Subscription,
    servers_came: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut told = Told {
        handle,
        pool,
        names: BTreeSet::new(),
        servers: false,
    };
    told.everything();
    let env = told.pool.env().clone();
    let is_server = told.handle.inner.cluster.server().is_some();
    let mut again = env.mono() + TELL_AGAIN;
    loop {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            first = news.next() => match first {
                Some(first) => first,
                None => return,
            },
            () = env.sleep_until(again), if is_server => {
                again = env.mono() + TELL_AGAIN;
                told.everything();
                continue;
            }
        };
        let mut servers = false;
        let mut next = Some(first);
        while let Some(one) = next {
            match one {
                News::Lost => {
                    told.everything();
                    servers = true;
                }
                News::Changed(change, member) => {
                    let server = role_of(&member.tags) == Some(Role::Server);
                    servers |= server;
                    if server && change == MemberChange::Joined {
                        servers_came.notify_one();
                    }
                    told.one(change, &member);
                }
            }
            next = news.try_next();
        }
        if servers {
            told.servers();
        }
    }
}

/// What the rest of the agent was told.
struct Told {
    handle: Handle,
    pool: Pool,
    /// Members that the server knows of.
    names: BTreeSet<Text>,
    /// A client knows of a server.
    servers: bool,
}

impl Told {
    /// Tells all there is, and what is no longer there.
    fn everything(&mut self) {
        self.servers();
        let Some(server) = self.handle.inner.cluster.server() else {
            return;
        };
        let members = self.pool.members();
        let names: BTreeSet<Text> = members.iter().map(|member| member.name.clone()).collect();
        for gone in self.names.difference(&names) {
            server.on_member_reaped(gone);
        }
        for member in members.iter() {
            server.on_member(member);
        }
        self.names = names;
    }

    fn one(&mut self, change: MemberChange, member: &Member) {
        let Some(server) = self.handle.inner.cluster.server() else {
            return;
        };
        if change == MemberChange::Reaped {
            self.names.remove(&member.name);
            server.on_member_reaped(&member.name);
        } else {
            self.names.insert(member.name.clone());
            server.on_member(member);
        }
    }

    /// Gives a client the servers of its datacenter that are there.
    fn servers(&mut self) {
        let Some(client) = self.handle.inner.cluster.client() else {
            return;
        };
        let members = self.pool.members();
        let servers: Vec<ServerAddr> = members.iter().filter_map(server_of).collect();
        if servers.is_empty() && !std::mem::take(&mut self.servers) {
            // None before, none now.
            return;
        }
        self.servers = !servers.is_empty();
        client.set_servers(servers);
    }
}

fn server_of(member: &Member) -> Option<ServerAddr> {
    if member.status != MemberStatus::Alive {
        return None;
    }
    let ip: IpAddr = member.addr.parse().ok()?;
    let addr = SocketAddr::new(ip, member.port);
    match recognise(&member.tags, &member.name, addr)? {
        MemberKind::Server(facts) => Some(ServerAddr {
            addr: facts.rpc_addr()?,
            id: { NodeId::parse(&facts.id).ok() }.filter(|_| facts.tribune),
            name: facts.short_name,
            datacenter: facts.datacenter,
        }),
        MemberKind::Client(_) => None,
    }
}

/// A server that came may know less than the one before: compare everything a moment later, not all agents at once.
async fn sync_when_servers_come(
    handle: Handle,
    pool: Pool,
    servers_came: Arc<Notify>,
    stop: CancellationToken,
) {
    let env = pool.env().clone();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = servers_came.notified() => {}
        }
        let random = env.random_below(1 << 32) as f64 / (1u64 << 32) as f64;
        let delay = sync_delay_on_join(pool.member_count(), random);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = env.sleep(delay) => handle.inner.local.sync.full.notify_one(),
        }
    }
}

/// Takes failed servers for left, when the leader gives them up.
async fn force_out(
    handle: Handle,
    pool: Pool,
    mut names: mpsc::Receiver<Text>,
    stop: CancellationToken,
) {
    let datacenter = &handle.identity().datacenter;
    let wan = handle.inner.wan.as_ref();
    loop {
        let name = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            name = names.recv() => match name {
                Some(name) => name,
                None => return,
            },
        };
        let forced = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            forced = wan::force_leave(&pool, wan, datacenter, &name, false) => forced,
        };
        if let Err(err) = forced {
            warn!(server = %name, %err, "failed to force a server out of the pool");
        }
    }
}

/// Tells all agents when this server has gained the lead.
async fn announce_lead(handle: Handle, pool: Pool, stop: CancellationToken) {
    let Some(server) = handle.inner.cluster.server() else {
        return;
    };
    let mut led = false;
    loop {
        let changed = server.leading_changed();
        tokio::pin!(changed);
        // Enabled before the look, so that no change falls between.
        changed.as_mut().enable();
        let leads = server.is_leader();
        if leads && !led {
            let name = handle.identity().node.as_bytes().to_vec();
            if let Err(err) = pool.fire(NEW_LEADER, name).await {
                warn!(%err, "failed to announce the new leader");
            }
        }
        led = leads;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_our_kind_that_lives_is_known_by_its_identity() {
        let id = NodeId::from_random([7; 16]);
        let ours = OwnTags {
            datacenter: text("dc1"),
            id,
            version: text(COMPATIBLE_VERSION),
            revision: text("r"),
            acls: AclMode::Disabled,
            server: Some(ServerTags {
                port: 8300,
                wan_join_port: None,
                bootstrap: false,
                expect: 0,
                non_voter: false,
                use_tls: false,
            }),
        };
        let ours = own_tags(&ours, tribune_local::members::Pool::Lan);
        let without = |tag: &str| {
            let mut tags = ours.clone();
            tags.remove(tag);
            tags
        };
        let mut odd = ours.clone();
        odd.insert(text("id"), text("none"));
        // (tags, status, server, identity)
        for (tags, status, server, want) in [
            (ours.clone(), MemberStatus::Alive, true, Some(id)),
            (without("tribune"), MemberStatus::Alive, true, None),
            (without("id"), MemberStatus::Alive, true, None),
            (odd, MemberStatus::Alive, true, None),
            (ours.clone(), MemberStatus::Failed, false, None),
            (without("role"), MemberStatus::Alive, false, None),
        ] {
            let member = Member {
                name: text("s1"),
                addr: text("10.0.0.1"),
                port: 8301,
                tags,
                status,
                protocol: [1, 5, 2],
                delegate: [2, 5, 4],
            };
            let found = server_of(&member);
            assert_eq!(found.is_some(), server, "{member:?}");
            assert_eq!(found.and_then(|found| found.id), want, "{member:?}");
        }
    }
}
