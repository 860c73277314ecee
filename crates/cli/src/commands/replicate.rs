//! `replicate`: mirrors prefixes of the KV store between datacenters.
//!
//! The work is `tribune_replicate`'s. Here are the flags, the two signals (an interrupt stops, a hang-up reads the files
//! again), log lines and the progress line on a terminal. Exit codes: 0 done or stopped, 1 failed, 2 a single run that
//! left something out (keys that were refused, or an empty source that was not believed).

use std::{
    io::{IsTerminal as _, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tribune_replicate::{Counts, Ended, Given, Job, Level, Log, Meters, Settings, serve_metrics};

use super::watch::stamp;
use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, fail},
    flags::{Kind, flag, flag_of},
    threads,
};

/// How often signals are looked for and the progress line is drawn.
const TICK: Duration = Duration::from_millis(200);
/// Ticks that a stop may take before the program ends without waiting further.
const STOP_TICKS_MAX: u32 = 75;
/// Columns of the progress line.
const WIDTH: usize = 79;

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "replicate",
    synopsis: "Mirrors keys between datacenters",
    usage: "[options]",
    about: "Copies all keys below prefixes of source datacenters to the datacenter of the agent asked, or to others, and keeps the copies equal: values, flags and deletions follow. Several can run side by side for one prefix; the one that holds its lock works, the others take over when it ends. A run that was cut off goes on where the destination stands. Source and destination may be Tribune or Consul.\n\nAll keys below global in datacenter nyc1, to the agent's own datacenter:\n\n$ {p} replicate -prefix global@nyc1\n\nUnder another name, once:\n\n$ {p} replicate -once -prefix global:backup/nyc1@nyc1\n\nTo two datacenters, from a cluster that shares no gossip with them:\n\n$ {p} replicate -source-addr 10.1.0.5:8500 -prefix config/ \\\n-destination @dc1 -destination @dc2\n\nSIGHUP reads the configuration files again. The exit code is 0 when all is done or after an interrupt, 1 after a failure, and 2 when a single run had to leave something out.",
    api: Api::Local,
    flags: &[
        flag(
            "allow-empty",
            Kind::Bool,
            "Let a source without keys delete the copies even when nothing shows that keys were removed there. Default: false.",
        ),
        flag_of(
            "config",
            Kind::List,
            "path",
            "File of settings in HCL or JSON, or a folder of such files. Can be given several times.",
        ),
        flag_of(
            "destination",
            Kind::List,
            "[address][@datacenter]",
            "Where to copy to: another agent, another datacenter of the agent, or both. Can be given several times. Default: the agent's own datacenter.",
        ),
        flag_of(
            "exclude",
            Kind::List,
            "prefix",
            "Beginning of source keys that are neither copied nor, as copies, deleted. Can be given several times.",
        ),
        flag_of(
            "exclude-match",
            Kind::List,
            "text",
            "Text anywhere in source keys that are left alone. Can be given several times.",
        ),
        flag(
            "log-level",
            Kind::Text,
            "Least level of lines to show: debug, info, warn or err. Default: info.",
        ),
        flag(
            "max-stale",
            Kind::Duration,
            "Let any server of the source answer that heard from its leader this recently. Default: 0s, only the leader.",
        ),
        flag_of(
            "metrics-addr",
            Kind::Text,
            "address",
            "IP address and port to serve counters at, as text for Prometheus under /metrics. Default: none.",
        ),
        flag(
            "once",
            Kind::Bool,
            "End when every copy equals its source, instead of following changes.",
        ),
        flag_of(
            "prefix",
            Kind::List,
            "source[:destination][@datacenter]",
            "Keys to copy, by what they begin with (* for all), what stands there instead in the copies, and the datacenter to copy from. Can be given several times.",
        ),
        flag(
            "progress",
            Kind::LazyBool,
            "Show a line of progress. Default: when standard error is a terminal.",
        ),
        flag(
            "retry",
            Kind::Duration,
            "Pause after a failure. Default: 250ms, doubled up to 1m.",
        ),
        flag_of(
            "source-addr",
            Kind::Text,
            "address",
            "Agent of the source, when the destination's cannot reach it. Default: that of -http-addr.",
        ),
        flag(
            "source-token",
            Kind::Text,
            "ACL token for the source. Without -source-addr that of -token applies.",
        ),
        flag(
            "source-token-file",
            Kind::Text,
            "File that holds the token for the source.",
        ),
        flag(
            "status-dir",
            Kind::Text,
            "Folder for the status key and lock of each prefix, at the destination. Default: service/consul-replicate/statuses.",
        ),
        flag_of(
            "wait",
            Kind::Text,
            "min[:max]",
            "Shortest pause between two passes over a prefix, so that a burst of changes costs one pass. A change never waits longer, whatever max says. Default: 0s.",
        ),
    ],
    action: Action::Call(replicate),
}];

