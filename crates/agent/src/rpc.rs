//! Calls that arrive on the server port, as calls on the handle.
//!
//! Served so far: what tools use to seed a catalog directly. Client agents and other servers come with gossip.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use tribune_net::CallResult;
use tribune_types::caller::{Caller, Token};
use tribune_types::error::RpcError;
use tribune_types::text::text;
use tribune_wire::rpc::bodies;

use crate::Handle;

/// Serves the calls of one agent.
pub(crate) struct RpcServer {
    handle: Handle,
}

impl RpcServer {
    pub(crate) fn new(handle: Handle) -> RpcServer {
        RpcServer { handle }
    }

    async fn serve(&self, peer: SocketAddr, method: &str, body: &[u8]) -> CallResult {
        let mut reply = Vec::new();
        match method {
            "Status.Ping" => reply.push(0x80),
            "Status.Leader" => {
                let leader = self
                    .handle
                    .status_leader(None)
                    .await
                    .map_err(|err| err.to_string())?;
                bodies::string_reply(&leader, &mut reply);
            }
            "Status.Peers" => {
                let peers = self
                    .handle
                    .status_peers(None)
                    .await
                    .map_err(|err| err.to_string())?;
                bodies::strings_reply(&peers, &mut reply);
            }
            _ => {
                let call = bodies::write_call(method, body).map_err(|err| err.to_string())?;
                let Some(call) = call else {
                    return Err(tribune_net::CallFailure::refused(format!(
                        "rpc: can't find method {method}"
                    )));
                };
                if call.datacenter.is_empty() {
                    return Err(RpcError::NoPath.to_string().into());
                }
                let caller = Caller {
                    token: Token::new(text(&call.token)),
                    addr: Some(peer.ip()),
                };
                let written = self
                    .handle
                    .write(&caller, Some(&call.datacenter), call.write)
                    .await;
                bodies::write_reply(&written.map_err(|err| err.to_string())?, &mut reply);
            }
        }
        Ok(reply)
    }
}

impl tribune_net::Handler for RpcServer {
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.serve(peer, method, body))
    }
}
