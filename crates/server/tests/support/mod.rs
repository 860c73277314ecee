//! One server in virtual time, for tests that need no other.

use std::path::PathBuf;
use std::time::Duration;

use tribune_rt::{CancellationToken, Env};
use tribune_server::{Authorizer, Bootstrap, Server, ServerOptions};
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::id::NodeId;
use tribune_types::text::text;

fn options(data_dir: Option<PathBuf>) -> ServerOptions {
    ServerOptions {
        node: text("s1"),
        id: NodeId::from_random([7; 16]),
        datacenter: text("dc1"),
        node_facts: Default::default(),
        advertise: [127, 0, 0, 1].into(),
        rpc_port: 8300,
        data_dir,
        bootstrap: Bootstrap::Alone,
        recover: Vec::new(),
        version: text("1.8.7"),
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        rpc_hold_timeout: Duration::from_secs(7),
        session_ttl_min: Duration::from_secs(10),
        coordinate_period: Duration::from_secs(5),
        health_interval: Duration::from_secs(2),
        disable_coordinates: false,
        autopilot: AutopilotConfig::default(),
        timing: tribune_raft::Timing::default(),
        snapshot: tribune_raft::SnapshotConfig::default(),
    }
}

/// Starts a server that founds a cluster of its own. In memory without a folder.
pub(crate) async fn start(env: &Env, data_dir: Option<PathBuf>) -> Server {
    let stop = CancellationToken::new();
    let started = Server::start(env, options(data_dir), Authorizer::allow_all(), &stop);
    started.await.expect("starts")
}

/// Runs a test in virtual time.
pub(crate) fn virtually<F: Future<Output = ()>>(test: impl FnOnce(Env) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(Env::sim(1).expect("a world")).await });
}
