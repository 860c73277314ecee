//! Operations on gossip keys in all datacenters (gossip.md section 10.6).

use std::time::Duration;

use futures_util::future::join_all;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::keyring::{KeyringRequest, KeyringResponse};
use tribune_wire::rpc;

use super::Router;

/// Time for the members of a datacenter to answer: their own limit is a few seconds.
const DEADLINE: Duration = Duration::from_secs(60);

impl Router {
    /// Has one server of every other datacenter carry out an operation on the keys of its LAN pool. They are asked at the
    /// same time; the answers are in order of distance.
    ///
    /// # Errors
    /// A datacenter cannot be reached or refuses. The others are asked all the same.
    pub(crate) async fn keyring(
        &self,
        caller: &Caller,
        request: &KeyringRequest,
    ) -> Result<Vec<KeyringResponse>, RpcError> {
        let request = KeyringRequest {
            forwarded: true,
            ..request.clone()
        };
        let body = rpc::encode_keyring(&request, self.datacenter(), caller.token.secret());
        let ask = async |dc: &str| {
            let remote = self.route(dc)?;
            let reply = remote
                .relay(rpc::KEYRING_OPERATION, &body, DEADLINE)
                .await?;
            rpc::decode_keyring_reply(&reply)
                .map_err(|err| RpcError::Remote(format!("rpc error making call: {err}")))
        };
        let others = self.others_by_distance();
        let answers = join_all(others.iter().map(|dc| ask(dc))).await;
        let answers: Vec<Vec<KeyringResponse>> = answers.into_iter().collect::<Result<_, _>>()?;
        Ok(answers.into_iter().flatten().collect())
    }
}
