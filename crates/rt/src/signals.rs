//! The signals a node answers to: HUP (reload), INT and TERM (stop).

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// One received signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Reload the configuration.
    Hangup,
    /// Interrupted at the terminal.
    Interrupt,
    /// Asked to end.
    Terminate,
}

/// All of them as one stream.
#[derive(Debug)]
pub struct Signals {
    hangup: Stream,
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// Takes over the process's signals. Must be called inside a runtime.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Cancel safe. Equal signals in a row may be merged.
    pub async fn recv(&mut self) -> Signal {
        tokio::select! {
            biased;
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.hangup.recv() => Signal::Hangup,
            else => std::future::pending().await,
        }
    }
}
