//! Watch plans: tell a handler whenever the answer to a query changes.
//!
//! In: parameters as a command or a configuration file gives them. Out: a [`Plan`] whose [`Plan::run`] blocks on the
//! agent and calls back with each new result. Used by the `watch` command, and by agents for configured watches.
//!
//! Rules (spec agent.md section 5): a call at the start and whenever both the index moved and the result differs;
//! an index that goes backwards starts over; errors are tried again after 5 s x failures², at most 180 s.

use std::{
    collections::BTreeMap, sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration,
};

use serde_json::Value;
use tribune_types::duration::parse_go;

use super::{
    AgentService, Client, Error, QueryMeta, QueryOptions, Request, UserEvent, gojson, host,
};

/// First pause after an error; the pauses grow with the square of the failures in a row.
const RETRY_UNIT: Duration = Duration::from_secs(5);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the parameters of the watch type, spec agent.md section 5"
)]
pub enum Target {
    Key(String),
    KeyPrefix(String),
    Services,
    Nodes,
    Service {
        service: String,
        tags: Vec<String>,
        passing_only: bool,
    },
    Checks {
        service: String,
        state: String,
    },
    Event {
        name: String,
    },
    ConnectRoots,
    ConnectLeaf {
        service: String,
    },
    AgentService {
        id: String,
    },
}

/// What to call on a change, for watches of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HandlerKind {
    /// A program; its words are in the parameters handed back.
    #[default]
    Script,
    /// A web hook.
    Http(HttpHandler),
}

/// A web hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHandler {
    /// Address.
    pub path: String,
    /// Method, `POST` unless set.
    pub method: String,
    /// Longest time for an answer, 10 s unless set.
    pub timeout: Duration,
    /// Further headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
}

/// A parsed watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Watch type as it was written.
    pub kind: String,
    /// What is watched.
    pub target: Target,
    /// What to call, for watches of a configuration.
    pub handler: HandlerKind,
    query: QueryOptions,
}

/// A new result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Index of the answer, what `CONSUL_INDEX` shows.
    pub index: u64,
    /// The result as one line of JSON.
    pub json: String,
}

/// What the handler wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on watching.
    Continue,
    /// End the run.
    Stop,
}

