//! The peer set follows the pool while this server leads (rpc.md section 8.2): servers that come receive the log, those
//! that moved are reached elsewhere, those that left are peers no more. Planned by `tribune_leader::peers`, per member,
//! when something is new about it and in whole passes; so a peer that an operator removed stays away until then.

use std::collections::BTreeMap;

use tracing::{error, info, warn};
use tribune_leader::peers::{PeerStep, Refusal, plan, plan_reaped};
use tribune_raft::Member;
use tribune_types::text::Text;

use crate::Server;
use crate::autopilot::{self, CHANGE_TIMEOUT};

/// What is remembered during a term.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// Members that were refused, and why: said once.
    refused: BTreeMap<Text, Refusal>,
}

impl Joining {
    /// Brings the peer set in line about one member. False if it has to be tried again.
    pub(crate) async fn follow(&mut self, server: &Server, name: &Text) -> bool {
        let own = server.options().id;
        let servers = server.directory().servers();
        let peers = autopilot::peers(server);
        let steps = match server.directory().take_reaped(name) {
            Some(reaped) => Ok(plan_reaped(own, &reaped, &servers, &peers)),
            None => plan(own, name, &servers, &peers),
        };
        match steps {
            Ok(steps) => {
                self.refused.remove(name);
                let mut done = true;
                for step in steps {
                    done &= carry_out(server, name, step).await;
                }
                done
            }
            Err(why) => {
                if self.refused.get(name) != Some(&why) {
                    error!(server = %name, "server does not become a peer: {why}");
                    self.refused.insert(name.clone(), why);
                }
                true
            }
        }
    }
}

async fn carry_out(server: &Server, name: &Text, step: PeerStep) -> bool {
    let raft = server.raft();
    let (change, what) = match &step {
        PeerStep::Add { id, addr } => {
            let member = Member {
                addr: addr.to_string(),
            };
            let change = server
                .env()
                .timeout(CHANGE_TIMEOUT, raft.add_learner(*id, member));
            (change.await, "added to the peer set")
        }
        PeerStep::Move { id, addr } => {
            let member = Member {
                addr: addr.to_string(),
            };
            let change =
                { server.env() }.timeout(CHANGE_TIMEOUT, raft.set_member_addr(*id, member));
            (change.await, "moved to another address")
        }
        PeerStep::Remove { id, .. } => {
            let change = server.env().timeout(CHANGE_TIMEOUT, raft.remove(*id));
            (change.await, "removed from the peer set")
        }
    };
    match change {
        Ok(Ok(_)) => {
            match &step {
                PeerStep::Add { id, addr } | PeerStep::Move { id, addr } => {
                    info!(server = %name, %id, %addr, "{what}");
                    autopilot::on_joined(server);
                }
                PeerStep::Remove { id, why } => info!(server = %name, %id, reason = why, "{what}"),
            }
            true
        }
        Ok(Err(err)) => {
            warn!(server = %name, %err, step = ?step, "failed to change the peer set, trying again");
            false
        }
        Err(_) => {
            warn!(server = %name, step = ?step, "a change of the peer set takes long, looking again");
            false
        }
    }
}
