//! Interrupts for commands that clean up before they end (`lock`, `monitor`).

use std::sync::mpsc::{Receiver, Sender, channel};

use tribune_rt::signals::{Signal, Signals};
use tribune_rt::{Env, RealConfig};

/// Starts to catch SIGINT and SIGTERM. If that is not possible they keep their usual effect.
pub(crate) fn catch() -> Receiver<()> {
    let (tx, rx) = channel();
    if let Ok(env) = Env::real(RealConfig {
        front_workers: Some(1),
    }) {
        let inside = env.clone();
        // Runs until the process ends.
        let _ = env.spawn_thread("interrupts", move || inside.block_on(forward(tx)));
    }
    rx
}

async fn forward(tx: Sender<()>) {
    let Ok(mut signals) = Signals::new() else {
        return;
    };
    loop {
        if signals.recv().await != Signal::Hangup && tx.send(()).is_err() {
            return;
        }
    }
}
