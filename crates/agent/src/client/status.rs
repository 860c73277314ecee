//! The peer set, as servers tell it to a client agent.

use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_wire::rpc;

use super::{CALL_TIMEOUT, Client, Kind, datacenter, unreadable};

impl Client {
    /// `ip:port` of the leader's server RPC; empty if there is none.
    pub(crate) async fn status_leader(&self, dc: Option<&str>) -> Result<String, RpcError> {
        let bytes = self.status(rpc::LEADER, dc).await?;
        rpc::decode_text(&bytes).map_err(|err| unreadable(&err))
    }

    /// `ip:port` of the server RPC of all peers.
    pub(crate) async fn status_peers(&self, dc: Option<&str>) -> Result<Vec<String>, RpcError> {
        let bytes = self.status(rpc::PEERS, dc).await?;
        rpc::decode_texts(&bytes).map_err(|err| unreadable(&err))
    }

    async fn status(&self, method: &str, dc: Option<&str>) -> Result<Vec<u8>, RpcError> {
        let body = rpc::encode_status(datacenter(&self.datacenter, dc), "");
        self.call(Kind::Read, method, &body, CALL_TIMEOUT).await
    }

    /// Health of the peer set as the leader sees it.
    pub(crate) async fn operator_health(
        &self,
        caller: &Caller,
        dc: Option<&str>,
    ) -> Result<OperatorHealth, RpcError> {
        let dc = datacenter(&self.datacenter, dc);
        let body = rpc::encode_server_health(dc, caller.token.secret());
        let bytes = self
            .call(Kind::Read, rpc::SERVER_HEALTH, &body, CALL_TIMEOUT)
            .await?;
        rpc::decode_server_health_reply(&bytes).map_err(|err| unreadable(&err))
    }
}
