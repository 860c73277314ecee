//! `exec`: runs a command on the nodes of a datacenter, through events and keys.
//!
//! The command is put under a key that a session holds, an event tells the agents where, and each that allows remote
//! execution writes what becomes of it below that key (spec cli.md, agent.md section 6). A session in another datacenter is
//! bound to a server there, since the agent's own node is unknown to it. Whatever happens, keys and session are removed.
//!
//! Texts and exit codes as seen on a running Consul 1.8.7: 2 when a node failed or did not finish.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Duration,
};

use serde::Serialize;
use tribune_api::client::{Client, Error, KvWrite, QueryOptions, Request, SessionRequest};
use tribune_filter::Pattern;

use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Kind, flag},
    threads,
};

/// Name of the event.
const EVENT: &str = "_rexec";
const PREFIX: &str = "_rexec";
const WAIT: Duration = Duration::from_secs(2);
const WAIT_REPLICATION: Duration = Duration::from_millis(200);
const SESSION_TTL: Duration = Duration::from_secs(15);
/// Longest wait of one question for results.
const POLL: Duration = Duration::from_secs(2);
/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(50);

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "exec",
    synopsis: "Runs a command on nodes",
    usage: "[options] [-|command...]",
    about: "Runs a command on all nodes of the datacenter that the filters match, and shows what it prints there. A single - in place of the command takes a script from standard input. Only agents whose configuration says disable_remote_exec = false take part.\n\n$ {p} exec -service web uptime",
    api: Api::Cluster,
    flags: &[
        flag("node", Kind::Text, "Regular expression of nodes."),
        flag(
            "prefix",
            Kind::Text,
            "Prefix of the keys used. Default: _rexec.",
        ),
        flag("service", Kind::Text, "Regular expression of services."),
        flag(
            "shell",
            Kind::Bool,
            "Run the command by a shell. Default: true.",
        ),
        flag(
            "tag",
            Kind::Text,
            "Regular expression of those services' tags. Needs -service.",
        ),
        flag("verbose", Kind::Bool, "Tell each step."),
        flag(
            "wait",
            Kind::Duration,
            "How long to wait, with nothing heard, before the end. Default: 2s.",
        ),
        flag(
            "wait-repl",
            Kind::Duration,
            "How long to wait for the servers to copy the command. Default: 200ms.",
        ),
    ],
    action: Action::Call(exec),
}];

/// The job as agents read it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Job {
    #[serde(skip_serializing_if = "String::is_empty")]
    command: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    /// In base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    script: String,
    /// Nanoseconds.
    wait: u64,
}

/// Payload of the event.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Order<'a> {
    prefix: &'a str,
    session: &'a str,
}

/// What a node did.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Acknowledged(String),
    Alive(String),
    Output(String, Vec<u8>),
    Exit(String, String),
    Failed(String),
}

fn exec(run: &mut Run<'_, '_>) -> Outcome {
    let text = |name: &str| run.flags.text(name).to_owned();
    let filters = [text("node"), text("service"), text("tag")];
    let prefix = match run.flags.given("prefix") {
        true => text("prefix"),
        false => PREFIX.to_owned(),
    };
    let [node, service, tag] = &filters;
    let job = job(run)?;
    if !tag.is_empty() && service.is_empty() {
        return fail("Cannot provide tag filter without service filter.");
    }
    for (what, pattern) in [("node", node), ("service", service), ("tag", tag)] {
        if !pattern.is_empty() {
            Pattern::compile(pattern)
                .map_err(because(&format!("Failed to compile {what} filter regexp")))?;
        }
    }
    let verbose = run.flags.on("verbose");
    let client = run.client()?;
    let agent = client
        .agent_self()
        .map_err(because("Error querying Consul agent"))?;
    let query = run.query();
    let own = agent.config_text("Datacenter");
    let wanted = if query.datacenter.is_empty() || query.datacenter == own {
        own_session()
    } else {
        if verbose {
            run.out("Remote exec in foreign datacenter, using Session TTL");
        }
        let via = format!("{}@{own}", agent.config_text("NodeName"));
        let wanted = foreign_session(&client, &query, &via)
            .map_err(|e| Failure::Text(format!("Failed to create session: {e}")))?;
        if verbose {
            let (node, dc) = (&wanted.node, &query.datacenter);
            run.out(format!("Binding session to remote node {node}@{dc}"));
        }
        wanted
    };
    let interrupts = (run.host.interrupts)();
    let session = client
        .session_create(&wanted, &query)
        .map_err(because("Failed to create session"))?;
    if verbose {
        run.out(format!("Created remote execution session: {session}"));
    }
    // Hanging up ends the renewal, which destroys the session.
    let (renewed, stop) = mpsc::channel();
    let renewal = {
        let (client, query, id) = (client.clone(), query.clone(), session.clone());
        threads::spawn("session-renew", move || {
            let _ = client.session_renew_until(&id, SESSION_TTL, &stop, &query);
        })
    };
    let call = Call {
        client: &client,
        query: &query,
        prefix: &prefix,
        session: &session,
        filters: &filters,
        interrupts: &interrupts,
        verbose,
    };
    let outcome = call.carry_out(run, &job);
    let cleaned = call.clean();
    drop(renewed);
    if let Ok(renewal) = renewal {
        let _ = renewal.join();
    }
    if let Err(e) = cleaned {
        run.err(format!("Failed to destroy data: {e}"));
    }
    outcome
}

