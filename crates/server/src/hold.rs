//! Patience: how long a request waits for a leader, and how soon it tries again (rpc.md section 3).
//!
//! A request without a leader is held until the hold time is over. It tries again as soon as something is heard about who
//! leads; where nothing is heard although trying again may help (a leader that is just about to be ready, a connection
//! that is refused because its process has ended), after a pause that starts small and grows.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tribune_types::error::RpcError;
use tribune_types::time::Mono;

use crate::Server;

/// First pause.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Longest pause. Nothing but a lost notification is ever waited for this long.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The patience of one request.
#[derive(Debug)]
pub(crate) struct Hold {
    deadline: Mono,
    pause: Duration,
}

impl Hold {
    /// What is left at `now`.
    pub(crate) fn left(&self, now: Mono) -> Duration {
        self.deadline.since(now)
    }

    /// How long to pause at `now`; `None` when patience is at its end.
    fn next_pause(&mut self, now: Mono) -> Option<Duration> {
        let left = self.left(now);
        if left.is_zero() {
            return None;
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Some(pause)
    }
}

impl Server {
    /// The patience of a request that comes now.
    pub(crate) fn hold(&self) -> Hold {
        Hold {
            deadline: self.env().mono() + self.options().rpc_hold_timeout,
            pause: PAUSE_MIN,
        }
    }

    /// Waits until `changed` resolves or a pause is over: true; false when patience is at its end. `changed` must be made
    /// before whatever failed was looked at. Cancel safe.
    ///
    /// # Errors
    /// The server stops.
    pub(crate) async fn wait(
        &self,
        hold: &mut Hold,
        changed: Pin<&mut Notified<'_>>,
    ) -> Result<bool, RpcError> {
        let now = self.env().mono();
        let Some(pause) = hold.next_pause(now) else {
            return Ok(false);
        };
        tokio::select! {
            biased;
            () = self.stop().cancelled() => Err(RpcError::ShuttingDown),
            () = changed => Ok(true),
            () = self.env().sleep_until(now + pause) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_patience() {
        let start = Mono(1);
        let mut hold = Hold {
            deadline: start + Duration::from_millis(400),
            pause: PAUSE_MIN,
        };
        let mut now = start;
        let mut pauses = Vec::new();
        while let Some(pause) = hold.next_pause(now) {
            pauses.push(pause.as_millis());
            now = now + pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 100, 100, 45]);
        assert_eq!(hold.left(now + Duration::from_secs(1)), Duration::ZERO);
    }
}
