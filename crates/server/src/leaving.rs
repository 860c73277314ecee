//! Leaving for good: a server that goes hands over what it leads and does not go before the others count without it.
//!
//! Order, with the gossip pools in between (rpc.md section 8.9): hand over; leave the pools, upon which the leader removes
//! this server from the peer set; take no more requests and let those on their way end; wait to be removed.

use std::time::Duration;

use tracing::{info, warn};
use tribune_raft::TransferError;
use tribune_types::id::NodeId;
use tribune_wire::rpc;

use crate::Server;

/// Tries to hand over; each asks several servers.
const TRIES: u32 = 2;
/// How long to wait to be removed from the peer set.
const REMOVED_WITHIN: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time for another server to tell its peers.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

impl Server {
    /// True if there are other servers that vote.
    pub fn has_other_voters(&self) -> bool {
        let own = self.options().id;
        let peers = self.raft().membership().peers;
        peers.iter().any(|peer| peer.voter && peer.id != own)
    }

    /// Hands the lead to another server, and stays a peer. Returns who leads now. For those who look behind the handle.
    ///
    /// # Errors
    /// As `tribune_raft::Raft::transfer_leader`: this server goes on as before.
    pub async fn move_lead(&self) -> Result<NodeId, TransferError> {
        self.raft().transfer_leader(None).await
    }

    /// Hands the lead to another server, if this one has it and there is another. If nobody takes it over, this server
    /// leaves the peer set itself.
    pub async fn hand_over(&self) {
        if !self.has_other_voters() {
            return;
        }
        for _ in 0..TRIES {
            match self.raft().transfer_leader(None).await {
                Ok(to) => {
                    info!(leader = %to, "handed leadership over");
                    return;
                }
                Err(TransferError::NotLeader) => return,
                Err(TransferError::NoTarget | TransferError::Stopped { .. }) => break,
                Err(err @ TransferError::Timeout) => warn!(%err, "failed to hand leadership over"),
            }
        }
        let own = self.options().id;
        let change = self.raft().remove(own);
        match self.env().timeout(REMOVED_WITHIN, change).await {
            Ok(Ok(_)) => info!("left the peer set"),
            Ok(Err(err)) => warn!(%err, "failed to leave the peer set"),
            Err(_) => warn!("leaving the peer set takes too long"),
        }
    }

    /// Waits until the other servers count without this one, for a few seconds at most.
    pub async fn wait_until_removed(&self) {
        let removed = async {
            while self.is_peer().await {
                self.env().sleep(LOOK_EVERY).await;
            }
        };
        match self.env().timeout(REMOVED_WITHIN, removed).await {
            Ok(()) => info!("this server is no peer any more"),
            Err(_) => warn!(
                "this server was not removed from the peer set in time, the others may have to be told: \
                 operator raft remove-peer"
            ),
        }
    }

    /// Whether this server is in the peer set, as it knows itself or as another one says: the last change may not reach a
    /// server that is taken out by it.
    async fn is_peer(&self) -> bool {
        if self.raft().is_removed() {
            return false;
        }
        let own = self.options().id;
        let peers = self.raft().membership().peers;
        let Some(this) = peers.iter().find(|peer| peer.id == own) else {
            return false;
        };
        let body = rpc::encode_status(&self.options().datacenter, "");
        for peer in peers.iter().filter(|peer| peer.id != own) {
            let Some(addr) = self.directory().addr_of(peer.id, &peer.addr) else {
                continue;
            };
            let called = self.calls().call(addr, rpc::PEERS, &body, ANSWER_TIMEOUT);
            let Ok(Ok(reply)) = self.env().timeout(ANSWER_TIMEOUT, called).await else {
                continue;
            };
            if let Ok(known) = rpc::decode_texts(&reply)
                && !known.is_empty()
                && !known.contains(&this.addr)
            {
                return false;
            }
        }
        true
    }
}