fn job(run: &mut Run<'_, '_>) -> Result<Job, Failure> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let wait = run.flags.duration("wait", WAIT);
    let mut job = Job {
        command: String::new(),
        args: Vec::new(),
        script: String::new(),
        wait: u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX >> 1),
    };
    let shell = run.flags.bool("shell").unwrap_or(true);
    match run.args.as_slice() {
        [dash] if dash == "-" => {
            let script = run
                .data("-")
                .map_err(|e| Failure::Text(format!("Failed to read stdin: {e}")))?;
            job.script = STANDARD.encode(script);
        }
        words if words.iter().all(String::is_empty) => {}
        words if shell => job.command = words.join(" "),
        words => job.args = words.to_vec(),
    }
    if job.command.is_empty() && job.args.is_empty() && job.script.is_empty() {
        return Err(Failure::Usage(
            "Must specify a command to execute".to_owned(),
        ));
    }
    Ok(job)
}

fn own_session() -> SessionRequest {
    SessionRequest {
        name: "Remote Exec".to_owned(),
        behavior: "delete".to_owned(),
        ttl: format!("{}s", SESSION_TTL.as_secs()),
        ..SessionRequest::default()
    }
}

/// A session on a healthy server of another datacenter.
fn foreign_session(
    client: &Client,
    query: &QueryOptions,
    via: &str,
) -> Result<SessionRequest, String> {
    let (servers, _) = client
        .health_service("consul", &[], true, query)
        .map_err(|e| format!("Failed to find Consul server in remote datacenter: {e}"))?;
    let Some(server) = servers.into_iter().next() else {
        return Err("Failed to find Consul server in remote datacenter".to_owned());
    };
    Ok(SessionRequest {
        name: format!("Remote Exec via {via}"),
        node: server.node.node,
        checks: Some(Vec::new()),
        ..own_session()
    })
}

/// One execution.
struct Call<'a> {
    client: &'a Client,
    query: &'a QueryOptions,
    prefix: &'a str,
    session: &'a str,
    /// Node, service, tag.
    filters: &'a [String; 3],
    interrupts: &'a Receiver<()>,
    verbose: bool,
}

impl Call<'_> {
    /// Where the job and its results are.
    fn folder(&self) -> String {
        let parts = self.prefix.split('/').chain([self.session]);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        format!("{}/", parts.join("/"))
    }

    fn carry_out(&self, run: &mut Run<'_, '_>, job: &Job) -> Outcome {
        let body = serde_json::to_vec(job).map_err(because("Failed to encode the job"))?;
        let how = KvWrite {
            acquire: self.session.to_owned(),
            ..KvWrite::default()
        };
        let key = format!("{}job", self.folder());
        match self.client.kv_put(&key, body, &how, self.query) {
            Ok(true) => {}
            Ok(false) => return fail("Failed to create job file: failed to acquire the lock"),
            Err(e) => return fail(format!("Failed to create job file: {e}")),
        }
        if self.verbose {
            run.out("Uploaded remote execution spec");
        }
        let pause = run.flags.duration("wait-repl", WAIT_REPLICATION);
        if self.interrupted_within(pause) {
            return Ok(1);
        }
        let order = Order {
            prefix: self.prefix,
            session: self.session,
        };
        let payload = serde_json::to_vec(&order).map_err(because("Failed to encode the event"))?;
        let [node, service, tag] = self.filters;
        let event = self
            .client
            .event_fire(EVENT, payload, [node, service, tag], self.query)
            .map_err(because("Failed to fire event"))?;
        if self.verbose {
            run.out(format!("Fired remote execution event: {event}"));
        }
        self.follow(run)
    }

    fn interrupted_within(&self, pause: Duration) -> bool {
        match self.interrupts.recv_timeout(pause) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            // Nobody catches interrupts: they end the process by themselves.
            Err(RecvTimeoutError::Disconnected) => {
                threads::sleep(pause);
                false
            }
        }
    }

    /// Shows what comes until nothing has for the wanted time.
    fn follow(&self, run: &mut Run<'_, '_>) -> Outcome {
        let wait = run.flags.duration("wait", WAIT);
        let (tx, news) = mpsc::channel();
        let (client, query, folder) = (self.client.clone(), self.query.clone(), self.folder());
        // It ends when this side hangs up, or with the process.
        let watcher = threads::spawn("results", move || watch(&client, &query, &folder, &tx));
        watcher.map_err(because("Failed to start a thread"))?;
        let start = threads::now();
        let mut heard = start;
        let (mut acknowledged, mut completed, mut failed) = (0_u64, 0_u64, 0_u64);
        loop {
            if self.interrupts.try_recv().is_ok() {
                return Ok(1);
            }
            let left = wait.saturating_sub(heard.elapsed());
            let news = match news.recv_timeout(left.min(TICK)) {
                Ok(news) => news,
                Err(_) if heard.elapsed() < wait => continue,
                Err(_) => break,
            };
            heard = threads::now();
            match news {
                News::Acknowledged(node) => {
                    acknowledged += 1;
                    if self.verbose {
                        run.out(format!("==> {node}: acknowledged"));
                    }
                }
                News::Alive(node) => {
                    if self.verbose {
                        run.out(format!("==> {node}: heartbeat received"));
                    }
                }
                News::Output(node, bytes) => run.out(shown(&node, &bytes)),
                News::Exit(node, code) => {
                    completed += 1;
                    if code != "0" {
                        failed += 1;
                    }
                    run.out(format!("==> {node}: finished with exit code {code}"));
                }
                News::Failed(why) => return fail(format!("Failed to poll for results: {why}")),
            }
        }
        run.out(format!(
            "{completed} / {acknowledged} node(s) completed / acknowledged"
        ));
        if self.verbose {
            let seconds = start.elapsed().as_secs_f64();
            run.out(format!("Completed in {seconds:.2} seconds"));
        }
        Ok(if failed > 0 || completed < acknowledged {
            2
        } else {
            0
        })
    }

    /// Removes the job and its results.
    fn clean(&self) -> Result<(), Error> {
        self.client
            .kv_delete_tree(&self.folder(), self.query)
            .map(drop)
    }
}