/// The parameters make no watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PlanError {
    #[error("Watch type must be specified")]
    NoType,
    #[error("Unsupported watch type: {0}")]
    UnknownType(String),
    #[error("Expecting {0} to be a {1}")]
    WrongKind(String, &'static str),
    #[error("Must specify a single {0} to watch")]
    Missing(&'static str),
    #[error("Cannot specify service and state")]
    ServiceAndState,
    #[error("Invalid parameters: [{}]", .0.join(" "))]
    Unknown(Vec<String>),
    #[error("Handler type 'http' requires 'http_handler_config' to be set")]
    NoHttpConfig,
    #[error("Requires 'path' to be set")]
    NoPath,
    #[error("Failed to parse 'http_handler_config': {0}")]
    HttpConfig(String),
    #[error("Handler type '{0}' not recognized")]
    UnknownHandler(String),
}

/// Parameters on their way into a plan; what is left at the end is unknown.
struct Params(BTreeMap<String, Value>);

impl Params {
    fn text(&mut self, name: &str) -> Result<String, PlanError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(PlanError::WrongKind(name.to_owned(), "string")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, PlanError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(on),
            Some(_) => Err(PlanError::WrongKind(name.to_owned(), "boolean")),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, PlanError> {
        let wrong = || PlanError::WrongKind(name.to_owned(), "string");
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => list
                .into_iter()
                .map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    fn needed(&mut self, name: &'static str) -> Result<String, PlanError> {
        match self.text(name)? {
            text if text.is_empty() => Err(PlanError::Missing(match name {
                "service_id" => "service_id",
                name => name,
            })),
            text => Ok(text),
        }
    }
}

impl Plan {
    /// Parses parameters. Those named in `exempt` belong to the caller and come back untouched.
    pub fn parse(
        params: BTreeMap<String, Value>,
        exempt: &[&str],
    ) -> Result<(Self, BTreeMap<String, Value>), PlanError> {
        let mut params = Params(params);
        let kept: BTreeMap<_, _> = exempt
            .iter()
            .filter_map(|name| params.0.remove_entry(*name))
            .collect();
        let query = QueryOptions {
            datacenter: params.text("datacenter")?,
            token: Some(params.text("token")?).filter(|t| !t.is_empty()),
            ..QueryOptions::default()
        };
        let kind = params.text("type")?;
        if kind.is_empty() {
            return Err(PlanError::NoType);
        }
        let handler = match params.text("handler_type")?.as_str() {
            "" | "script" => HandlerKind::Script,
            "http" => {
                let config = params.0.remove("http_handler_config");
                HandlerKind::Http(http_handler(config.ok_or(PlanError::NoHttpConfig)?)?)
            }
            other => return Err(PlanError::UnknownHandler(other.to_owned())),
        };
        let (target, stale) = target(&kind, &mut params)?;
        if !params.0.is_empty() {
            return Err(PlanError::Unknown(params.0.into_keys().collect()));
        }
        let query = QueryOptions { stale, ..query };
        let plan = Self {
            kind,
            target,
            handler,
            query,
        };
        Ok((plan, kept))
    }

    /// Watches until the handler says stop or `stop` is set. `on_error` hears of failures and the pause that follows.
    pub fn run(
        &self,
        client: &Client,
        stop: &AtomicBool,
        mut on_error: impl FnMut(&Error, Duration),
        mut on_change: impl FnMut(&Change) -> Next,
    ) {
        let mut progress = Progress::default();
        while !stop.load(Ordering::Relaxed) {
            let answer = self.fetch(client, progress.index, progress.cursor.as_deref());
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match answer {
                Err(e) => {
                    let pause = progress.failed();
                    on_error(&e, pause);
                    pause_unless(stop, pause);
                }
                Ok((change, cursor)) => {
                    progress.cursor = cursor;
                    if let Some(change) = progress.answered(change)
                        && on_change(&change) == Next::Stop
                    {
                        return;
                    }
                }
            }
        }
    }

    /// One query. `after` is the index to wait beyond, 0 to ask at once; `cursor` is what the last call returned
    /// beside its result: the newest event's ID, or a content hash.
    fn fetch(
        &self,
        client: &Client,
        after: u64,
        cursor: Option<&str>,
    ) -> Result<(Change, Option<String>), Error> {
        let options = QueryOptions {
            wait_index: after,
            ..self.query.clone()
        };
        let change = |json: String, meta: QueryMeta| Change {
            index: meta.last_index,
            json,
        };
        let found = match &self.target {
            Target::Key(key) => {
                let (pair, meta) = client.kv_get(key, &options)?;
                change(gojson::compact(&pair), meta)
            }
            Target::KeyPrefix(prefix) => {
                let (pairs, meta) = client.kv_list(prefix, &options)?;
                change(gojson::compact(&pairs), meta)
            }
            Target::Services => {
                let (services, meta) = client.services(&options)?;
                change(gojson::compact(&services), meta)
            }
            Target::Nodes => {
                let (nodes, meta) = client.nodes(&options)?;
                change(gojson::compact(&nodes), meta)
            }
            Target::Service {
                service,
                tags,
                passing_only,
            } => {
                let (entries, meta) =
                    client.health_service(service, tags, *passing_only, &options)?;
                change(gojson::compact(&entries), meta)
            }
            Target::Checks { service, state } => {
                let (checks, meta) = match (service.as_str(), state.as_str()) {
                    ("", "") => client.health_state("any", &options)?,
                    ("", state) => client.health_state(state, &options)?,
                    (service, _) => client.health_checks(service, &options)?,
                };
                change(gojson::compact(&checks), meta)
            }
            Target::Event { name } => {
                let (events, meta) = client.events(name, &options)?;
                let fresh = newer_events(&events, cursor);
                let newest = events.last().map(|e| e.id.clone());
                return Ok((change(gojson::compact(&fresh), meta), newest));
            }
            Target::ConnectRoots => {
                let (roots, meta) = client.get::<Box<serde_json::value::RawValue>>(
                    "/v1/agent/connect/ca/roots",
                    &options,
                )?;
                change(gojson::compact(&roots), meta)
            }
            Target::ConnectLeaf { service } => {
                let path = format!("/v1/agent/connect/ca/leaf/{service}");
                let (leaf, meta) =
                    client.get::<Box<serde_json::value::RawValue>>(&path, &options)?;
                change(gojson::compact(&leaf), meta)
            }
            Target::AgentService { id } => {
                let request = Request::new("GET", &format!("/v1/agent/service/{id}"))
                    .options(&self.query)
                    .param_if("hash", cursor.unwrap_or_default());
                let (service, meta) = client.query::<AgentService>(request)?;
                // Agents block on this one by content, not by index: the folded hash stands for an index.
                let index = meta.content_hash.bytes().fold(17, |n: u64, b| {
                    n.wrapping_mul(31).wrapping_add(u64::from(b))
                });
                let json = gojson::compact(&service);
                return Ok((Change { index, json }, Some(meta.content_hash)));
            }
        };
        Ok((found, None))
    }
}

/// Where a run stands.
#[derive(Default)]
struct Progress {
    index: u64,
    failures: u32,
    last: Option<String>,
    cursor: Option<String>,
}

impl Progress {
    /// Counts a failure and returns the pause before the next try.
    fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.index = 0;
        RETRY_UNIT
            .saturating_mul(self.failures.saturating_mul(self.failures))
            .min(RETRY_MAX)
    }

    /// Takes an answer; returns it when the handler must hear of it.
    fn answered(&mut self, change: Change) -> Option<Change> {
        self.failures = 0;
        let before = self.index;
        if before != 0 && change.index == before {
            return None;
        }
        self.index = if change.index < before {
            0
        } else {
            change.index
        };
        if self.last.as_deref() == Some(&change.json) {
            return None;
        }
        self.last = Some(change.json.clone());
        Some(change)
    }
}

fn target(kind: &str, params: &mut Params) -> Result<(Target, bool), PlanError> {
    // Types that only the agent itself can answer have no staleness.
    let stale = match kind {
        "event" | "connect_roots" | "connect_leaf" | "agent_service" => false,
        _ => params.flag("stale")?,
    };
    let target = match kind {
        "key" => Target::Key(params.needed("key")?),
        "keyprefix" => Target::KeyPrefix(params.needed("prefix")?),
        "services" => Target::Services,
        "nodes" => Target::Nodes,
        "service" => Target::Service {
            service: params.needed("service")?,
            tags: params.texts("tag")?,
            passing_only: params.flag("passingonly")?,
        },
        "checks" => {
            let (service, state) = (params.text("service")?, params.text("state")?);
            if !service.is_empty() && !state.is_empty() {
                return Err(PlanError::ServiceAndState);
            }
            Target::Checks { service, state }
        }
        "event" => Target::Event {
            name: params.text("name")?,
        },
        "connect_roots" => Target::ConnectRoots,
        "connect_leaf" => Target::ConnectLeaf {
            service: params.text("service")?,
        },
        "agent_service" => Target::AgentService {
            id: params.needed("service_id")?,
        },
        other => return Err(PlanError::UnknownType(other.to_owned())),
    };
    Ok((target, stale))
}

fn http_handler(config: Value) -> Result<HttpHandler, PlanError> {
    let Value::Object(fields) = config else {
        return Err(PlanError::HttpConfig("expected a map".to_owned()));
    };
    let mut params = Params(fields.into_iter().collect());
    let path = params.text("path")?;
    if path.is_empty() {
        return Err(PlanError::NoPath);
    }
    let method = match params.text("method")? {
        text if text.is_empty() => "POST".to_owned(),
        text => text,
    };
    let timeout = match params.text("timeout")? {
        text if text.is_empty() => Duration::from_secs(10),
        text => parse_go(&text).map_err(|e| PlanError::HttpConfig(e.to_string()))?,
    };
    let mut header = BTreeMap::new();
    if let Some(Value::Object(fields)) = params.0.remove("header") {
        for (name, value) in fields {
            let values = Params(BTreeMap::from([(name.clone(), value)])).texts(&name)?;
            header.insert(name, values);
        }
    }
    let tls_skip_verify = params.flag("tls_skip_verify")?;
    Ok(HttpHandler {
        path,
        method,
        timeout,
        header,
        tls_skip_verify,
    })
}

/// Events behind the last one that was reported.
fn newer_events<'a>(events: &'a [UserEvent], last: Option<&str>) -> &'a [UserEvent] {
    match events.iter().rposition(|e| Some(e.id.as_str()) == last) {
        Some(at) => &events[at + 1..],
        None => events,
    }
}

