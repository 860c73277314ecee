//! The blocking HTTP client of Consul's API, as the command line uses it.
//!
//! In: a [`ClientConfig`] (address, token, TLS) and typed requests. Out: typed records, or an [`Error`] whose text
//! is the one scripts know (`Unexpected response code: 500 (...)`). HTTP/1.1 over TCP, TLS or a unix socket, one
//! kept connection, bodies of any size streamed in both directions.
//!
//! Above the plain calls stand the client-side algorithms that Consul keeps out of its servers: [`lock`],
//! [`semaphore`], [`watch`], and the check of a snapshot archive in [`snapshot`].
//!
//! Invariants: nothing here runs inside a simulated node, so the module may block, sleep and start threads (all
//! through the private `host` module); a response is read only as far as the caller asks. Rules: spec http-api.md
//! section 1, cli.md section 1, agent.md sections 5 and 7.

mod agent;
mod catalog;
mod config;
mod error;
pub mod gojson;
mod host;
mod http1;
mod kv;
pub mod lock;
mod operator;
mod records;
pub mod semaphore;
mod session;
pub mod snapshot;
mod tls;
mod transport;
mod txn;
pub mod watch;

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use config::{Address, ClientConfig, Patience, Scheme, TlsFiles};
pub use error::{Error, FileProblem};
pub use http1::{Payload, Response};
pub use kv::{KvPair, KvWrite};
pub use records::{
    AgentSelf, AgentService, AutopilotConfig, CheckDefinition, CoordDatacenter, CoordEntry, Coords,
    HealthCheck, KeyringPool, Member, Node, RaftConfiguration, RaftServer, ServiceEntry,
    ServiceNode, TaggedAddress, UserEvent, Weights,
};
pub use session::{SessionEntry, SessionRequest};
pub use txn::{KvOperation, TxnProblem};

use http1::Connection;

/// Parameters that any request may carry; the default asks the agent's own datacenter, consistently enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// `dc`: another datacenter than the agent's.
    pub datacenter: String,
    /// `ns`: Enterprise only; servers refuse it.
    pub namespace: String,
    /// `stale`: any server may answer.
    pub stale: bool,
    /// `consistent`: the leader confirms its leadership first.
    pub consistent: bool,
    /// `index`: wait until the result is newer; 0 does not wait.
    pub wait_index: u64,
    /// `wait`: longest wait; zero leaves the server's default.
    pub wait: Duration,
    /// `near`: sort by distance from this node.
    pub near: String,
    /// `node-meta`: pairs that must all match.
    pub node_meta: Vec<(String, String)>,
    /// `filter`: a boolean expression.
    pub filter: String,
    /// Token for this request in place of the client's.
    pub token: Option<String>,
}

/// What the headers of a query answer say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryMeta {
    /// `X-Consul-Index`, 0 when absent.
    pub last_index: u64,
    /// `X-Consul-LastContact`: how long ago the answering server heard from the leader.
    pub last_contact: Duration,
    /// `X-Consul-KnownLeader`.
    pub known_leader: bool,
    /// `X-Consul-Translate-Addresses` was set.
    pub addresses_translated: bool,
    /// `X-Cache: HIT`.
    pub cache_hit: bool,
    /// `Age`: age of a cached answer.
    pub cache_age: Duration,
    /// `X-Consul-ContentHash`, for hash based blocking.
    pub content_hash: String,
}

/// One request, built by its caller and sent by [`Client::send`].
pub struct Request {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    payload: Payload,
    token: Option<String>,
}

impl Request {
    /// A request for `path`, which is percent-encoded here (slashes stay).
    pub fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: encode_path(path),
            query: Vec::new(),
            payload: Payload::Empty,
            token: None,
        }
    }

    /// Adds one query parameter. Order does not matter; they are sent sorted by name, as Go clients do.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the parameter when the value is not empty.
    #[must_use]
    pub fn param_if(self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.param(name, value)
        }
    }

    /// Adds what `options` asks for.
    #[must_use]
    pub fn options(mut self, options: &QueryOptions) -> Self {
        self = self
            .param_if("dc", &options.datacenter)
            .param_if("ns", &options.namespace)
            .param_if("near", &options.near)
            .param_if("filter", &options.filter);
        if options.stale {
            self = self.param("stale", "");
        }
        if options.consistent {
            self = self.param("consistent", "");
        }
        if options.wait_index != 0 {
            self = self.param("index", options.wait_index.to_string());
        }
        if !options.wait.is_zero() {
            self = self.param("wait", format!("{}ms", options.wait.as_millis().max(1)));
        }
        for (key, value) in &options.node_meta {
            self = self.param("node-meta", format!("{key}:{value}"));
        }
        if options.token.is_some() {
            self.token.clone_from(&options.token);
        }
        self
    }

    /// Adds the datacenter and namespace alone, as writes do.
    #[must_use]
    pub fn write_options(mut self, options: &QueryOptions) -> Self {
        self = self
            .param_if("dc", &options.datacenter)
            .param_if("ns", &options.namespace);
        if options.token.is_some() {
            self.token.clone_from(&options.token);
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, value: &impl serde::Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.body(Payload::Bytes(text))
    }

    /// Path and query as sent on the request line.
    fn target(&self) -> String {
        let mut target = self.path.clone();
        let mut query: Vec<_> = self.query.iter().collect();
        query.sort_by(|a, b| a.0.cmp(&b.0));
        for (i, (name, value)) in query.into_iter().enumerate() {
            target.push(if i == 0 { '?' } else { '&' });
            target.push_str(&encode_query(name));
            target.push('=');
            target.push_str(&encode_query(value));
        }
        target
    }
}

