//! Consensus behind a facade: the only crate that imports the consensus library.
//!
//! [`Raft`] takes opaque payloads, replicates them through a write-ahead log of our own, and hands
//! them in order to a [`Machine`]. Its three answers to a proposal are kept apart: done, not done,
//! unknown. Around it: linearizable reads, leadership events, membership, transfer, snapshots on
//! disk. Peers are reached through a [`Transport`]; nothing assumes that there is one node.
//!
//! To follow a write start at [`Raft::propose`]; it goes through the library's core task to `log`
//! (index and cache), `log::writer` (one write and one sync per batch), `wal` (the files), back to
//! the core, and on to `apply`.

mod apply;
mod campaign;
mod clock;
mod codec;
mod config;
mod error;
mod figures;
mod following;
mod handover;
mod leadership;
mod log;
mod machine;
mod membership;
mod network;
mod progress;
mod raft;
mod reading;
mod recover;
mod rounds;
mod runtime;
#[cfg(any(test, fuzzing))]
mod samples;
mod serving;
mod silence;
mod snapshot;
mod succession;
mod transport;
mod types;
mod wal;

pub use config::{RaftConfig, RecoveredPeer, SnapshotConfig, Timing};
pub use error::{
    BootstrapError, MembershipError, OpenError, ProposeError, ReadError, TransferError,
};
pub use following::LeaderChanges;
pub use leadership::LeadershipChange;
pub use machine::{Committed, Machine, SnapshotSource};
pub use raft::{LeaderInfo, MembershipView, PeerInfo, Raft, RaftMetrics, Role};
pub use reading::ReadGuarantee;
pub use snapshot::SnapshotStream;
pub use transport::{NoPeers, Transport, TransportError, TransportFuture};
pub use types::{Member, RaftNodeId};
pub use wal::WalError;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    //! What the fuzz targets need to reach.

    pub use crate::samples::{check_message, sample_messages};
    pub use crate::wal::fuzzing::*;
}
