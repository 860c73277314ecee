//! Figures of this server, and the health of the peer set, which the leader judges (`autopilot`).

use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Term;
use tribune_types::raft::ServerStats;
use tribune_wire::rpc;

use crate::Server;
use crate::autopilot;
use crate::forward::unreadable;
use crate::route::Origin;

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
    pub async fn operator_health(
        &self,
        origin: Origin,
        caller: &Caller,
    ) -> Result<OperatorHealth, RpcError> {
        self.authorizer().management(caller)?;
        if !self.leads_on() {
            let body = rpc::encode_server_health(&self.options().datacenter, caller.token.secret());
            let mut hold = self.hold();
            let asked = self.at_leader(origin, &mut hold, rpc::SERVER_HEALTH, &body);
            if let Some(reply) = asked.await? {
                return rpc::decode_server_health_reply(&reply).map_err(|err| unreadable(&err));
            }
        }
        Ok(autopilot::report(self).await)
    }
}