fn replicate(run: &mut Run<'_, '_>) -> Outcome {
    run.no_args()?;
    let given = given(run)?;
    let settings = given.settings()?;
    let metrics_addr: Option<SocketAddr> = match run.flags.text("metrics-addr") {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Failure::Text(format!(
                "metrics-addr: {text:?} is no IP address with a port"
            ))
        })?),
    };
    let wants_progress = run
        .flags
        .bool("progress")
        .unwrap_or_else(|| std::io::stderr().is_terminal());
    // The log is written from several threads; what stands in its place meanwhile is not used.
    let stderr = std::mem::replace(&mut run.host.stderr, Box::new(std::io::sink()));
    let screen = Arc::new(Mutex::new(Screen {
        out: stderr,
        drawn: false,
    }));
    let outcome = follow(run, &given, settings, metrics_addr, wants_progress, &screen);
    let mut screen = lock(&screen);
    screen.clear();
    run.host.stderr = std::mem::replace(&mut screen.out, Box::new(std::io::sink()));
    outcome
}

fn given(run: &Run<'_, '_>) -> Result<Given, Failure> {
    let flags = &run.flags;
    let text = |name: &str| {
        let text = flags.text(name);
        (!text.is_empty()).then(|| text.to_owned())
    };
    let span = |name: &str| {
        flags
            .given(name)
            .then(|| flags.duration(name, Duration::ZERO))
    };
    let mut given = Given::new(run.client_config()?);
    given.address_is_flag = flags.given("http-addr");
    given.token_is_flag = flags.given("token") || flags.given("token-file");
    given.config_paths = flags.list("config").iter().map(PathBuf::from).collect();
    given.prefixes = flags.list("prefix").to_vec();
    given.excludes = flags.list("exclude").to_vec();
    given.exclude_matches = flags.list("exclude-match").to_vec();
    given.destinations = flags.list("destination").to_vec();
    given.source_address = text("source-addr").unwrap_or_default();
    given.source_token = match (text("source-token"), text("source-token-file")) {
        (Some(token), _) => token,
        (None, Some(file)) => {
            let mut holder = run.client_config()?;
            holder.token_from_file(Path::new(&file))?;
            holder.token
        }
        (None, None) => String::new(),
    };
    given.status_dir = text("status-dir");
    given.wait = text("wait");
    given.retry = span("retry");
    given.max_stale = span("max-stale");
    given.log_level = text("log-level");
    given.once = flags.on("once");
    given.allow_empty = flags.on("allow-empty");
    Ok(given)
}

/// Runs jobs until one ends: another one after each hang-up.
fn follow(
    run: &mut Run<'_, '_>,
    given: &Given,
    settings: Settings,
    metrics_addr: Option<SocketAddr>,
    wants_progress: bool,
    screen: &Arc<Mutex<Screen>>,
) -> Outcome {
    let served: Arc<Mutex<Vec<Arc<Meters>>>> = Arc::default();
    if let Some(addr) = metrics_addr {
        serve_metrics(addr, served.clone())
            .map_err(|e| Failure::Text(format!("cannot serve metrics at {addr}: {e}")))?;
    }
    let interrupts = (run.host.interrupts)();
    let hangups = (run.host.hangups)();
    let mut log = log_for(screen, settings.log_level);
    let mut job = start(settings, &log, &served)?;
    let mut totals = Totals::default();
    let mut rate = Rate::default();
    let mut stopping = None;
    let ended = loop {
        let ended = job.wait(TICK);
        let counts = sum(&job);
        if let Some(ended) = ended {
            totals.add(&counts);
            break ended;
        }
        if interrupts.try_recv().is_ok() {
            if stopping.is_some() {
                return fail("interrupted twice, ending without waiting");
            }
            log(Level::Info, "interrupted, stopping");
            job.stop();
            stopping = Some(0);
        }
        if let Some(ticks) = &mut stopping {
            *ticks += 1;
            if *ticks > STOP_TICKS_MAX {
                return fail("a call does not end, ending without waiting");
            }
            continue;
        }
        if hangups.try_recv().is_ok() {
            match given.settings() {
                Err(e) => log(
                    Level::Error,
                    &format!("the settings cannot be read again, going on as before: {e}"),
                ),
                Ok(settings) => {
                    log(Level::Info, "reading the settings again");
                    job.stop();
                    let mut ticks = 0;
                    while job.wait(TICK).is_none() && ticks < STOP_TICKS_MAX {
                        ticks += 1;
                    }
                    totals.add(&sum(&job));
                    log = log_for(screen, settings.log_level);
                    job = start(settings, &log, &served)?;
                }
            }
            continue;
        }
        if wants_progress {
            let line = progress(&counts, rate.of(counts.same + counts.written));
            lock(screen).draw(&line);
        }
    };
    lock(screen).clear();
    let told = format!(
        "{} keys written, {} deleted, {} were equal",
        grouped(totals.written),
        grouped(totals.deleted),
        grouped(totals.same)
    );
    match ended {
        Ended::Complete => {
            run.out(told);
            Ok(0)
        }
        Ended::Incomplete => {
            run.out(format!("{told}; something was left out"));
            Ok(2)
        }
        Ended::Stopped => {
            run.out(format!("Stopped: {told}"));
            Ok(i32::from(given.once))
        }
        // The log has each reason.
        Ended::Failed(_) => fail(format!("Failed: {told}")),
    }
}

