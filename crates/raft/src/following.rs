//! Who leads, as a stream: one item per change of what this node knows.

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;

use crate::raft::LeaderInfo;
use crate::types::TypeConfig;

/// Tells of changes of the known leader. Each has a place of its own in the stream.
pub struct LeaderChanges {
    seen: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    told: Option<Option<LeaderInfo>>,
}

impl LeaderChanges {
    pub(crate) fn new(
        seen: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    ) -> LeaderChanges {
        LeaderChanges { seen, told: None }
    }

    /// The leader known now if that was not told yet, else the next one; `None` in between leaders. The stream ends with
    /// the node. Changes that follow one another quickly may be told as one. Cancel safe.
    pub async fn next(&mut self) -> Option<Option<LeaderInfo>> {
        loop {
            let leader = known(&self.seen.borrow_and_update());
            if self.told.as_ref() != Some(&leader) {
                self.told = Some(leader.clone());
                return Some(leader);
            }
            self.seen.changed().await.ok()?;
        }
    }
}

/// The leader that the metrics name.
pub(crate) fn known(seen: &RaftServerMetrics<TypeConfig>) -> Option<LeaderInfo> {
    let id = seen.current_leader?;
    let member = seen.membership_config.membership().get_node(&id);
    Some(LeaderInfo {
        id,
        addr: member.map(|member| member.addr.clone()).unwrap_or_default(),
    })
}
