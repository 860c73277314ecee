//! Recovery from a lost quorum: the peer set is replaced by one that an operator wrote.
//!
//! What is known to be committed is applied and written as a snapshot that carries the new peer set; then the log is cut
//! there. Entries behind it stay in the log, neither applied nor thrown away: the servers that are left may end at
//! different ones, any of them may win the first election, and what it has is what is kept, as in every election. An entry
//! behind the cut that carries an old peer set would bring that back, so the cut is never before the last of those.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use tribune_rt::Env;
use tribune_types::id::{LogIndex, Term};

use crate::apply::{self, BATCH_COUNT_MAX, SharedMachine};
use crate::codec::{log_id_from_spot, log_id_to_spot};
use crate::config::RecoveredPeer;
use crate::error::OpenError;
use crate::log::LogStore;
use crate::machine::Committed;
use crate::snapshot::SnapshotStore;
use crate::types::{EntryPayload, LogId, Membership, Payload, SnapshotMeta, StoredMembership};

/// Bytes of log that are read together.
const STEP_SIZE: usize = 1024 * 1024;

/// Replaces the peer set of the node whose parts these are. The machine is left at the cut. May be repeated: after a
/// failure, or a crash, the old state or the new one is found.
pub(crate) async fn replace_peers(
    env: &Env,
    peers: &[RecoveredPeer],
    log: &LogStore,
    snapshots: &Arc<SnapshotStore>,
    machine: &SharedMachine,
) -> Result<(), OpenError> {
    let refused = |what: &str| OpenError::Recover {
        what: what.to_owned(),
    };
    let voters: BTreeSet<_> = { peers.iter() }
        .filter_map(|peer| peer.voter.then_some(peer.id))
        .collect();
    let nodes: BTreeMap<_, _> = { peers.iter() }
        .map(|peer| (peer.id, peer.member.clone()))
        .collect();
    if voters.is_empty() || nodes.len() != peers.len() {
        return Err(refused("it needs a voter, and each server once"));
    }
    let membership =
        Membership::new(vec![voters], nodes).map_err(|err| refused(&err.to_string()))?;
    let snapshot = { snapshots.current() }.and_then(|data| data.header.meta.last_log_id);
    let last = log.last().map(log_id_from_spot).max(snapshot);
    let last = last.ok_or_else(|| refused("this server has no state to recover from"))?;
    let work = {
        let (env, log, snapshots) = (env.clone(), log.clone(), snapshots.clone());
        let machine = machine.clone();
        move || {
            let cut = find_cut(&log, snapshot, last)?;
            if let Some(cut) = cut {
                rewrite(&env, &log, &snapshots, &machine, cut, membership)?;
            }
            Ok::<_, io::Error>(cut)
        }
    };
    let done = env.spawn_blocking("raft-recover", work).await;
    let cut = done.map_err(io::Error::other)??;
    let cut = cut.ok_or_else(|| refused("this server has no state to recover from"))?;
    log.forget(log_id_to_spot(&cut)).await?;
    tracing::warn!(
        servers = peers.len(),
        index = cut.index,
        last = last.index,
        "the peer set was replaced by hand"
    );
    Ok(())
}

/// Where the log is cut: at the last entry that is known to be committed, or at the last peer set if that is later. `None` if
/// there is neither.
fn find_cut(log: &LogStore, snapshot: Option<LogId>, last: LogId) -> io::Result<Option<LogId>> {
    let committed = log.committed().map(log_id_from_spot);
    let committed = committed.filter(|committed| committed.index <= last.index);
    let mut cut = committed.max(snapshot);
    let mut reader = log.reader();
    let mut next = cut.map_or(0, |cut| cut.index + 1);
    while next <= last.index {
        let entries = reader.read(next, last.index + 1, STEP_SIZE)?;
        let from = next;
        for entry in entries {
            let id = entry.log_id();
            next = id.index + 1;
            if let EntryPayload::Membership(_) = entry.payload {
                cut = Some(id);
            }
        }
        if next == from {
            return Err(io::Error::other(format!("log entry {next} is missing")));
        }
    }
    Ok(cut)
}

/// Brings the machine to `last` and writes it down with the new peer set.
fn rewrite(
    env: &Env,
    log: &LogStore,
    snapshots: &SnapshotStore,
    machine: &SharedMachine,
    last: LogId,
    membership: Membership,
) -> io::Result<()> {
    let mut next = 0;
    if let Some(data) = snapshots.current() {
        apply::restore(env, machine, &data)?;
        next = data.header.meta.last_log_id.map_or(0, |id| id.index + 1);
    }
    let mut reader = log.reader();
    while next <= last.index {
        let upto = (last.index + 1).min(next + BATCH_COUNT_MAX as u64);
        let entries = reader.read(next, upto, STEP_SIZE)?;
        let from = next;
        let mut batch = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.log_id();
            if id.index != next {
                break;
            }
            next += 1;
            if let EntryPayload::Normal(Payload(payload)) = entry.payload {
                batch.push(Committed {
                    index: LogIndex(id.index),
                    term: Term(id.leader_id.term),
                    payload,
                });
            }
        }
        if next == from {
            return Err(io::Error::other(format!("log entry {next} is missing")));
        }
        if !batch.is_empty() {
            machine.lock().apply(&batch, &mut Vec::new());
        }
    }
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), membership),
    };
    let mut source = machine.lock().snapshot();
    snapshots.save(meta, source.as_mut())?;
    Ok(())
}