fn start(settings: Settings, log: &Log, served: &Mutex<Vec<Arc<Meters>>>) -> Result<Job, Failure> {
    for note in &settings.notes {
        log(Level::Warn, note);
    }
    let job = Job::start(settings, log)?;
    *served.lock().unwrap_or_else(PoisonError::into_inner) = job.meters();
    Ok(job)
}

/// Standard error, with at most one line of progress at its end.
struct Screen {
    out: Box<dyn Write + Send>,
    drawn: bool,
}

impl Screen {
    // Nobody is left to tell when standard error fails.
    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    fn draw(&mut self, text: &str) {
        let short: String = text.chars().take(WIDTH).collect();
        let _ = write!(self.out, "\r{short}\x1b[K");
        let _ = self.out.flush();
        self.drawn = true;
    }
}

fn lock(screen: &Mutex<Screen>) -> std::sync::MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_for(screen: &Arc<Mutex<Screen>>, least: Level) -> Log {
    let screen = screen.clone();
    Arc::new(move |level, text| {
        if level >= least {
            let at = stamp(threads::unix_now());
            lock(&screen).line(&format!("{at} [{}] replicate: {text}", level.as_str()));
        }
    })
}

/// Keys of all jobs of the run.
#[derive(Default)]
struct Totals {
    same: u64,
    written: u64,
    deleted: u64,
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        self.same += counts.same;
        self.written += counts.written;
        self.deleted += counts.deleted;
    }
}

/// All flows together.
fn sum(job: &Job) -> Counts {
    let mut all = Counts::default();
    for meters in job.meters() {
        let one = meters.counts();
        all.active |= one.active;
        all.passes += one.passes;
        all.same += one.same;
        all.written += one.written;
        all.deleted += one.deleted;
        all.refused += one.refused;
        all.pass_keys += one.pass_keys;
        all.keys_expected += one.keys_expected;
    }
    all
}

/// Keys per second over the last second.
#[derive(Default)]
struct Rate(Vec<u64>);

impl Rate {
    fn of(&mut self, keys: u64) -> u64 {
        let ticks = usize::try_from(1000 / TICK.as_millis()).unwrap_or(1);
        self.0.push(keys);
        if self.0.len() > ticks + 1 {
            self.0.remove(0);
        }
        let first = self.0.first().copied().unwrap_or(keys);
        let spans = self.0.len().saturating_sub(1).max(1) as u64;
        keys.saturating_sub(first) * ticks as u64 / spans
    }
}

/// The line of progress.
fn progress(counts: &Counts, per_second: u64) -> String {
    let done = format!(
        "{} written, {} deleted",
        grouped(counts.written),
        grouped(counts.deleted)
    );
    if counts.pass_keys > 0 {
        let of = match counts.keys_expected {
            expected if expected > counts.pass_keys => format!(" of {}", grouped(expected)),
            _ => String::new(),
        };
        return format!(
            "{}{of} keys, {done}, {} keys/s",
            grouped(counts.pass_keys),
            grouped(per_second)
        );
    }
    if counts.active && counts.passes == 0 {
        format!("asking the source, {done}")
    } else if counts.active {
        format!("in step: {} keys, {done}", grouped(counts.keys_expected))
    } else {
        format!("standing by, {done}")
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, want) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), want);
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        let seen: Vec<u64> = [0, 10, 20, 30, 40, 50, 150].map(|k| rate.of(k)).to_vec();
        assert_eq!(seen, [0, 50, 50, 50, 50, 50, 140]);
    }

    #[test]
    fn progress_says_how_far_a_pass_is_or_that_there_is_none() {
        let counts = Counts {
            active: true,
            passes: 1,
            written: 1024,
            deleted: 3,
            pass_keys: 45_120,
            keys_expected: 100_000,
            ..Counts::default()
        };
        let want = "45,120 of 100,000 keys, 1,024 written, 3 deleted, 12,300 keys/s";
        assert_eq!(progress(&counts, 12_300), want);
        let idle = Counts {
            pass_keys: 0,
            ..counts
        };
        assert_eq!(
            progress(&idle, 0),
            "in step: 100,000 keys, 1,024 written, 3 deleted"
        );
        let first = Counts { passes: 0, ..idle };
        assert_eq!(
            progress(&first, 0),
            "asking the source, 1,024 written, 3 deleted"
        );
        let waiting = Counts {
            active: false,
            ..idle
        };
        assert_eq!(
            progress(&waiting, 0),
            "standing by, 1,024 written, 3 deleted"
        );
    }
}