/// Output of a node, each line marked. What ends with a line's end shows an empty last line, as Consul does.
fn shown(node: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| format!("    {node}: {line}"))
        .collect();
    lines.join("\n").trim_end_matches(' ').to_owned()
}

/// Tells of every new key of the folder, once.
fn watch(client: &Client, query: &QueryOptions, folder: &str, tell: &Sender<News>) {
    let mut seen = BTreeSet::new();
    let mut options = QueryOptions {
        wait: POLL,
        ..query.clone()
    };
    loop {
        let names = match names(client, folder, &options) {
            Ok((names, index)) => {
                options.wait_index = if index < options.wait_index { 0 } else { index };
                names
            }
            Err(e) => {
                let _ = tell.send(News::Failed(e.to_string()));
                return;
            }
        };
        let mut fresh: Vec<String> = { names.into_iter() }
            .filter(|name| !seen.contains(name))
            .collect();
        // A code is told behind the output that was there with it.
        fresh.sort_by_key(|name| name.ends_with("/exit"));
        for name in fresh {
            let news = match read(client, query, folder, &name) {
                Ok(news) => news,
                Err(e) => Some(News::Failed(e.to_string())),
            };
            seen.insert(name);
            if let Some(news) = news
                && tell.send(news).is_err()
            {
                return;
            }
        }
    }
}

/// Names below the folder, and the index to wait beyond.
fn names(
    client: &Client,
    folder: &str,
    options: &QueryOptions,
) -> Result<(Vec<String>, u64), Error> {
    let request = Request::new("GET", &format!("/v1/kv/{folder}"))
        .param("keys", "")
        .options(options);
    let mut response = client.send(request)?;
    let index = response.meta().last_index;
    match response.status {
        200 => Ok((response.json()?, index)),
        404 => {
            response.text_limited()?;
            Ok((Vec::new(), index))
        }
        status => {
            let body = response.text_limited()?;
            Err(Error::Status { status, body })
        }
    }
}

/// What a key says; `None` for keys that are no result.
fn read(
    client: &Client,
    query: &QueryOptions,
    folder: &str,
    name: &str,
) -> Result<Option<News>, Error> {
    let Some((node, what)) = name.strip_prefix(folder).and_then(|n| n.split_once('/')) else {
        return Ok(None);
    };
    let node = node.to_owned();
    if what == "ack" {
        return Ok(Some(News::Acknowledged(node)));
    }
    if what != "exit" && !what.starts_with("out/") {
        return Ok(None);
    }
    let (pair, _) = client.kv_get(name, query)?;
    let value = pair.unwrap_or_default().value.unwrap_or_default();
    Ok(Some(match what {
        "exit" => News::Exit(node, String::from_utf8_lossy(&value).trim().to_owned()),
        _ if value.is_empty() => News::Alive(node),
        _ => News::Output(node, value),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_marked_line_by_line_as_consul_marks_it() {
        // (output, shown)
        for (bytes, want) in [
            (&b"hi\n"[..], "    n: hi\n    n:"),
            (b"hi\n\n", "    n: hi\n    n: \n    n:"),
            (b"no end", "    n: no end"),
            (b"\xff", "    n: \u{fffd}"),
        ] {
            assert_eq!(shown("n", bytes), want);
        }
    }
}
