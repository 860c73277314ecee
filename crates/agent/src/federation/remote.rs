//! The way to one other datacenter.

use std::sync::Arc;
use std::time::Duration;

use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_wire::rpc::{self, Effect, Outline};

use crate::client::{Client, Kind};

/// The way to one other datacenter: its servers, of which one is asked until it fails.
pub(crate) struct Remote {
    client: Arc<Client>,
}

impl Remote {
    pub(super) fn new(client: Arc<Client>) -> Remote {
        Remote { client }
    }

    /// For requests that are made here. What it asks is asked of that datacenter unless another one is named.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Makes a call that is encoded already, for at most `deadline` at each server that is asked. Cancel safe, as far as the
    /// server there lets go of what nobody waits for; it may have been served all the same.
    ///
    /// # Errors
    /// `RemoteUnreachable`: no server has seen the call. `Remote`: what a server said, or that its connection ended.
    pub(crate) async fn relay(
        &self,
        method: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, RpcError> {
        let kind = match rpc::effect_abroad(method) {
            Some(Effect::Read) => Kind::Read,
            Some(Effect::Change) | None => Kind::Write,
        };
        self.client.call(kind, method, body, deadline).await
    }

    /// How long the answer to a call may take that waits as its outline says.
    pub(crate) fn deadline(&self, outline: &Outline<'_>) -> Duration {
        self.client
            .deadline(Index(outline.min_index), outline.wait())
    }
}