/// A client of one agent. Cheap to clone; clones share the kept connection.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    tls: Option<Arc<rustls::ClientConfig>>,
    idle: Arc<Mutex<Option<Connection>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.config.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for `config`. Reads the TLS files now, so that a wrong path is told before the first request.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let tls = match config.scheme {
            Scheme::Https => Some(tls::client_config(&config.tls)?),
            Scheme::Http => {
                tls::check_files(&config.tls)?;
                None
            }
        };
        Ok(Self {
            config: Arc::new(config),
            tls,
            idle: Arc::default(),
        })
    }

    /// Sends a request and returns the answer, whatever its status. The body is not read yet.
    pub fn send(&self, request: Request) -> Result<Response, Error> {
        let target = request.target();
        let verb = {
            let mut verb = request.method.to_ascii_lowercase();
            verb[..1].make_ascii_uppercase();
            verb
        };
        let failed = |text: String| Error::Transport {
            verb: verb.clone(),
            url: format!(
                "{}://{}{target}",
                self.config.scheme.as_str(),
                self.config.address.url_host()
            ),
            text,
        };
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let connection = match kept.filter(Connection::is_quiet) {
            Some(connection) => connection,
            None => Connection::new(
                transport::connect(&self.config, self.tls.as_ref()).map_err(&failed)?,
            ),
        };
        let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
        let mut header = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.extend(value.chars().filter(|c| !c.is_control()));
            head.push_str("\r\n");
        };
        header("Host", &self.config.address.host_header());
        header("User-Agent", "tribune");
        let token = request.token.as_deref().unwrap_or(&self.config.token);
        if !token.is_empty() {
            header("X-Consul-Token", token);
        }
        if let Some((user, password)) = &self.config.basic_auth {
            use base64::Engine as _;
            let pair = format!("{user}:{password}");
            let text = base64::engine::general_purpose::STANDARD.encode(pair);
            header("Authorization", &format!("Basic {text}"));
        }
        let idle = self.idle.clone();
        connection
            .exchange(request.method, &head, request.payload, idle)
            .map_err(failed)
    }

    /// Sends and demands status 200; any other becomes [`Error::Status`] with the body.
    pub fn send_ok(&self, request: Request) -> Result<Response, Error> {
        let mut response = self.send(request)?;
        if response.status == 200 {
            return Ok(response);
        }
        let status = response.status;
        let body = response.text_limited()?;
        Err(Error::Status { status, body })
    }

    /// A GET whose JSON answer is decoded, with what the headers say.
    pub fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        options: &QueryOptions,
    ) -> Result<(T, QueryMeta), Error> {
        self.query(Request::new("GET", path).options(options))
    }

    /// Sends a request whose JSON answer is decoded, with what the headers say.
    pub fn query<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(T, QueryMeta), Error> {
        let mut response = self.send_ok(request)?;
        let meta = response.meta();
        Ok((response.json()?, meta))
    }
}

impl Response {
    /// What the query headers say; absent ones are zero.
    pub fn meta(&self) -> QueryMeta {
        let number = |name| self.header(name).and_then(|v| v.parse().ok()).unwrap_or(0);
        QueryMeta {
            last_index: number("x-consul-index"),
            last_contact: Duration::from_millis(number("x-consul-lastcontact")),
            known_leader: self.header("x-consul-knownleader") == Some("true"),
            addresses_translated: self.header("x-consul-translate-addresses") == Some("true"),
            cache_hit: self
                .header("x-cache")
                .is_some_and(|v| v.eq_ignore_ascii_case("hit")),
            cache_age: Duration::from_secs(number("age")),
            content_hash: self
                .header("x-consul-contenthash")
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Reads the whole body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let mut body = Vec::new();
        self.read_to_end(&mut body).map_err(Error::Read)?;
        serde_json::from_slice(&body).map_err(Error::Decode)
    }

    /// Reads the body of an error answer, at most 1 MiB of it.
    pub fn text_limited(&mut self) -> Result<String, Error> {
        let mut body = Vec::new();
        self.take(1 << 20)
            .read_to_end(&mut body)
            .map_err(Error::Read)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// Percent-encodes a path like Go's `url.URL`: letters, digits, `-_.~`, `/` and `$&+,:;=@` stay.
pub fn encode_path(path: &str) -> String {
    encode(path, b"-_.~/$&+,:;=@")
}

/// Percent-encodes one segment of a path, slashes included.
pub fn encode_segment(segment: &str) -> String {
    encode(segment, b"-_.~$&+:=@")
}

fn encode_query(text: &str) -> String {
    encode(text, b"-_.~")
}

fn encode(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
