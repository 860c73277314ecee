//! `debug`: gathers what helps to find a fault into one archive.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json, value::RawValue};
use tribune_api::client::{Client, QueryOptions, Request, gojson};
use tribune_types::duration::format_go;

use crate::{
    command::{Action, Api, Command, Outcome, Run, fail, io_text},
    flags::{Kind, flag},
    threads,
};

/// Shortest duration and interval that make sense.
const SHORTEST: Duration = Duration::from_secs(10);
/// What can be gathered, in the order of the summary.
const TARGETS: [&str; 6] = ["metrics", "logs", "pprof", "host", "agent", "cluster"];

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "debug",
    synopsis: "Gathers an archive for finding faults",
    usage: "[options]",
    about: "Watches the agent for a while and puts what it said into an archive. Tokens and other secrets that the agent shows in its own configuration are left out by the agent; look through the archive before handing it on.\n\n$ {p} debug\n$ {p} debug -interval=20s -duration=1m -capture=metrics -capture=agent",
    api: Api::Local,
    flags: &[
        flag(
            "archive",
            Kind::Bool,
            "Pack everything into one file. Default: true.",
        ),
        flag(
            "capture",
            Kind::List,
            "What to gather: metrics, logs, pprof, host, agent or cluster. Can be given several times. Default: all.",
        ),
        flag(
            "duration",
            Kind::Duration,
            "How long to watch, at least 10s. Default: 2m.",
        ),
        flag(
            "interval",
            Kind::Duration,
            "How often to look, at least 5s. Default: 30s.",
        ),
        flag(
            "output",
            Kind::Text,
            "Folder to write, and name of the archive. Default: one named after the time.",
        ),
    ],
    action: Action::Call(debug),
}];

fn debug(run: &mut Run<'_, '_>) -> Outcome {
    if !run.args.is_empty() {
        return fail("==> debug: Too many arguments provided, expected 0");
    }
    let duration = run.flags.duration("duration", Duration::from_secs(120));
    let interval = run.flags.duration("interval", Duration::from_secs(30));
    let invalid = |why: String| fail(format!("==> Capture validation failed: {why}"));
    let client = run.client()?;
    let about: Box<RawValue> = match client.get("/v1/agent/self", &QueryOptions::default()) {
        Ok((about, _)) => about,
        Err(e) => {
            return invalid(format!(
                "error querying target agent: {e}. verify connectivity and agent address"
            ));
        }
    };
    let about: Value = serde_json::from_str(about.get())?;
    if duration < SHORTEST {
        return invalid("duration must be longer than 10s".to_owned());
    }
    if interval < Duration::from_secs(5) {
        return invalid("interval must be longer than 10s".to_owned());
    }
    if duration < interval {
        let (long, short) = (format_go(duration), format_go(interval));
        return invalid(format!(
            "duration ({long}) must be longer than interval ({short})"
        ));
    }
    let mut targets: Vec<String> = run.flags.list("capture").to_vec();
    if targets.is_empty() {
        targets = TARGETS.map(str::to_owned).to_vec();
    }
    if let Some(unknown) = targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        return invalid(format!("target not found: {unknown}"));
    }
    let output = if run.flags.given("output") {
        run.flags.text("output").to_owned()
    } else {
        format!("consul-debug-{}", threads::unix_now().as_secs())
    };
    if Path::new(&output).exists() {
        return invalid(format!("output directory already exists: {output}"));
    }
    if let Err(e) = fs::create_dir(&output) {
        return invalid(format!(
            "could not create output directory, mkdir {output}: {}",
            io_text(&e)
        ));
    }
    let debugging = about["DebugConfig"]["EnableDebug"]
        .as_bool()
        .unwrap_or(false);
    if !debugging && targets.iter().any(|t| t == "pprof") {
        targets.retain(|t| t != "pprof");
        run.err("==> Unable to capture pprof. Set enable_debug to true on target agent to enable profiling.");
    }
    let archive = run.flags.bool("archive").unwrap_or(true);
    let shown = if archive {
        format!("{output}.tar.gz")
    } else {
        output.clone()
    };
    let version = about["Config"]["Version"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    run.out("==> Starting debugger and capturing static information...");
    for (name, value) in [
        ("Agent Version", &version),
        ("Interval", &format_go(interval)),
        ("Duration", &format_go(duration)),
        ("Output", &shown),
        ("Capture", &targets.join(", ")),
    ] {
        run.out(format!("{name:>18}: '{value}'"));
    }
    let capture = Capture {
        client,
        dir: PathBuf::from(&output),
        targets,
        duration,
        interval,
    };
    let mut problems = capture.statics();
    if capture
        .targets
        .iter()
        .any(|t| matches!(t.as_str(), "metrics" | "logs" | "pprof"))
    {
        run.out("==> Beginning capture interval...");
        problems.extend(capture.dynamics());
    }
    for problem in problems {
        run.err(format!("==> {problem}"));
    }
    let index = json!({
        "version": 1,
        "agentVersion": version,
        "interval": format_go(interval),
        "duration": format_go(duration),
        "targets": capture.targets,
    });
    fs::write(capture.dir.join("index.json"), gojson::pretty(&index, "\t"))?;
    if !archive {
        run.out(format!("    Saved debug directory: {output}"));
        return Ok(0);
    }
    match pack(&capture.dir, &shown).and_then(|()| fs::remove_dir_all(&capture.dir)) {
        Ok(()) => run.out(format!("    Saved debug archive: {shown}")),
        Err(e) => return fail(format!("Archive creation failed: {}", io_text(&e))),
    }
    Ok(0)
}

