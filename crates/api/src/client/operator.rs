//! Calls for operators: Raft peers, autopilot, keyring; snapshots as streams.

use std::io::Read;

use super::{
    AutopilotConfig, Client, Error, KeyringPool, Payload, QueryOptions, RaftConfiguration, Request,
    Response,
};

impl Client {
    /// The Raft peers.
    pub fn raft_configuration(&self, options: &QueryOptions) -> Result<RaftConfiguration, Error> {
        match self.get("/v1/operator/raft/configuration", options) {
            Ok((configuration, _)) => Ok(configuration),
            Err(e) => Err(Error::RaftConfiguration(Box::new(e))),
        }
    }

    /// Removes a peer: `by` is `id` or `address`.
    pub fn raft_remove_peer(
        &self,
        by: &str,
        value: &str,
        options: &QueryOptions,
    ) -> Result<(), Error> {
        let request = Request::new("DELETE", "/v1/operator/raft/peer")
            .write_options(options)
            .param(by, value);
        self.send_done(request)
    }

    /// Autopilot's settings.
    pub fn autopilot(&self, options: &QueryOptions) -> Result<AutopilotConfig, Error> {
        Ok(self.get("/v1/operator/autopilot/configuration", options)?.0)
    }

    /// Replaces autopilot's settings unless they changed since `config` was read.
    pub fn autopilot_cas(
        &self,
        config: &AutopilotConfig,
        options: &QueryOptions,
    ) -> Result<bool, Error> {
        let request = Request::new("PUT", "/v1/operator/autopilot/configuration")
            .write_options(options)
            .param("cas", config.modify_index.to_string())
            .json(config);
        self.send_bool(request)
    }

    /// Keys of every pool.
    pub fn keyring_list(
        &self,
        relay_factor: u8,
        local_only: bool,
    ) -> Result<Vec<KeyringPool>, Error> {
        let mut request = self.keyring("GET", relay_factor);
        if local_only {
            request = request.param("local-only", "true");
        }
        Ok(self.query(request)?.0)
    }

    /// Installs (`POST`), uses (`PUT`) or removes (`DELETE`) a key.
    pub fn keyring_change(
        &self,
        method: &'static str,
        key: &str,
        relay_factor: u8,
    ) -> Result<(), Error> {
        let body = serde_json::json!({ "Key": key });
        self.send_done(self.keyring(method, relay_factor).json(&body))
    }

    fn keyring(&self, method: &'static str, relay_factor: u8) -> Request {
        let request = Request::new(method, "/v1/operator/keyring");
        match relay_factor {
            0 => request,
            n => request.param("relay-factor", n.to_string()),
        }
    }

    /// Streams a snapshot archive; check it with [`snapshot::check`](super::snapshot::check).
    pub fn snapshot_save(&self, options: &QueryOptions) -> Result<Response, Error> {
        self.send_ok(Request::new("GET", "/v1/snapshot").options(options))
    }

    /// Sends a snapshot archive to be restored.
    pub fn snapshot_restore(
        &self,
        archive: impl Read + Send + 'static,
        options: &QueryOptions,
    ) -> Result<(), Error> {
        let request = Request::new("PUT", "/v1/snapshot")
            .write_options(options)
            .body(Payload::Stream(Box::new(archive)));
        self.send_done(request)
    }
}
