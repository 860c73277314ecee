//! Watching a peer's process for its end.
//!
//! When a process ends, its system closes its connections and refuses new ones; that takes microseconds. A machine that is
//! cut off does neither. So a connection is held; when it ends, for whatever reason, a new one is dialed at once: refused
//! means that nobody listens there any more. Between the two the system may still take a connection and then reset it,
//! which is why dials that fail in another way are tried again after a few milliseconds.
//!
//! A process that is being restarted may take connections again before the dial: then the connection is simply made anew,
//! unless another server lives there now.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::debug;
use tribune_rt::Env;

use super::dial::{self, DialError};
use super::hello::Hello;
use super::{Gone, conn};

/// First pause between dials; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What took this long needs no pause behind it.
const LONG: Duration = Duration::from_millis(100);

/// See [`super::Peers::watch`].
pub(super) async fn watch(
    env: Env,
    addr: SocketAddr,
    hello: Hello,
    dial_timeout: Duration,
) -> Gone {
    let mut pause = PAUSE_FIRST;
    loop {
        let began = env.mono();
        match dial::dial(&env, addr, &hello, dial_timeout).await {
            Ok(stream) => {
                let (_conn, driver) = conn::conn(&env, addr, stream);
                let end = driver.run(None).await;
                debug!(peer = %addr, target = %hello.target, err = %end, "watched connection ended");
            }
            Err(DialError::Refused) => return Gone::Refused,
            Err(DialError::OtherServer(id)) => return Gone::Replaced(id),
            Err(err) => {
                debug!(peer = %addr, target = %hello.target, %err, "cannot watch a peer yet");
            }
        }
        if env.mono() >= began + LONG {
            pause = PAUSE_FIRST;
        } else {
            env.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
