//! Watches of the configuration: each runs a plan against the agent's own HTTP API and calls its handler.
//!
//! A plan blocks, so it has a thread of its own. Stopping lets go of the thread: its last query may last on until it
//! is answered, then it ends without a call. In simulation no watch runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::{error, info, warn};
use tribune_api::client::watch::{Change, Next, Plan};
use tribune_api::client::{Client, ClientConfig};
use tribune_config::{Config, HttpHandler, ListenAddr, Watch, WatchHandler, WatchKind};
use tribune_local::{OutputRing, captured};
use tribune_rt::Env;
use tribune_rt::process::Command;
use tribune_types::text::text;

use crate::checks::TlsForChecks;
use crate::checks::http::{HttpRequest, send};
use crate::tokens::Tokens;

/// Bytes of a handler's output that reach the log.
const OUTPUT_SIZE_MAX: usize = 4096;

/// The running watches.
pub(crate) struct Watches {
    env: Env,
    running: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Watches {
    pub(crate) fn new(env: &Env) -> Watches {
        Watches {
            env: env.clone(),
            running: Mutex::default(),
        }
    }

    /// Stops all watches.
    pub(crate) fn stop(&self) {
        for stop in self.running.lock().drain(..) {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Stops all watches and starts those of a configuration.
    pub(crate) fn replace(&self, config: &Config, tokens: &Tokens) {
        self.stop();
        if config.reloadable.watches.is_empty() || self.env.is_sim() {
            return;
        }
        let Some(own) = own_api(config) else {
            error!("watch plans require an HTTP or HTTPS endpoint");
            return;
        };
        for watch in &config.reloadable.watches {
            match start(&self.env, watch, own.clone(), tokens) {
                Ok(stop) => self.running.lock().push(stop),
                Err(err) => error!(%err, "watch not started"),
            }
        }
    }
}

/// Where the own API answers.
fn own_api(config: &Config) -> Option<ClientConfig> {
    let reach = |addr: &ListenAddr, tls: bool| {
        let address = match addr {
            ListenAddr::Tcp(addr) if addr.ip().is_unspecified() => {
                let host = if addr.is_ipv6() { "[::1]" } else { "127.0.0.1" };
                format!("{host}:{}", addr.port())
            }
            other => other.to_string(),
        };
        ClientConfig::new(&address, tls).ok()
    };
    if let Some(addr) = config.listeners.http.first() {
        return reach(addr, false);
    }
    let mut client = reach(config.listeners.https.first()?, true)?;
    let tls = &config.reloadable.tls;
    client.tls.ca_file = tls.ca_file.clone();
    client.tls.ca_path = tls.ca_path.clone();
    client.tls.client_cert = tls.cert_file.clone();
    client.tls.client_key = tls.key_file.clone();
    // The own certificate need not name the address it is reached by.
    client.tls.skip_verify = true;
    Some(client)
}

fn start(
    env: &Env,
    watch: &Watch,
    mut own: ClientConfig,
    tokens: &Tokens,
) -> Result<Arc<AtomicBool>, String> {
    let token = if watch.token.is_anonymous() {
        tokens.default_token()
    } else {
        watch.token.clone()
    };
    own.token = token.secret().to_owned();
    let client = Client::new(own).map_err(|err| err.to_string())?;
    let (plan, _) = Plan::parse(params(watch), &[]).map_err(|err| err.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    let (env_of_thread, handler, stopped) = (env.clone(), watch.handler.clone(), Arc::clone(&stop));
    let tls = TlsForChecks::new(env.disk(), None);
    let work = move || {
        let on_error = |err: &tribune_api::client::Error, pause: Duration| {
            warn!(watch = %plan.kind, %err, ?pause, "watch failed, trying again");
        };
        plan.run(&client, &stopped, on_error, |change| {
            if !stopped.load(Ordering::Relaxed) {
                env_of_thread.block_on(call(&env_of_thread, &handler, change, &tls));
            }
            Next::Continue
        });
    };
    // The thread ends by its stop flag; waiting for it could take as long as a query.
    env.spawn_thread("watch", work)
        .map_err(|err| err.to_string())?;
    Ok(stop)
}

/// The parameters of a plan.
fn params(watch: &Watch) -> BTreeMap<String, Value> {
    let mut params: BTreeMap<String, Value> = BTreeMap::new();
    let mut set = |key: &str, value: Value| {
        params.insert(key.to_owned(), value);
    };
    set("datacenter", json!(watch.datacenter));
    match &watch.kind {
        WatchKind::Key { key } => {
            set("type", json!("key"));
            set("key", json!(key));
        }
        WatchKind::KeyPrefix { prefix } => {
            set("type", json!("keyprefix"));
            set("prefix", json!(prefix));
        }
        WatchKind::Services => set("type", json!("services")),
        WatchKind::Nodes => set("type", json!("nodes")),
        WatchKind::Service {
            service,
            tags,
            passing_only,
        } => {
            set("type", json!("service"));
            set("service", json!(service));
            set("passingonly", json!(passing_only));
            if !tags.is_empty() {
                set("tag", json!(tags));
            }
        }
        WatchKind::Checks { service, state } => {
            set("type", json!("checks"));
            if !service.is_empty() {
                set("service", json!(service));
            }
            if !state.is_empty() {
                set("state", json!(state));
            }
        }
        WatchKind::Event { name } => {
            set("type", json!("event"));
            if !name.is_empty() {
                set("name", json!(name));
            }
        }
    }
    if watch.stale && !matches!(watch.kind, WatchKind::Event { .. }) {
        set("stale", json!(true));
    }
    params
}

async fn call(env: &Env, handler: &WatchHandler, change: &Change, tls: &TlsForChecks) {
    match handler {
        WatchHandler::Args(words) => run(words.clone(), change).await,
        WatchHandler::Shell(line) => {
            run(
                vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
                change,
            )
            .await;
        }
        WatchHandler::Http(http) => post(env, http, change, tls).await,
    }
}

async fn run(words: Vec<String>, change: &Change) {
    let mut words = words.into_iter();
    let Some(program) = words.next() else { return };
    let command = Command {
        program: program.clone().into(),
        args: words.map(Into::into).collect(),
        env: vec![("CONSUL_INDEX".into(), change.index.to_string().into())],
        dir: None,
        stdin: Some(change.json.clone().into_bytes()),
        one_output: false,
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(err) => {
            error!(handler = %program, %err, "watch handler not started");
            return;
        }
    };
    let ring = Mutex::new(OutputRing::new(OUTPUT_SIZE_MAX));
    let (stdout, stderr) = (child.take_stdout(), child.take_stderr());
    tokio::join!(drain(stdout, &ring), drain(stderr, &ring));
    let output = captured(&ring.lock());
    match child.wait().await {
        Ok(status) if status.success() => info!(handler = %program, %output, "watch handler ran"),
        Ok(status) => error!(handler = %program, %status, %output, "watch handler failed"),
        Err(err) => error!(handler = %program, %err, "watch handler lost"),
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, ring: &Mutex<OutputRing>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        ring.lock().write(&buffer[..count]);
    }
}

async fn post(env: &Env, handler: &HttpHandler, change: &Change, tls: &TlsForChecks) {
    let mut headers = HeaderMap::new();
    for (name, values) in &handler.header {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        for value in values
            .iter()
            .filter_map(|value| HeaderValue::from_str(value).ok())
        {
            headers.append(name.clone(), value);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-consul-index", HeaderValue::from(change.index));
    let request = HttpRequest {
        method: handler.method.clone(),
        url: handler.path.clone(),
        headers,
        body: Bytes::from(change.json.clone()),
        skip_verify: handler.tls_skip_verify,
    };
    let url = text(&handler.path);
    match send(env, request, handler.timeout, OUTPUT_SIZE_MAX, tls).await {
        Ok(answer) if (200..300).contains(&answer.code) => info!(%url, "watch handler called"),
        Ok(answer) => {
            error!(%url, code = answer.code, output = %answer.body.text(), "watch handler refused");
        }
        Err(err) => error!(%url, %err, "watch handler not reached"),
    }
}