/// A run of gathering.
struct Capture {
    client: Client,
    dir: PathBuf,
    targets: Vec<String>,
    duration: Duration,
    interval: Duration,
}

impl Capture {
    fn wants(&self, target: &str) -> bool {
        self.targets.iter().any(|t| t == target)
    }

    /// What does not change: once. Returns what went wrong.
    fn statics(&self) -> Vec<String> {
        let parts = [
            ("agent", "/v1/agent/self", "agent.json"),
            ("host", "/v1/agent/host", "host.json"),
            ("cluster", "/v1/agent/members", "cluster.json"),
        ];
        let wanted = parts.iter().filter(|(target, ..)| self.wants(target));
        wanted
            .filter_map(|(target, path, file)| {
                self.json(path, &self.dir.join(file))
                    .err()
                    .map(|e| format!("{target}: {e}"))
            })
            .collect()
    }

    fn json(&self, path: &str, file: &Path) -> Result<(), String> {
        let mut request = Request::new("GET", path);
        if path.ends_with("members") {
            request = request.param("wan", "1");
        }
        let (value, _) = self
            .client
            .query::<Box<RawValue>>(request)
            .map_err(|e| e.to_string())?;
        fs::write(file, gojson::indent(value.get(), "\t")).map_err(|e| e.to_string())
    }

    /// What changes: once per interval, each in a folder named after the time.
    fn dynamics(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let rounds = (self.duration.as_nanos() / self.interval.as_nanos().max(1)).max(1);
        for _ in 0..rounds {
            let start = threads::unix_now();
            let dir = self.dir.join(start.as_secs().to_string());
            if let Err(e) = fs::create_dir_all(&dir) {
                problems.push(io_text(&e));
                return problems;
            }
            let mut workers = Vec::new();
            for (target, path, query, file) in [
                ("logs", "/v1/agent/monitor", "loglevel=DEBUG", "consul.log"),
                ("pprof", "/debug/pprof/heap", "", "heap.prof"),
                ("pprof", "/debug/pprof/profile", "seconds", "profile.prof"),
                ("pprof", "/debug/pprof/trace", "seconds", "trace.out"),
                ("pprof", "/debug/pprof/goroutine", "", "goroutine.prof"),
            ] {
                if !self.wants(target) {
                    continue;
                }
                let mut request = Request::new("GET", path);
                match query {
                    "seconds" => {
                        request =
                            request.param("seconds", self.interval.as_secs().max(1).to_string())
                    }
                    "" => {}
                    _ => request = request.param("loglevel", "DEBUG"),
                }
                let (client, file) = (self.client.clone(), dir.join(file));
                let until = start + self.interval;
                let worker = threads::spawn("capture", move || {
                    // A part that cannot be had leaves no file; the others are worth having.
                    let _ = stream(&client, request, &file, until);
                });
                workers.extend(worker.ok());
            }
            if self.wants("metrics") {
                let done = self.json("/v1/agent/metrics", &dir.join("metrics.json"));
                problems.extend(done.err().map(|e| format!("metrics: {e}")));
            }
            threads::sleep((start + self.interval).saturating_sub(threads::unix_now()));
            // The log's stream has no end: its thread stops at the next line after the interval, or with the process.
            workers.retain(|w| !w.is_finished());
            let grace = threads::unix_now() + Duration::from_secs(2);
            while workers.iter().any(|w| !w.is_finished()) && threads::unix_now() < grace {
                threads::sleep(Duration::from_millis(50));
            }
        }
        problems
    }
}

fn stream(client: &Client, request: Request, file: &Path, until: Duration) -> Result<(), String> {
    let mut answer = client.send_ok(request).map_err(|e| e.to_string())?;
    let mut out = fs::File::create(file).map_err(|e| e.to_string())?;
    let mut piece = vec![0; 16 << 10];
    loop {
        let n = answer.read(&mut piece).map_err(|e| e.to_string())?;
        if n == 0 {
            return Ok(());
        }
        io::Write::write_all(&mut out, &piece[..n]).map_err(|e| e.to_string())?;
        if threads::unix_now() > until && file.ends_with("consul.log") {
            return Ok(());
        }
    }
}

fn pack(dir: &Path, archive: &str) -> io::Result<()> {
    let file = fs::File::create(archive)?;
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let name = dir
        .file_name()
        .map_or_else(|| PathBuf::from("debug"), PathBuf::from);
    tar.append_dir_all(name, dir)?;
    tar.into_inner()?.finish()?.sync_all()
}
