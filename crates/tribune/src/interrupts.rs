//! Interrupts for commands that clean up before they end (`lock`, `monitor`, `replicate`), hang-ups for those that reload.

use std::sync::mpsc::{Receiver, Sender, channel};

use tribune_rt::signals::{Signal, Signals};
use tribune_rt::{Env, RealConfig};

/// Starts to catch SIGINT and SIGTERM. If that is not possible they keep their usual effect.
pub(crate) fn catch() -> Receiver<()> {
    catch_those("interrupts", |signal| signal != Signal::Hangup)
}

/// Starts to catch SIGHUP, likewise.
pub(crate) fn catch_hangups() -> Receiver<()> {
    catch_those("hangups", |signal| signal == Signal::Hangup)
}

fn catch_those(name: &'static str, wanted: fn(Signal) -> bool) -> Receiver<()> {
    let (tx, rx) = channel();
    if let Ok(env) = Env::real(RealConfig {
        front_workers: Some(1),
    }) {
        let inside = env.clone();
        // Runs until the process ends.
        let _ = env.spawn_thread(name, move || inside.block_on(forward(tx, wanted)));
    }
    rx
}

async fn forward(tx: Sender<()>, wanted: fn(Signal) -> bool) {
    let Ok(mut signals) = Signals::new() else {
        return;
    };
    loop {
        if wanted(signals.recv().await) && tx.send(()).is_err() {
            return;
        }
    }
}
