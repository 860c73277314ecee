//! Health of the peer set: the leader judges every server by its own figures, periodically and on request.

use tribune_leader::autopilot::{Observed, Stats};
use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Term;
use tribune_types::member::MemberStatus;
use tribune_types::raft::ServerStats;
use tribune_types::text::text;

use crate::Server;

/// Keeps the stable-since times current while leading.
pub(crate) async fn run(server: Server) {
    loop {
        tokio::select! {
            biased;
            () = server.stop().cancelled() => return,
            () = server.env().sleep(server.options().health_interval) => {}
        }
        if server.is_leader() {
            observe(&server);
        }
    }
}

impl Server {
    /// How far the log of this server is.
    pub fn stats(&self) -> ServerStats {
        let metrics = self.raft().metrics();
        ServerStats {
            last_contact: metrics.last_contact,
            last_term: Term(metrics.last_log_term.0),
            last_index: metrics.last_log_index.0,
        }
    }

    /// Health of the peer set as the leader sees it.
    ///
    /// # Errors
    /// Denied, or no leader.
    pub async fn operator_health(&self, caller: &Caller) -> Result<OperatorHealth, RpcError> {
        self.authorizer().management(caller)?;
        self.wait_for_leadership().await?;
        Ok(observe(self))
    }
}

fn observe(server: &Server) -> OperatorHealth {
    let metrics = server.raft().metrics();
    let version = server.version();
    let own = server.options();
    let observed: Vec<Observed> = server
        .raft()
        .membership()
        .peers
        .iter()
        .map(|peer| {
            let id = peer.id;
            let is_self = id == own.id;
            // Figures of other servers arrive by the server RPC, which this server does not speak yet.
            let stats = is_self.then_some(Stats {
                last_contact: std::time::Duration::ZERO,
                last_term: Term(metrics.last_log_term.0),
                last_index: metrics.last_log_index.0,
            });
            Observed {
                id,
                name: version
                    .node_by_id(&id)
                    .map_or_else(|| text("(unknown)"), |node| node.name.clone()),
                address: text(&peer.addr),
                version: own.version.clone(),
                serf: if is_self {
                    MemberStatus::Alive
                } else {
                    MemberStatus::None
                },
                leader: is_self,
                voter: peer.voter,
                stats,
            }
        })
        .collect();
    let config = version
        .autopilot()
        .map(|config| (*config).clone())
        .unwrap_or_default();
    server
        .health_tracker()
        .lock()
        .observe(server.env().wall(), &config, &observed)
}
