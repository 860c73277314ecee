//! Watches of the configuration: what to watch and whom to tell (agent.md section 5).
//!
//! In: free-form objects of the `watches` list. Out: [`Watch`] values; what does not fit is an error at start.

use std::collections::BTreeMap;
use std::time::Duration;

use tribune_types::caller::Token;
use tribune_types::text::text;

use crate::get::{View, duration};
use crate::tree::{Object, Tree};

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchKind {
    /// One key.
    Key {
        /// The key.
        key: String,
    },
    /// Keys below a prefix.
    KeyPrefix {
        /// The prefix.
        prefix: String,
    },
    /// Names and tags of services.
    Services,
    /// Nodes.
    Nodes,
    /// Instances of a service.
    Service {
        /// Its name.
        service: String,
        /// Tags all of which an instance must have.
        tags: Vec<String>,
        /// Only instances that pass.
        passing_only: bool,
    },
    /// Checks.
    Checks {
        /// Of this service; empty means by state.
        service: String,
        /// In this state; empty means any.
        state: String,
    },
    /// User events.
    Event {
        /// With this name; empty means all.
        name: String,
    },
}

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchHandler {
    /// A command without a shell; JSON on its standard input.
    Args(Vec<String>),
    /// A command run by the shell.
    Shell(String),
    /// A request with a JSON body.
    Http(HttpHandler),
}

/// A request made on every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHandler {
    /// URL.
    pub path: String,
    /// Default POST.
    pub method: String,
    /// Default 10 s.
    pub timeout: Duration,
    /// Headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Do not verify the certificate. Default false.
    pub tls_skip_verify: bool,
}

/// One watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What.
    pub kind: WatchKind,
    /// Datacenter; empty means the own.
    pub datacenter: String,
    /// Token; anonymous means the agent's.
    pub token: Token,
    /// Allow stale reads.
    pub stale: bool,
    /// Whom to tell.
    pub handler: WatchHandler,
}

/// Types that only the `watch` command takes.
const COMMAND_ONLY: [&str; 3] = ["connect_roots", "connect_leaf", "agent_service"];

/// Reads one watch.
pub(crate) fn watch(object: &Object) -> Result<Watch, String> {
    let mut params = Params(object.clone());
    let datacenter = params.text("datacenter")?;
    let token = params.text("token")?;
    let kind_name = params.text("type")?;
    if kind_name.is_empty() {
        return Err("Watch type must be specified".to_owned());
    }
    if COMMAND_ONLY.contains(&kind_name.as_str()) {
        return Err(format!(
            "Watch type {kind_name} is not allowed in agent config"
        ));
    }
    let handler_type = params.text("handler_type")?;
    let has_handler = params.0.contains_key("handler");
    let shell = params.text("handler")?;
    let has_args = params.0.contains_key("args");
    let args = params.list("args")?;
    if has_handler && has_args {
        return Err("Only one watch handler allowed".to_owned());
    }
    let http = params.0.remove("http_handler_config");
    let handler = match handler_type.as_str() {
        "" | "script" => match (has_handler, args.is_empty()) {
            (true, _) => WatchHandler::Shell(shell),
            (false, false) => WatchHandler::Args(args),
            (false, true) => return Err("Must define a watch handler".to_owned()),
        },
        "http" => match http {
            None | Some(Tree::Null) => {
                return Err(
                    "Handler type 'http' requires 'http_handler_config' to be set".to_owned(),
                );
            }
            Some(tree) => WatchHandler::Http(http_handler(tree)?),
        },
        other => return Err(format!("Handler type '{other}' not recognized")),
    };
    let kind = match kind_name.as_str() {
        "key" => WatchKind::Key {
            key: params.need("key", "Must specify a single key to watch")?,
        },
        "keyprefix" => WatchKind::KeyPrefix {
            prefix: params.need("prefix", "Must specify a single prefix to watch")?,
        },
        "services" => WatchKind::Services,
        "nodes" => WatchKind::Nodes,
        "service" => WatchKind::Service {
            service: params.need("service", "Must specify a single service to watch")?,
            tags: params.list_or_text("tag")?,
            passing_only: params.flag("passingonly")?,
        },
        "checks" => {
            let (service, state) = (params.text("service")?, params.text("state")?);
            if !service.is_empty() && !state.is_empty() {
                return Err("Cannot specify service and state".to_owned());
            }
            WatchKind::Checks { service, state }
        }
        "event" => WatchKind::Event {
            name: params.text("name")?,
        },
        other => return Err(format!("Unsupported watch type: {other}")),
    };
    let stale = params.flag("stale")?;
    if !params.0.is_empty() {
        let names: Vec<&str> = params.0.keys().map(String::as_str).collect();
        return Err(format!("Invalid parameters: [{}]", names.join(" ")));
    }
    Ok(Watch {
        kind,
        datacenter,
        token: Token::new(text(&token)),
        stale,
        handler,
    })
}

/// Parameters not yet read.
struct Params(Object);

impl Params {
    fn take(&mut self, name: &str) -> Option<Tree> {
        self.0.remove(name).filter(|v| *v != Tree::Null)
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Tree::String(s)) => Ok(s),
            Some(_) => Err(format!("Expecting {name} to be a string")),
        }
    }

    fn need(&mut self, name: &str, missing: &str) -> Result<String, String> {
        let text = self.text(name)?;
        if text.is_empty() {
            Err(missing.to_owned())
        } else {
            Ok(text)
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name) {
            None => Ok(false),
            Some(Tree::Bool(b)) => Ok(b),
            Some(Tree::String(s)) if s == "true" || s == "false" => Ok(s == "true"),
            Some(_) => Err(format!("Expecting {name} to be a boolean")),
        }
    }

    fn list(&mut self, name: &str) -> Result<Vec<String>, String> {
        self.list_or_text(name)
            .map_err(|_| format!("Watch {name} must be a list of strings"))
    }

    fn list_or_text(&mut self, name: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("Expecting {name} to be a string or []string");
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Tree::String(s)) => Ok(vec![s]),
            Some(Tree::List(list)) => list
                .into_iter()
                .map(|item| match item {
                    Tree::String(s) => Ok(s),
                    _ => Err(wrong()),
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }
}

fn http_handler(tree: Tree) -> Result<HttpHandler, String> {
    let Tree::Map(map) = tree else {
        return Err("http_handler_config must be an object".to_owned());
    };
    let known = ["path", "method", "timeout", "header", "tls_skip_verify"];
    if let Some(key) = map.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!("Invalid parameters: [http_handler_config.{key}]"));
    }
    let view = View(&map);
    let path = view.string("path");
    if path.is_empty() {
        return Err("Failed to parse 'http_handler_config': Requires 'path' to be set".to_owned());
    }
    let mut errors = Vec::new();
    let timeout = match view.str("timeout") {
        "" => Duration::from_secs(10),
        text => duration(
            text,
            "Failed to parse 'http_handler_config': timeout",
            &mut errors,
        ),
    };
    if let Some(e) = errors.pop() {
        return Err(e);
    }
    let mut header = BTreeMap::new();
    for (name, values) in view
        .object("header")
        .map(|h| h.0.clone())
        .unwrap_or_default()
    {
        let mut one = Params(Object::from([("header".to_owned(), values)]));
        header.insert(name, one.list_or_text("header")?);
    }
    let method = match view.str("method") {
        "" => "POST".to_owned(),
        method => method.to_owned(),
    };
    Ok(HttpHandler {
        path,
        method,
        timeout,
        header,
        tls_skip_verify: view.bool("tls_skip_verify"),
    })
}
