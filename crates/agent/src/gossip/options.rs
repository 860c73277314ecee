//! What a pool is made from, and how the settings of the agent become that.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tribune_config::Config;
use tribune_config::config::GossipConfig;
use tribune_swim::{Admit, Timing};
use tribune_types::text::{Text, TextMap};

use super::keys::KeysError;

/// Events of the application that may wait; each has at most 1,400 bytes.
pub(super) const EVENTS_MAX: usize = 512;

/// A user event that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fired {
    /// Event clock.
    pub(crate) ltime: u64,
    /// Name.
    pub(crate) name: Text,
    /// Payload.
    pub(crate) payload: Arc<[u8]>,
}

/// Where keys come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyOptions {
    /// The configured key in base64; empty is none.
    pub(crate) configured: tribune_config::Secret,
    /// Where keys are kept; `None` is in memory only.
    pub(crate) file: Option<PathBuf>,
    /// Refuse what is not encrypted.
    pub(crate) verify_incoming: bool,
    /// Send nothing that is not encrypted.
    pub(crate) verify_outgoing: bool,
}

/// What a pool is made from.
pub(crate) struct PoolOptions {
    /// `LAN` or `WAN`.
    pub(crate) label: &'static str,
    /// Own name in the pool.
    pub(crate) name: Text,
    /// Where to listen, for datagrams and streams.
    pub(crate) bind: SocketAddr,
    /// What others are told.
    pub(crate) advertise: SocketAddr,
    /// Own tags.
    pub(crate) tags: TextMap,
    /// Times and counts.
    pub(crate) timing: Timing,
    /// After which a failed member is forgotten.
    pub(crate) reconnect_timeout: Duration,
    /// Who may enter.
    pub(crate) admit: Arc<dyn Admit>,
    /// Encryption.
    pub(crate) keys: KeyOptions,
    /// The snapshot file.
    pub(crate) snapshot: Option<PathBuf>,
    /// Use the snapshot after a leave, too.
    pub(crate) rejoin_after_leave: bool,
    /// Takes the user events. When it is full, events are dropped.
    pub(crate) events: Option<mpsc::Sender<Fired>>,
}

/// What stands before the error of a port, as Consul's users know it.
const NO_TRANSPORT: &str =
    "Failed to create memberlist: Could not set up network transport: failed to obtain an address";

/// Why a pool does not start.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The port of streams cannot be bound.
    #[error(
        "{NO_TRANSPORT}: Failed to start TCP listener on {:?} port {}: listen tcp {addr}: bind: {}",
        addr.ip().to_string(), addr.port(), bind_text(source)
    )]
    Tcp {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The port of datagrams cannot be bound.
    #[error(
        "{NO_TRANSPORT}: Failed to start UDP listener on {:?} port {}: listen udp {addr}: bind: {}",
        addr.ip().to_string(), addr.port(), bind_text(source)
    )]
    Udp {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Keys cannot be used.
    #[error("Failed to configure keyring: {0}")]
    Keys(#[from] KeysError),
    /// The snapshot cannot be read.
    #[error("failed to read serf snapshot {path:?}")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The system's text with a small first letter and without its number.
pub(crate) fn bind_text(err: &std::io::Error) -> String {
    let text = err.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}

impl PoolOptions {
    /// The LAN pool of an agent. Settings that come from elsewhere are given.
    pub(crate) fn lan(
        config: &Config,
        name: Text,
        tags: TextMap,
        admit: Arc<dyn Admit>,
        events: mpsc::Sender<Fired>,
    ) -> PoolOptions {
        PoolOptions {
            label: "LAN",
            name,
            bind: config.addrs.serf_lan_bind,
            advertise: config.addrs.serf_lan_advertise,
            tags,
            timing: timing(Timing::lan(), &config.gossip_lan),
            reconnect_timeout: config.gossip_lan.reconnect_timeout,
            admit,
            keys: keys(config, "local.keyring"),
            snapshot: snapshot(config, "local.snapshot"),
            rejoin_after_leave: config.join.rejoin_after_leave,
            events: Some(events),
        }
    }

    /// The WAN pool of a server; `None` if it is turned off. Nobody listens to its user events.
    pub(crate) fn wan(
        config: &Config,
        name: Text,
        tags: TextMap,
        admit: Arc<dyn Admit>,
    ) -> Option<PoolOptions> {
        Some(PoolOptions {
            label: "WAN",
            name,
            bind: config.addrs.serf_wan_bind?,
            advertise: config.addrs.serf_wan_advertise?,
            tags,
            timing: timing(Timing::wan(), &config.gossip_wan),
            reconnect_timeout: config.gossip_wan.reconnect_timeout,
            admit,
            keys: keys(config, "remote.keyring"),
            snapshot: snapshot(config, "remote.snapshot"),
            rejoin_after_leave: config.join.rejoin_after_leave,
            events: None,
        })
    }
}

/// Where the files of pools are.
fn folder(config: &Config) -> Option<PathBuf> {
    config.data_dir.as_ref().map(|dir| dir.join("serf"))
}

fn keys(config: &Config, file: &str) -> KeyOptions {
    KeyOptions {
        configured: config.encrypt.key.clone(),
        file: folder(config)
            .filter(|_| !config.encrypt.disable_keyring_file)
            .map(|folder| folder.join(file)),
        verify_incoming: config.encrypt.verify_incoming,
        verify_outgoing: config.encrypt.verify_outgoing,
    }
}

fn snapshot(config: &Config, file: &str) -> Option<PathBuf> {
    folder(config)
        .filter(|_| !config.dev_mode)
        .map(|folder| folder.join(file))
}

/// A profile with the settings that operators may change.
fn timing(profile: Timing, config: &GossipConfig) -> Timing {
    Timing {
        probe_interval: config.probe_interval,
        probe_timeout: config.probe_timeout,
        retransmit_mult: config.retransmit_mult as usize,
        suspicion_mult: config.suspicion_mult,
        gossip_interval: config.gossip_interval,
        gossip_nodes: config.gossip_nodes as usize,
        ..profile
    }
}
