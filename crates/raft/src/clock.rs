//! The clock that the consensus library reads and waits by.
//!
//! On a real node it is tokio's. A simulated node's clock may run fast or slow; then an instant is tokio's, moved by what the
//! clock of the node has gained since its start, and a wait is as long as that clock takes for it. The library
//! asks without saying for whom: the node is that whose task runs.
//!
//! Instants of one run of one node can be compared, those of different nodes cannot. A change of the drift does not move what
//! waits already: such a wait is off by the change of the rate, and its rate is one of those that the clock had.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::impls::TokioRuntime;
use tribune_rt::Env;

type TokioInstant = <TokioRuntime as AsyncRuntime>::Instant;
type TokioSleep = <TokioRuntime as AsyncRuntime>::Sleep;

/// A moment on the node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeInstant(TokioInstant);

impl NodeInstant {
    /// Now on the clock of a node, whoever asks.
    pub(crate) fn now_on(env: &Env) -> Self {
        let now = <TokioInstant as openraft::Instant>::now();
        let gain = env.clock_gain_ns();
        let by = Duration::from_nanos(gain.unsigned_abs());
        Self(if gain < 0 { now - by } else { now + by })
    }

    /// How long ago this was on the clock of a node; zero for a moment that is yet to come.
    pub(crate) fn age_on(self, env: &Env) -> Duration {
        openraft::Instant::saturating_duration_since(&Self::now_on(env), self)
    }

    /// Waits until the clock of the running task's node shows it.
    pub(crate) fn reached(self) -> TokioSleep {
        match Env::current() {
            None => TokioRuntime::sleep_until(self.0),
            Some(node) => TokioRuntime::sleep(self.left_on(&node)),
        }
    }

    /// How long tokio has to wait for it.
    pub(crate) fn left_on(self, node: &Env) -> Duration {
        let left = openraft::Instant::saturating_duration_since(&self, Self::now_on(node));
        node.true_duration(left)
    }

    /// The same moment on tokio's clock, on a real node.
    pub(crate) fn on_tokio(self) -> TokioInstant {
        self.0
    }
}

/// How long tokio has to wait for the clock of the running task's node to advance by `duration`.
pub(crate) fn true_duration(duration: Duration) -> Duration {
    Env::current().map_or(duration, |node| node.true_duration(duration))
}

impl openraft::Instant for NodeInstant {
    fn now() -> Self {
        match Env::current() {
            None => Self(<TokioInstant as openraft::Instant>::now()),
            Some(node) => Self::now_on(&node),
        }
    }
}

impl Add<Duration> for NodeInstant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0 + rhs)
    }
}

impl AddAssign<Duration> for NodeInstant {
    fn add_assign(&mut self, rhs: Duration) {
        self.0 += rhs;
    }
}

impl Sub<Duration> for NodeInstant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0 - rhs)
    }
}

impl Sub for NodeInstant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.0 - rhs.0
    }
}

impl SubAssign<Duration> for NodeInstant {
    fn sub_assign(&mut self, rhs: Duration) {
        self.0 -= rhs;
    }
}