fn pause_unless(stop: &AtomicBool, pause: Duration) {
    let start = host::now();
    while start.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        host::sleep(Duration::from_millis(100).min(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> BTreeMap<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn parameters_make_a_plan_or_say_why_not() {
        for (text, want) in [
            ("{}", "Watch type must be specified"),
            (r#"{"type":"nope"}"#, "Unsupported watch type: nope"),
            (r#"{"type":"key"}"#, "Must specify a single key to watch"),
            (
                r#"{"type":"keyprefix"}"#,
                "Must specify a single prefix to watch",
            ),
            (
                r#"{"type":"service"}"#,
                "Must specify a single service to watch",
            ),
            (r#"{"type":"nodes","key":"a"}"#, "Invalid parameters: [key]"),
            (
                r#"{"type":"services","z":1,"a":2}"#,
                "Invalid parameters: [a z]",
            ),
            (
                r#"{"type":"checks","service":"a","state":"b"}"#,
                "Cannot specify service and state",
            ),
            (r#"{"type":"key","key":1}"#, "Expecting key to be a string"),
            (
                r#"{"type":"key","key":"k","handler_type":"http"}"#,
                "Handler type 'http' requires 'http_handler_config' to be set",
            ),
            (
                r#"{"type":"key","key":"k","handler_type":"http","http_handler_config":{}}"#,
                "Requires 'path' to be set",
            ),
        ] {
            let err = Plan::parse(params(text), &[]).unwrap_err();
            assert_eq!(err.to_string(), want, "{text}");
        }
        let text =
            r#"{"type":"service","service":"web","tag":"a","passingonly":true,"args":["x"]}"#;
        let (plan, kept) = Plan::parse(params(text), &["args", "handler"]).unwrap();
        let want = Target::Service {
            service: "web".to_owned(),
            tags: vec!["a".to_owned()],
            passing_only: true,
        };
        assert_eq!(plan.target, want);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["args"]);
    }

    #[test]
    fn a_handler_hears_of_changes_only() {
        let mut progress = Progress::default();
        // (index, result, heard)
        for (index, json, heard) in [
            (5, "a", true),
            (5, "b", false),
            (6, "a", false),
            (7, "b", true),
            (3, "c", true),
            (3, "c", false),
            (4, "d", true),
        ] {
            let change = Change {
                index,
                json: json.to_owned(),
            };
            assert_eq!(progress.answered(change).is_some(), heard, "{index} {json}");
        }
    }

    #[test]
    fn pauses_grow_with_the_square_of_failures_up_to_three_minutes() {
        let mut progress = Progress::default();
        let secs: Vec<u64> = (0..8).map(|_| progress.failed().as_secs()).collect();
        assert_eq!(secs, [5, 20, 45, 80, 125, 180, 180, 180]);
    }
}
