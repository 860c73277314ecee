//! Errors whose texts clients match on (rpc.md section 3, http-api.md section 1.3).

/// Why the state machine refused a command or query. Nothing was changed.
///
/// The texts reach clients, which match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A service or check names a node that is not registered.
    #[error("Missing node registration")]
    MissingNode,
    /// A check names an instance that is not registered.
    #[error("Missing service registration")]
    MissingService,
    /// A session names a check that is not registered on its node.
    #[error("Missing check '{0}' registration")]
    MissingCheck(String),
    /// A session names a check that is critical.
    #[error("Check '{0}' is in critical state")]
    CriticalCheck(String),
    /// A node name is taken by another node.
    #[error("failed inserting node: {0}")]
    NodeConflict(String),
    /// A lock names a session that does not exist.
    #[error("invalid session {0:?}")]
    InvalidSession(String),
    /// A filter expression does not compile.
    #[error("Failed to create boolean expression evaluator: {0}")]
    Filter(String),
    /// An archive cannot be restored.
    #[error("failed to restore snapshot: {0}")]
    Restore(String),
    /// There is no such prepared query.
    #[error("Query not found")]
    QueryNotFound,
    /// Any other refusal, with the text clients see.
    #[error("{0}")]
    Other(String),
}

/// Why a request failed. `Display` gives the text that clients see and match on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// There is no leader to serve the request. It was not applied.
    #[error("No cluster leader")]
    NoLeader,
    /// No server of the datacenter is known to a client agent.
    #[error("No known Consul servers")]
    NoServers,
    /// The datacenter is unknown.
    #[error("No path to datacenter")]
    NoPath,
    /// The datacenter is known but none of its servers answers.
    #[error("Remote DC has no server currently reachable")]
    RemoteUnreachable,
    /// A new leader is not ready for consistent reads.
    #[error("Not ready to serve consistent reads")]
    NotReady,
    /// The rate limit of this client agent is used up.
    #[error("RPC rate limit exceeded")]
    RateLimited,
    /// The token may not do this.
    #[error("Permission denied{}", .0.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    PermissionDenied(Option<String>),
    /// The token does not exist.
    #[error("ACL not found")]
    AclNotFound,
    /// ACLs are off and the request is about ACLs.
    #[error("ACL support disabled")]
    AclDisabled,
    /// The write may or may not have happened.
    #[error("leadership lost while committing log")]
    FateUnknown,
    /// Storage failed; the write may or may not have happened.
    #[error("failed to write the log: {0}")]
    Storage(String),
    /// The agent is shutting down. The request was not applied.
    #[error("agent is shutting down")]
    ShuttingDown,
    /// Coordinates are turned off.
    #[error("Coordinate support disabled")]
    CoordinatesDisabled,
    /// The state refused.
    #[error(transparent)]
    State(#[from] StateError),
    /// The request itself is wrong; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// A named thing does not exist; the text names it.
    #[error("{0}")]
    NotFound(String),
    /// What a server said, or what became of the way to it, as client agents show it. Whether anything was done is said
    /// by the text alone.
    #[error("{0}")]
    Remote(String),
}

impl RpcError {
    /// True if the token may not do this, whoever said so.
    pub fn is_denied(&self) -> bool {
        match self {
            RpcError::PermissionDenied(_) | RpcError::AclNotFound => true,
            RpcError::Remote(text) => {
                text.contains("Permission denied") || text.contains("ACL not found")
            }
            _ => false,
        }
    }

    /// True if there is no such prepared query, whoever said so.
    pub fn is_query_not_found(&self) -> bool {
        match self {
            RpcError::State(StateError::QueryNotFound) => true,
            RpcError::Remote(text) => text.contains("Query not found"),
            _ => false,
        }
    }

    /// True if the datacenter is unknown, whoever said so.
    pub fn is_no_path(&self) -> bool {
        match self {
            RpcError::NoPath => true,
            RpcError::Remote(text) => text.contains("No path to datacenter"),
            _ => false,
        }
    }
}
