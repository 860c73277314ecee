//! Profiles for `/debug/pprof/`, made from what the kernel and the runtimes count anyway.
//!
//! They are plain text, not the format of Go's tools; the first line of each says so and what it shows.
//!
//! | name | content |
//! |---|---|
//! | `heap`, `allocs` | the allocator's statistics if the program offers them, and the kernel's view of memory |
//! | `goroutine`, `threadcreate` | tasks of each runtime, threads with their states |
//! | `profile` | processor time of each thread over the duration |
//! | `trace` | what the runtimes did over the duration: busy time, wake-ups, queue |
//! | `block`, `mutex` | nothing is recorded |
//! | `cmdline`, `symbol` | as Go's |
//!
//! Nothing is recorded while no profile is asked for. At most [`DURATION_MAX`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeMetrics};
use tribune_rt::Env;

/// Longest time a profile looks at.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(300);

/// Writes the allocator's statistics. Given by the program, which alone knows its allocator.
pub(crate) type HeapReport = fn(&mut Vec<u8>);

/// Names of all profiles.
const KINDS: [&str; 10] = [
    "allocs",
    "block",
    "cmdline",
    "goroutine",
    "heap",
    "mutex",
    "profile",
    "symbol",
    "threadcreate",
    "trace",
];

/// The body of a profile; the empty name is the list of names, as HTML. Takes `duration` for `profile` and `trace`.
/// Cancel safe.
pub(crate) async fn profile(
    env: &Env,
    kind: &str,
    duration: Duration,
    heap_report: Option<HeapReport>,
) -> Bytes {
    let duration = duration.min(DURATION_MAX);
    let body = match kind {
        "" => index(),
        "cmdline" => command_line(),
        "symbol" => "num_symbols: 0\n".to_owned(),
        "heap" | "allocs" => heap(heap_report),
        "goroutine" | "threadcreate" => tasks(env).await,
        "profile" => processor_time(env, duration).await,
        "trace" => trace(env, duration).await,
        "block" | "mutex" => format!("tribune {kind} profile: waiting for locks is not recorded\n"),
        _ => "Unknown profile\n".to_owned(),
    };
    Bytes::from(body)
}

/// Tasks alive in all runtimes.
pub(crate) async fn alive_tasks(env: &Env) -> usize {
    runtimes(env)
        .await
        .iter()
        .map(|(_, metrics)| metrics.num_alive_tasks())
        .sum()
}

fn index() -> String {
    let mut out = String::from(
        "<html><head><title>/debug/pprof/</title></head><body>Profiles (plain text):<ul>",
    );
    for kind in KINDS {
        let _ = write!(out, "<li><a href=\"{kind}\">{kind}</a></li>");
    }
    out.push_str("</ul></body></html>\n");
    out
}

fn command_line() -> String {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join("\0")
}

fn heap(report: Option<HeapReport>) -> String {
    let mut out = String::from(
        "tribune heap profile: statistics as text, in bytes unless they say otherwise\n",
    );
    if let Some(report) = report {
        let mut statistics = Vec::new();
        report(&mut statistics);
        out.push_str("\n# allocator\n");
        out.push_str(&String::from_utf8_lossy(&statistics));
    }
    for (title, path) in [
        ("memory by kind", "/proc/self/smaps_rollup"),
        ("process", "/proc/self/status"),
    ] {
        let _ = writeln!(out, "\n# {title} ({path})");
        match fs::read_to_string(path) {
            Ok(text) => out.push_str(&text),
            Err(err) => _ = writeln!(out, "not available: {err}"),
        }
    }
    out
}

/// Counters of every runtime of the process, by name.
async fn runtimes(env: &Env) -> Vec<(String, RuntimeMetrics)> {
    let mut out = Vec::new();
    if let Ok(core) = env
        .spawn("profile", async { Handle::current().metrics() })
        .await
    {
        out.push(("core".to_owned(), core));
    }
    for worker in env.front_workers() {
        if let Ok(front) = worker
            .spawn("profile", || async { Handle::current().metrics() })
            .await
        {
            out.push((format!("front-{}", worker.index()), front));
        }
    }
    out
}

async fn tasks(env: &Env) -> String {
    let runtimes = runtimes(env).await;
    let total: usize = runtimes
        .iter()
        .map(|(_, metrics)| metrics.num_alive_tasks())
        .sum();
    let mut out = format!(
        "tribune goroutine profile: total {total} (tasks; their stacks are not recorded)\n\n# runtime: tasks, workers\n"
    );
    for (name, metrics) in &runtimes {
        let _ = writeln!(
            out,
            "{name}: {} {}",
            metrics.num_alive_tasks(),
            metrics.num_workers()
        );
    }
    out.push_str("\n# thread name and state: threads\n");
    let mut threads: BTreeMap<(String, char), usize> = BTreeMap::new();
    for thread in threads_now().into_values() {
        *threads.entry((thread.name, thread.state)).or_default() += 1;
    }
    for ((name, state), count) in threads {
        let _ = writeln!(out, "{name} {state}: {count}");
    }
    out
}

