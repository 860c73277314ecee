//! Keeps the peer set and the catalog in step with the gossip pool, while this server leads (gossip.md section 10.8, rpc.md
//! section 8.2). The peer set comes first: a server that left must not count while its node is written about.
//!
//! News of single members is carried out at once; every minute, and at the start of a term, the whole pool is compared
//! with the catalog, which repairs whatever was missed. What a member needs is planned by `tribune_leader::reconcile`;
//! here the plans are proposed, up to 64 at a time, since a rack that fails should not wait for one sync of the log per
//! node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metrics::histogram;
use tracing::{info, warn};
use tribune_leader::reconcile::{self, Agent, Known, ServerFacts, Step};
use tribune_rt::Stopwatch;
use tribune_state::Version;
use tribune_types::catalog::{CONSUL_SERVICE, SERF_HEALTH};
use tribune_types::command::Command;
use tribune_types::error::RpcError;
use tribune_types::text::{Text, fold, text};

use crate::Server;
use crate::joining::Joining;
use crate::membership::News;

/// How often membership is compared with the catalog as a whole.
const EVERY: Duration = Duration::from_secs(60);
/// Least time between whole passes that were forced by too much news.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a change of the peer set is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Changes proposed at a time.
const AT_ONCE: usize = 64;
/// What every server of 1.8 speaks: min, max, current.
const SERF_PROTOCOL: [u8; 3] = [1, 5, 2];

/// Follows the pool. Never returns; is dropped at the end of the term.
pub(crate) async fn run(server: &Server) {
    let env = server.env();
    let mut joining = Joining::default();
    let mut again = whole_pass(server, &mut joining).await;
    let mut next = env.mono() + EVERY;
    loop {
        let retry = async {
            match again.is_empty() {
                true => std::future::pending().await,
                false => env.sleep(RETRY).await,
            }
        };
        tokio::select! {
            biased;
            () = env.sleep_until(next) => {
                if let Err(err) = register_self(server).await {
                    warn!(%err, "failed to reconcile");
                }
                again = whole_pass(server, &mut joining).await;
                next = env.mono() + EVERY;
            }
            () = server.membership().changed() => match server.membership().take_news() {
                News::Of(names) => {
                    again.append(&mut follow(server, &mut joining, &names).await);
                    reconcile(server, &names).await;
                }
                News::Overflow => {
                    again = whole_pass(server, &mut joining).await;
                    env.sleep(OVERFLOW_PAUSE).await;
                }
            },
            () = retry => {
                let names = std::mem::take(&mut again);
                again = follow(server, &mut joining, &names).await;
            }
        }
    }
}

/// Registers this server itself, if the catalog is not right about it.
pub(crate) async fn register_self(server: &Server) -> Result<(), RpcError> {
    let options = server.options();
    let agent = Agent {
        name: options.node.clone(),
        id: Some(options.id),
        address: text(&options.advertise.to_string()),
        server: Some(ServerFacts {
            port: i64::from(options.rpc_port),
            version: options.version.clone(),
            raft_version: 3,
            serf_protocol: SERF_PROTOCOL,
        }),
        node: options.node_facts.clone(),
    };
    let version = server.store().load().version.clone();
    let known = Facts::of(&version, &options.node);
    let Some(register) = reconcile::alive(&options.datacenter, &agent, known.borrowed()) else {
        return Ok(());
    };
    server
        .propose(Command::Register(Box::new(register)))
        .await?;
    info!(node = %options.node, "member joined, marking health alive");
    Ok(())
}

/// Brings the peer set in line about these members. What comes out has to be tried again.
async fn follow(server: &Server, joining: &mut Joining, names: &BTreeSet<Text>) -> BTreeSet<Text> {
    let mut again = BTreeSet::new();
    for name in names {
        if !joining.follow(server, name).await {
            again.insert(name.clone());
        }
    }
    again
}

/// Compares everything: all members, and all nodes of the catalog that were members once. What comes out are the members
/// about which the peer set is not right yet.
async fn whole_pass(server: &Server, joining: &mut Joining) -> BTreeSet<Text> {
    let _timed = Stopwatch::start(server.env(), &histogram!("leader.reconcile"));
    // Whatever is news now is part of the pass.
    server.membership().take_news();
    let mut names: BTreeSet<Text> = server.membership().names().into_iter().collect();
    if let Some(settled) = server.membership().settled(server.env().mono()) {
        let version = server.store().load().version.clone();
        let gone = version.nodes().filter(|node| {
            !settled.contains(&fold(&node.name)) && version.check(&node.name, SERF_HEALTH).is_some()
        });
        names.extend(gone.map(|node| node.name.clone()));
    }
    let again = follow(server, joining, &names).await;
    reconcile(server, &names).await;
    again
}

async fn reconcile(server: &Server, names: &BTreeSet<Text>) {
    let mut names = names.iter();
    loop {
        let steps: Vec<(Text, Step)> = {
            let version = server.store().load().version.clone();
            let planned = names
                .by_ref()
                .filter_map(|name| plan(server, &version, name).map(|step| (name.clone(), step)));
            planned.take(AT_ONCE).collect()
        };
        if steps.is_empty() {
            return;
        }
        let proposed = steps
            .into_iter()
            .map(|(name, step)| carry_out(server, name, step));
        join_all(proposed).await;
    }
}

fn plan(server: &Server, version: &Version, name: &Text) -> Option<Step> {
    let options = server.options();
    let member = server.membership().member(name);
    let known = Facts::of(version, name);
    reconcile::plan(
        &options.datacenter,
        &options.node,
        name,
        member.as_ref(),
        known.borrowed(),
    )
}

/// Proposes one step. A refusal concerns this member alone; the next whole pass tries again.
async fn carry_out(server: &Server, node: Text, step: Step) {
    let _timed = Stopwatch::start(server.env(), &histogram!("leader.reconcileMember"));
    let (command, done) = match step {
        Step::Alive(register) => (
            Command::Register(register),
            "member joined, marking health alive",
        ),
        Step::Failed(register) => (
            Command::Register(register),
            "member failed, marking health critical",
        ),
        Step::Gone(deregister, why) => {
            info!(%node, reason = why.as_str(), "deregistering member");
            (Command::Deregister(deregister), "member deregistered")
        }
    };
    match server.propose(command).await {
        Ok(_) => info!(%node, "{done}"),
        Err(err) => warn!(%node, %err, "failed to reconcile member"),
    }
}

/// What the catalog has about a node, kept alive.
struct Facts {
    node: Option<Arc<tribune_types::catalog::Node>>,
    consul: Option<Arc<tribune_types::catalog::Service>>,
    serf_health: Option<Arc<tribune_types::catalog::Check>>,
}

impl Facts {
    fn of(version: &Version, name: &str) -> Facts {
        Facts {
            node: version.node(name).cloned(),
            consul: version.service(name, CONSUL_SERVICE).cloned(),
            serf_health: version.check(name, SERF_HEALTH).cloned(),
        }
    }

    fn borrowed(&self) -> Known<'_> {
        Known {
            node: self.node.as_deref(),
            consul: self.consul.as_deref(),
            serf_health: self.serf_health.as_deref(),
        }
    }
}
