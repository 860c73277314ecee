//! `lock`: runs a command while holding a lock or one slot of a semaphore.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use tribune_api::client::{
    Client,
    lock::{Lock, LockError, LockOptions},
    semaphore::{Semaphore, SemaphoreOptions},
};

use super::child::{self, Handler};
use crate::{
    command::{Action, Api, Command, Outcome, Run, because, fail},
    flags::{Kind, flag},
    threads,
};

/// Time for a child to end by itself when the lock is lost.
const GRACE: Duration = Duration::from_secs(5);
/// Pause between tries while a held lock is watched and the agent fails.
const MONITOR_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Such tries, unless the flag says otherwise.
const MONITOR_RETRIES: i64 = 3;

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "lock",
    synopsis: "Runs a command while holding a lock",
    usage: "[options] prefix child...",
    about: "Takes a lock below the prefix, waiting if need be, and runs a command for as long as the lock is held. When the lock is lost the command is asked to end, and killed if it does not within five seconds. With -n above 1 a semaphore lets so many holders in at once.\n\n$ {p} lock leader ./run-as-leader.sh",
    api: Api::Cluster,
    flags: &[
        flag(
            "child-exit-code",
            Kind::Bool,
            "End with 2 when the command fails; without this its failure is only told.",
        ),
        flag(
            "monitor-retry",
            Kind::Int,
            "How often to ask again, a second apart, when the agent answers with a failure while the lock is held. Default: 3.",
        ),
        flag("n", Kind::Int, "How many may hold it at once. Default: 1."),
        flag(
            "name",
            Kind::Text,
            "Name of the session; made from the command unless given.",
        ),
        flag(
            "pass-stdin",
            Kind::Bool,
            "Hand standard input to the command.",
        ),
        flag(
            "shell",
            Kind::Bool,
            "Run the command by the shell in SHELL. Default: true.",
        ),
        flag(
            "timeout",
            Kind::Duration,
            "Longest time to wait for the lock. Default: for ever.",
        ),
        flag("try", Kind::Duration, "Old name of -timeout."),
        flag("verbose", Kind::Bool, "Tell each step."),
    ],
    action: Action::Call(lock),
}];

/// What is taken.
enum Kit {
    Lock(LockOptions),
    Semaphore(SemaphoreOptions),
}

/// What is held.
enum Held {
    Lock(Lock),
    Semaphore(Semaphore),
}

impl Kit {
    fn acquire(self, client: &Client, go_on: &dyn Fn() -> bool) -> Result<Option<Held>, LockError> {
        Ok(match self {
            Self::Lock(options) => Lock::acquire(client, options, go_on)?.map(Held::Lock),
            Self::Semaphore(options) => {
                Semaphore::acquire(client, options, go_on)?.map(Held::Semaphore)
            }
        })
    }
}

impl Held {
    fn lost(&self) -> &Receiver<()> {
        match self {
            Self::Lock(lock) => lock.lost(),
            Self::Semaphore(semaphore) => semaphore.lost(),
        }
    }

    fn release(self) -> Result<(), LockError> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::Semaphore(semaphore) => semaphore.release(),
        }
    }
}

