//! This agent: its services, checks, events and process.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_config::Config;
use tribune_types::caller::Caller;
use tribune_types::catalog::Status;
use tribune_types::definition::{CheckDefinition, ServiceDefinition};
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::member::Member;
use tribune_types::text::Text;

use super::Handle;
use crate::info::{Identity, LocalCheck, LocalHealth, LocalService, SelfReport};

/// Why a local request failed. `Display` gives the text clients see; the variant gives the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// The request is wrong (400).
    #[error("{0}")]
    Invalid(String),
    /// The named thing does not exist here (404).
    #[error("{0}")]
    NotFound(String),
    /// Anything else (500, or the status of the wrapped error).
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// A reported result of a TTL check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUpdate {
    /// New status.
    pub status: Status,
    /// New output; cut at the check's limit.
    pub output: String,
}

/// Shape of the metrics answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// The JSON document of the last complete interval.
    Json,
    /// Prometheus text 0.0.4.
    Prometheus,
}

/// What to stream from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorOptions {
    /// Lowest level, as the client wrote it; empty is INFO.
    pub level: String,
    /// JSON lines instead of text lines.
    pub json: bool,
}

impl Handle {
    /// Who this agent is.
    pub fn identity(&self) -> &Identity {
        todo!()
    }

    /// The settings in effect now; changes with a reload.
    pub fn config(&self) -> std::sync::Arc<Config> {
        todo!()
    }

    /// Everything for `/v1/agent/self`.
    pub async fn self_report(&self) -> SelfReport {
        todo!()
    }

    /// Members of the LAN pool, or of the WAN pool.
    pub fn members(&self, _wan: bool) -> Vec<Member> {
        todo!()
    }

    /// Local services in ID order.
    pub fn services(&self) -> Vec<LocalService> {
        todo!()
    }

    /// One local service.
    pub fn service(&self, _id: &str) -> Option<LocalService> {
        todo!()
    }

    /// Waits until the content hash of a local service differs from `hash`, it is gone, or `wait` is over.
    pub async fn service_changed(&self, _id: &str, _hash: &str, _wait: Duration) -> Option<LocalService> {
        todo!()
    }

    /// Local checks in ID order.
    pub fn checks(&self) -> Vec<LocalCheck> {
        todo!()
    }

    /// Health of the local instances of a service.
    pub fn health_by_name(&self, _name: &str) -> Vec<LocalHealth> {
        todo!()
    }

    /// Health of one local instance.
    pub fn health_by_id(&self, _id: &str) -> Option<LocalHealth> {
        todo!()
    }

    /// Registers or replaces a service with its checks; stored on disk before it answers.
    pub async fn register_service(
        &self,
        _caller: &Caller,
        _definition: ServiceDefinition,
        _replace_existing_checks: bool,
    ) -> Result<(), LocalError> {
        todo!()
    }

    /// Removes a service with its checks and its sidecar. Unknown ones are fine while ACLs are off.
    pub async fn deregister_service(&self, _caller: &Caller, _id: &str) -> Result<(), LocalError> {
        todo!()
    }

    /// Registers or replaces a check.
    pub async fn register_check(&self, _caller: &Caller, _definition: CheckDefinition) -> Result<(), LocalError> {
        todo!()
    }

    /// Removes a check.
    pub async fn deregister_check(&self, _caller: &Caller, _id: &str) -> Result<(), LocalError> {
        todo!()
    }

    /// Reports the result of a TTL check.
    pub async fn update_check(&self, _caller: &Caller, _id: &str, _update: CheckUpdate) -> Result<(), LocalError> {
        todo!()
    }

    /// Turns maintenance mode of a service on (with a reason, which may be empty) or off (`None`).
    pub async fn service_maintenance(&self, _caller: &Caller, _id: &str, _reason: Option<&str>) -> Result<(), LocalError> {
        todo!()
    }

    /// Turns maintenance mode of the node on (with a reason, which may be empty) or off (`None`).
    pub async fn node_maintenance(&self, _caller: &Caller, _reason: Option<&str>) -> Result<(), LocalError> {
        todo!()
    }

    /// Reads the configuration again and applies what may change at run time.
    pub async fn reload(&self, _caller: &Caller) -> Result<(), LocalError> {
        todo!()
    }

    /// Leaves gracefully; the process ends soon after this returned.
    pub async fn leave(&self, _caller: &Caller) -> Result<(), LocalError> {
        todo!()
    }

    /// Joins a gossip pool. Until gossip is built this is an error that says so.
    pub async fn join(&self, _caller: &Caller, _addr: &str, _wan: bool) -> Result<(), LocalError> {
        todo!()
    }

    /// Declares a failed member as left.
    pub async fn force_leave(&self, _caller: &Caller, _node: &str, _prune: bool) -> Result<(), LocalError> {
        todo!()
    }

    /// The last events known to this agent, oldest first, and the index to wait for (1 if there is none).
    pub fn events(&self) -> (Vec<std::sync::Arc<UserEvent>>, u64) {
        todo!()
    }

    /// Waits until the event index differs from `index`, or `wait` is over.
    pub async fn events_changed(&self, _index: u64, _wait: Duration) {
        todo!()
    }

    /// Metrics of the last complete interval in the given shape, ready to send; `None` if that shape is turned off.
    pub fn metrics(&self, _format: MetricsFormat, _pretty: bool) -> Option<Bytes> {
        todo!()
    }

    /// Streams log lines, each with its newline, until the receiver is dropped. 512 lines are buffered; more are dropped.
    pub fn monitor(&self, _options: &MonitorOptions) -> Result<mpsc::Receiver<Bytes>, LocalError> {
        todo!()
    }

    /// Facts about the machine, as the JSON document of `/v1/agent/host`.
    pub fn host(&self) -> tribune_types::value::Value {
        todo!()
    }

    /// Sets one of the agent's ACL tokens by its API name. Unknown names are `NotFound`.
    pub async fn set_token(&self, _caller: &Caller, _kind: &str, _token: Text) -> Result<(), LocalError> {
        todo!()
    }

    /// A profile for `/debug/pprof/<kind>`; `None` if profiling is not allowed (`enable_debug` off).
    pub async fn profile(&self, _kind: &str, _duration: Duration) -> Option<Bytes> {
        todo!()
    }
}
