//! Exchanged states: what we tell, whether what we are told may be taken over, and as what (gossip.md sections 4.1, 4.2
//! and 6.8).
//!
//! Nothing is taken over before both checks passed. After that every entry stands for itself: one that is refused does
//! not stop the others. Our own entry is treated like the rest, which is how a restarted node learns that it must raise
//! its incarnation.

use std::sync::Arc;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::Action;
use crate::decide::Voice;
use crate::message::{Accusation, Alive, NodeState, Peer, PushPull, RemoteNode, Versions};
use crate::swim::{MergeError, Swim};

/// Reports of refused entries that one merge may give.
const WARNINGS_MAX: u32 = 16;

impl Swim {
    /// The whole table, self included, in random order; `user_state` is left empty.
    pub fn state(&self, join: bool) -> PushPull {
        let nodes = self.table.order().iter().map(|&slot| {
            let entry = self.table.get(slot);
            RemoteNode {
                peer: Arc::clone(self.table.peer(slot)),
                incarnation: entry.incarnation,
                state: entry.state,
            }
        });
        PushPull {
            join,
            nodes: nodes.collect(),
            user_state: Vec::new(),
        }
    }

    /// Takes over a remote table. `join` is our own flag on the side that began, the request's on the other.
    ///
    /// # Errors
    /// Why nothing was taken over.
    pub fn merge(
        &mut self,
        now: Mono,
        remote: &PushPull,
        join: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), MergeError> {
        self.check_versions(&remote.nodes)
            .map_err(MergeError::Versions)?;
        if join {
            self.options
                .admit
                .join(&remote.nodes)
                .map_err(|refusal| MergeError::Refused(refusal.0))?;
        }
        self.warnings_left = WARNINGS_MAX;
        for node in &remote.nodes {
            self.merge_node(now, node, out);
        }
        self.settle(now, out);
        Ok(())
    }

    fn merge_node(&mut self, now: Mono, node: &RemoteNode, out: &mut Vec<Action>) {
        let accused_by = |from: &Text| Accusation {
            incarnation: node.incarnation,
            node: Text::clone(&node.peer.name),
            from: Text::clone(from),
        };
        match node.state {
            NodeState::Alive => {
                let alive = Alive {
                    incarnation: node.incarnation,
                    peer: Arc::clone(&node.peer),
                };
                self.decide_alive(now, &alive, Voice::Heard, None, out);
            }
            NodeState::Left => {
                let dead = accused_by(&node.peer.name);
                self.decide_dead(now, &dead, None, out);
            }
            // A remote death may be old news: the node gets the chance to deny it.
            NodeState::Suspect | NodeState::Dead => {
                let suspect = accused_by(self.name());
                self.decide_suspect(now, &suspect, out);
            }
        }
    }

    /// Both pools together must have a version of each protocol that all understand, and all must speak such a one.
    fn check_versions(&self, remote: &[RemoteNode]) -> Result<(), String> {
        let local = || {
            self.table
                .order()
                .iter()
                .map(|&slot| (self.table.get(slot).state, self.table.peer(slot)))
        };
        let remote = || remote.iter().map(|node| (node.state, &node.peer));
        let both = || remote().chain(local());
        let mut range = Range {
            protocol: [0, u8::MAX],
            delegate: [0, u8::MAX],
        };
        for (state, peer) in both() {
            if let (NodeState::Alive, Some(versions)) = (state, peer.versions) {
                range.narrow(versions);
            }
        }
        both().try_for_each(|(_, peer)| range.check(peer))
    }
}

/// What all understand, least and most.
struct Range {
    protocol: [u8; 2],
    delegate: [u8; 2],
}

impl Range {
    fn narrow(&mut self, Versions([min, max, _, delegate_min, delegate_max, _]): Versions) {
        self.protocol[0] = self.protocol[0].max(min);
        self.protocol[1] = self.protocol[1].min(max);
        self.delegate[0] = self.delegate[0].max(delegate_min);
        self.delegate[1] = self.delegate[1].min(delegate_max);
    }

    fn check(&self, peer: &Peer) -> Result<(), String> {
        let (protocol, delegate) = match peer.versions {
            Some(Versions([_, _, protocol, _, _, delegate])) => (protocol, delegate),
            None => (0, 0),
        };
        for (what, spoken, [min, max]) in [
            ("protocol", protocol, self.protocol),
            ("delegate protocol", delegate, self.delegate),
        ] {
            if spoken < min || spoken > max {
                let name = &peer.name;
                // In Consul's words: operators search for them.
                return Err(format!(
                    "Node '{name}' {what} version ({spoken}) is incompatible: [{min}, {max}]"
                ));
            }
        }
        Ok(())
    }
}