fn lock(run: &mut Run<'_, '_>) -> Outcome {
    let limit = run.flags.int("n", 1);
    let (Ok(limit), true) = (u64::try_from(limit), limit > 0) else {
        return fail("Lock holder limit must be positive");
    };
    let Ok(retries) = u32::try_from(run.flags.int("monitor-retry", MONITOR_RETRIES)) else {
        return fail("Number for 'monitor-retry' must be >= 0");
    };
    let wait = run
        .flags
        .nanos("timeout")
        .filter(|n| *n != 0)
        .or_else(|| run.flags.nanos("try"));
    let give_up_after = match wait.map(u64::try_from) {
        None | Some(Ok(0)) => None,
        Some(Ok(nanos)) => Some(Duration::from_nanos(nanos)),
        Some(Err(_)) => return fail("Timeout must be positive"),
    };
    let [prefix, words @ ..] = run.args.as_slice() else {
        return fail("Key prefix and child command must be specified");
    };
    if words.is_empty() {
        return fail("Key prefix and child command must be specified");
    }
    let prefix = prefix.trim_matches('/').to_owned();
    let words = words.to_vec();
    let name = match run.flags.text("name") {
        "" => format!("Consul lock for '{}' at '{prefix}'", words.join(" ")),
        name => name.to_owned(),
    };
    let verbose = run.flags.on("verbose");
    let client = run.client()?;
    client
        .node_name()
        .map_err(because("Error querying Consul agent"))?;
    let query = tribune_api::client::QueryOptions {
        datacenter: run.flags.text("datacenter").to_owned(),
        ..Default::default()
    };
    let kit = || {
        if limit == 1 {
            let mut options = LockOptions::new(&format!("{prefix}/.lock"));
            options.session_name.clone_from(&name);
            options.give_up_after = give_up_after;
            options.monitor_retries = retries;
            options.monitor_retry_pause = MONITOR_RETRY_PAUSE;
            options.query = query.clone();
            Kit::Lock(options)
        } else {
            let mut options = SemaphoreOptions::new(&prefix, limit);
            options.session_name.clone_from(&name);
            options.give_up_after = give_up_after;
            options.monitor_retries = retries;
            options.monitor_retry_pause = MONITOR_RETRY_PAUSE;
            options.query = query.clone();
            Kit::Semaphore(options)
        }
    };
    if verbose {
        match limit {
            1 => run.out(format!("Setting up lock at path: {prefix}/.lock")),
            n => run.out(format!(
                "Setting up semaphore (limit {n}) at prefix: {prefix}"
            )),
        }
        run.out("Attempting lock acquisition");
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let (interrupt, interrupts) = mpsc::channel();
    let (signals, flag) = ((run.host.interrupts)(), interrupted.clone());
    let forward = threads::spawn("interrupts", move || {
        while signals.recv().is_ok() {
            flag.store(true, Ordering::Relaxed);
            let _ = interrupt.send(());
        }
    });
    drop(forward);
    let Some(held) = acquire(&client, kit(), &interrupted, &interrupts)
        .map_err(because("Lock acquisition failed"))?
    else {
        return fail("Shutdown triggered or timeout during lock acquisition");
    };
    let failed = work(run, words, &held, &interrupts, verbose);
    // A lock that was lost has nothing left to release; saying so would hide the child's fate.
    if let Err(e) = held.release() {
        return fail(format!("Lock release failed: {e}"));
    }
    let cleaned = match kit() {
        Kit::Lock(options) => Lock::destroy(&client, &options),
        Kit::Semaphore(options) => Semaphore::destroy(&client, &options),
    };
    match cleaned {
        Ok(()) if verbose => run.out("Cleanup succeeded"),
        Ok(()) => {}
        Err(LockError::InUse(_)) if verbose => run.out("Cleanup aborted, lock in use"),
        Err(LockError::InUse(_)) => {}
        Err(e) => return fail(format!("Lock cleanup failed: {e}")),
    }
    Ok(if failed && run.flags.on("child-exit-code") {
        2
    } else {
        0
    })
}

/// Acquires in a thread, so that an interrupt ends the wait at once.
fn acquire(
    client: &Client,
    kit: Kit,
    interrupted: &Arc<AtomicBool>,
    interrupts: &Receiver<()>,
) -> Result<Option<Held>, LockError> {
    let (tx, rx) = mpsc::channel();
    let (client, flag) = (client.clone(), interrupted.clone());
    let worker = threads::spawn("acquire", move || {
        let go_on = || !flag.load(Ordering::Relaxed);
        let _ = tx.send(kit.acquire(&client, &go_on));
    });
    drop(worker);
    loop {
        match rx.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if interrupts.try_recv().is_ok() {
                    // The session of a wait that is given up ends by its own time limit, unless it answers now.
                    return rx.recv_timeout(Duration::from_secs(1)).unwrap_or(Ok(None));
                }
            }
        }
    }
}

/// Runs the child until it ends, the lock is lost, or an interrupt comes. Says whether the child failed.
fn work(
    run: &mut Run<'_, '_>,
    words: Vec<String>,
    held: &Held,
    interrupts: &Receiver<()>,
    verbose: bool,
) -> bool {
    if verbose {
        run.out("Starting handler");
    }
    let handler = Handler {
        words,
        shell: Handler::shell_of(run),
        vars: vec![("CONSUL_LOCK_HELD", "true".to_owned())],
    };
    let stdin = if run.flags.on("pass-stdin") {
        if verbose {
            run.out("Stdin passed to handler process");
        }
        Stdio::inherit()
    } else {
        Stdio::null()
    };
    let started = match handler.start(stdin) {
        Ok(started) => started,
        Err(why) => {
            run.err(format!("Error starting handler: {why}"));
            if verbose {
                run.out("Child terminated, releasing lock");
            }
            return true;
        }
    };
    let pid = started.id();
    let ended = child::wait_for(started);
    let why = loop {
        match ended.recv_timeout(Duration::from_millis(20)) {
            Ok(status) => {
                let failed = report(run, status.ok());
                if verbose {
                    run.out("Child terminated, releasing lock");
                }
                return failed;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return true,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if interrupts.try_recv().is_ok() {
            break "Shutdown triggered, killing child";
        }
        if !matches!(held.lost().try_recv(), Err(mpsc::TryRecvError::Empty)) {
            break "Lock lost, killing child";
        }
    };
    if verbose {
        run.out(why);
        run.out(format!("Terminating child pid {pid}"));
    }
    let (gently, status) = child::terminate(pid, &ended, GRACE);
    let failed = report(run, status.and_then(Result::ok));
    if verbose {
        run.out(if gently {
            "Child terminated"
        } else {
            "Child killed after grace period"
        });
    }
    failed
}

fn report(run: &mut Run<'_, '_>, status: Option<std::process::ExitStatus>) -> bool {
    match status.map(child::failure_text) {
        Some(None) => false,
        Some(Some(text)) => {
            run.err(format!("Error running handler: {text}"));
            true
        }
        None => true,
    }
}
