//! `monitor`: follows the agent's log.

use std::{io::Read, sync::mpsc};

use crate::{
    command::{Action, Api, Command, Outcome, Run, fail},
    flags::{Kind, flag},
    threads,
};

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "monitor",
    synopsis: "Follows the agent's log",
    usage: "[options]",
    about: "Prints the agent's log as it is written, until interrupted. The level can be finer than that of the agent's own log.",
    api: Api::Local,
    flags: &[
        flag("log-json", Kind::Bool, "Print each line as JSON."),
        flag(
            "log-level",
            Kind::Text,
            "Lowest level to print. Default: INFO.",
        ),
    ],
    action: Action::Call(monitor),
}];

/// What the log's thread or a signal tells.
enum Event {
    Bytes(Vec<u8>),
    Refused(String),
    End,
    Interrupt,
}

fn monitor(run: &mut Run<'_, '_>) -> Outcome {
    let level = match run.flags.text("log-level") {
        "" => "INFO",
        level => level,
    }
    .to_owned();
    let (client, json) = (run.client()?, run.flags.on("log-json"));
    let (tx, events) = mpsc::sync_channel(64);
    let interrupts = (run.host.interrupts)();
    let signal = tx.clone();
    let watch_signals = threads::spawn("interrupts", move || {
        if interrupts.recv().is_ok() {
            let _ = signal.send(Event::Interrupt);
        }
    });
    drop(watch_signals);
    // The agent may send nothing, not even a head, before the first line; an interrupt must not wait for it.
    let follow = threads::spawn("monitor", move || {
        let mut log = match client.monitor(&level, json) {
            Ok(log) => log,
            Err(e) => {
                let _ = tx.send(Event::Refused(e.to_string()));
                return;
            }
        };
        let mut piece = vec![0; 16 << 10];
        while let Ok(n) = log.read(&mut piece) {
            if n == 0 || tx.send(Event::Bytes(piece[..n].to_vec())).is_err() {
                break;
            }
        }
        let _ = tx.send(Event::End);
    });
    if let Err(e) = follow {
        return fail(format!("Error starting monitor: {e}"));
    }
    loop {
        match events.recv() {
            Ok(Event::Bytes(bytes)) => {
                if !run.host.out_bytes(&bytes) {
                    return Ok(0);
                }
            }
            Ok(Event::Refused(why)) => return fail(format!("Error starting monitor: {why}")),
            Ok(Event::End) => {
                run.err("");
                run.out("Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.");
                return Ok(0);
            }
            Ok(Event::Interrupt) | Err(_) => return Ok(0),
        }
    }
}
