//! The server half of a server agent: started with what the configuration says, then reached over the server port.

use std::sync::Arc;

use tribune_config::Config;
use tribune_net::NetOptions;
use tribune_raft::{SnapshotConfig, Timing};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_server::{Authorizer, Bootstrap, NodeFacts, RecoveredServer, Server, ServerOptions};
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::text::text;

use super::StartError;
use crate::handle::Handle;
use crate::info::{COMPATIBLE_VERSION, Identity};
use crate::local_state::node_info;
use crate::peers_file::PeersFile;
use crate::rpc::RpcServer;

/// Largest message accepted on the server port: a transaction of the largest allowed size, with room.
const RPC_MESSAGE_MAX: usize = 4 << 20;

/// Starts the server half, with the peer set of the operator's file if there is one.
pub(super) async fn start_server(
    env: &Env,
    config: &Config,
    identity: &Identity,
    stop: &CancellationToken,
) -> Result<Server, StartError> {
    let peers_file = PeersFile::find(env, config.data_dir.as_deref().filter(|_| !config.dev_mode))?;
    let recover = match &peers_file {
        Some(file) => file.servers()?,
        None => Vec::new(),
    };
    let options = server_options(config, identity, recover);
    let started = Server::start(env, options, Authorizer::allow_all(), stop);
    let started = started.await.map_err(StartError::Server)?;
    if let Some(file) = peers_file {
        file.applied().inspect_err(|_| stop.cancel())?;
    }
    Ok(started)
}

/// Opens the server port.
pub(super) fn serve_rpc(
    env: &Env,
    config: &Config,
    handle: &Handle,
    server: &Server,
    tasks: &TaskGroup,
) -> Result<(), StartError> {
    let addr = config.addrs.rpc_bind;
    let options = NetOptions {
        handshake_timeout: config.limits.rpc_handshake_timeout,
        conns_per_addr_max: config.limits.rpc_max_conns_per_client as usize,
        message_max: RPC_MESSAGE_MAX,
        peers: Some(server.peer_handler()),
        ..NetOptions::new(addr)
    };
    let rpc = Arc::new(RpcServer::new(handle.clone()));
    tribune_net::serve(env, tasks, options, rpc)
        .map(drop)
        .map_err(|source| StartError::RpcPort { addr, source })
}

fn server_options(
    config: &Config,
    identity: &Identity,
    recover: Vec<RecoveredServer>,
) -> ServerOptions {
    ServerOptions {
        node: identity.node.clone(),
        id: identity.id,
        datacenter: identity.datacenter.clone(),
        node_facts: node_facts(config, identity),
        advertise: config.addrs.rpc_advertise.ip(),
        rpc_port: config.addrs.rpc_advertise.port(),
        data_dir: config.data_dir.clone().filter(|_| !config.dev_mode),
        // A development agent is a cluster of its own.
        bootstrap: Bootstrap::of(
            config.server.bootstrap || config.dev_mode,
            config.server.bootstrap_expect,
        ),
        recover,
        version: text(COMPATIBLE_VERSION),
        default_query_time: config.http.default_query_time,
        max_query_time: config.http.max_query_time,
        rpc_hold_timeout: config.performance.rpc_hold_timeout,
        session_ttl_min: config.server.session_ttl_min,
        coordinate_period: config.coordinate.update_period,
        health_interval: config.server.health_interval,
        disable_coordinates: config.coordinate.disabled,
        autopilot: AutopilotConfig {
            cleanup_dead_servers: config.autopilot.cleanup_dead_servers,
            last_contact_threshold: config.autopilot.last_contact_threshold,
            max_trailing_logs: config.autopilot.max_trailing_logs,
            min_quorum: config.autopilot.min_quorum,
            server_stabilization_time: config.autopilot.server_stabilization_time,
            ..AutopilotConfig::default()
        },
        timing: Timing {
            heartbeat: config.raft.heartbeat_timeout,
            election: config.raft.election_timeout,
        },
        snapshot: SnapshotConfig {
            threshold: config.raft.snapshot_threshold,
            interval: config.raft.snapshot_interval,
            trailing_logs: config.raft.trailing_logs,
        },
    }
}

/// The node record as the local half registers it.
fn node_facts(config: &Config, identity: &Identity) -> NodeFacts {
    let node = node_info(config, identity);
    NodeFacts {
        tagged_addresses: Some(node.tagged_addresses),
        meta: Some(node.meta),
    }
}