async fn processor_time(env: &Env, duration: Duration) -> String {
    let before = threads_now();
    let start = env.mono();
    env.sleep(duration).await;
    let spent = env.mono().since(start);
    let tick_ms = 1000.0 / rustix::param::clock_ticks_per_second().max(1) as f64;
    let mut used: Vec<(u64, u64, String)> = threads_now()
        .into_iter()
        .map(|(id, now)| {
            let then = before
                .get(&id)
                .map_or((0, 0), |thread| (thread.user, thread.system));
            let name = format!("{} ({id})", now.name);
            (
                now.user.saturating_sub(then.0),
                now.system.saturating_sub(then.1),
                name,
            )
        })
        .collect();
    used.sort_by(|a, b| (b.0 + b.1).cmp(&(a.0 + a.1)).then_with(|| a.2.cmp(&b.2)));
    let mut out = format!(
        "tribune profile: processor time of each thread over {} ms, counted by the kernel; no stacks\n\n# user ms, system ms, thread\n",
        spent.as_millis()
    );
    for (user, system, name) in used {
        let _ = writeln!(
            out,
            "{:.0} {:.0} {name}",
            user as f64 * tick_ms,
            system as f64 * tick_ms
        );
    }
    out
}

/// Sums over the workers of a runtime.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    busy: Duration,
    parked: u64,
}

fn work(metrics: &RuntimeMetrics) -> Work {
    (0..metrics.num_workers()).fold(Work::default(), |sum, worker| Work {
        busy: sum.busy + metrics.worker_total_busy_duration(worker),
        parked: sum.parked + metrics.worker_park_count(worker),
    })
}

async fn trace(env: &Env, duration: Duration) -> String {
    let runtimes = runtimes(env).await;
    let before: Vec<Work> = runtimes.iter().map(|(_, metrics)| work(metrics)).collect();
    let start = env.mono();
    env.sleep(duration).await;
    let spent = env.mono().since(start);
    let mut out = format!(
        "tribune trace: what the runtimes did over {} ms; no events are recorded\n\n# runtime: busy ms, times its workers slept, tasks alive, tasks waiting in its common queue\n",
        spent.as_millis()
    );
    for ((name, metrics), before) in runtimes.iter().zip(before) {
        let now = work(metrics);
        let _ = writeln!(
            out,
            "{name}: {} {} {} {}",
            now.busy.saturating_sub(before.busy).as_millis(),
            now.parked.saturating_sub(before.parked),
            metrics.num_alive_tasks(),
            metrics.global_queue_depth()
        );
    }
    out
}

/// What the kernel says about a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    name: String,
    state: char,
    /// Clock ticks.
    user: u64,
    system: u64,
}

fn threads_now() -> BTreeMap<u64, Thread> {
    let Ok(entries) = fs::read_dir("/proc/self/task") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((id, thread(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

/// Reads a line of `/proc/<pid>/task/<tid>/stat` (proc_pid_stat(5)); names may hold anything, also parentheses.
fn thread(stat: &str) -> Option<Thread> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // State is field 3; user and system time are fields 14 and 15.
    let user = fields.nth(10)?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    Some(Thread {
        name: name.chars().filter(|c| !c.is_control()).collect(),
        state,
        user,
        system,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_profile_has_a_body_that_says_what_it_is() {
        let env = Env::ambient().unwrap();
        // (kind, what its body holds)
        for (kind, want) in [
            ("", "<a href=\"heap\">"),
            ("heap", "# allocator\nsome statistics\n"),
            ("allocs", "/proc/self/smaps_rollup"),
            ("goroutine", "tribune goroutine profile: total "),
            ("threadcreate", "# thread name and state"),
            (
                "profile",
                "tribune profile: processor time of each thread over ",
            ),
            ("trace", "tribune trace: what the runtimes did over "),
            ("block", "not recorded"),
            ("mutex", "not recorded"),
            ("symbol", "num_symbols: 0"),
            ("nonsense", "Unknown profile"),
        ] {
            let report: HeapReport = |out| out.extend_from_slice(b"some statistics\n");
            let body = profile(&env, kind, Duration::from_millis(2), Some(report)).await;
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains(want), "{kind}: {text}");
        }
        assert!(
            !profile(&env, "cmdline", Duration::ZERO, None)
                .await
                .is_empty()
        );
    }

    #[tokio::test]
    async fn tasks_alive_are_counted() {
        let env = Env::ambient().unwrap();
        let before = alive_tasks(&env).await;
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                env.spawn("waits", std::future::pending::<()>())
                    .abort_on_drop()
            })
            .collect();
        assert!(alive_tasks(&env).await >= before + 3);
        drop(waiting);
    }

    #[test]
    fn lines_of_the_kernel_are_read_whatever_the_name_is() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 9 0 0 20 0 4 0 100 0 0";
        let want = Thread {
            name: "a) b (c".to_owned(),
            state: 'S',
            user: 7,
            system: 9,
        };
        assert_eq!(thread(line), Some(want));
        for bad in [
            "",
            "42",
            "42 (x",
            "42 (x) S",
            "42 (x) S 1 2 3 4 5 6 7 8 9 10 x 9",
        ] {
            assert_eq!(thread(bad), None, "{bad:?}");
        }
        assert!(threads_now().values().any(|thread| !thread.name.is_empty()));
    }
}
