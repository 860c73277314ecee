//! A way to a server for calls that are answered promptly: frames where the server takes them, streams where not.
//!
//! A call that finds too many before it on the connection with frames, or does not fit into one, goes on a stream: it never
//! waits for those before it, which may wait for a leader.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CallError, Lost, NotSent};
use super::framed::{Failure, Way};
use super::{Inner, Pool, vigil};
use crate::peers::conn::{Conn, NoPlace};
use crate::peers::rpc::{Request, read_answer};
use crate::peers::{PeerError, PeerId};

/// A server to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its server port.
    pub addr: SocketAddr,
    /// Who it is, if it is a server that may take calls in frames.
    pub id: Option<PeerId>,
}

impl From<SocketAddr> for Target {
    /// A server that calls go to on streams.
    fn from(addr: SocketAddr) -> Target {
        Target { addr, id: None }
    }
}

/// A connection to a server, for one call.
pub struct Line<'a> {
    pool: &'a Pool,
    target: Target,
    /// With frames; `None`: streams.
    conn: Option<Arc<Conn>>,
}

impl Pool {
    /// Returns once there is a connection to `target`, for one call that is answered promptly. Cancel safe.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn line(&self, target: Target) -> Result<Line<'_>, CallError> {
        let mut line = Line {
            pool: self,
            target,
            conn: None,
        };
        let Inner { env, options, .. } = &*self.0;
        if let (Some(framed), Some(id)) = (&options.framed, target.id) {
            line.conn = match self.0.framed.way(env, framed, target.addr, id) {
                Way::Open(conn) => Some(conn),
                Way::Stream => None,
                Way::Dial(place) => {
                    let at = (target.addr, id);
                    // Seldom, and large: kept out of the calls that wait.
                    match Box::pin(place.conn(&self.0, framed, at)).await {
                        Ok(conn) => Some(conn),
                        Err(Failure::NotTaken) => None,
                        Err(Failure::Unreachable(err)) => return Err(CallError::NotSent(err)),
                    }
                }
            };
        }
        if line.conn.is_none() {
            self.connect(target.addr).await?;
        }
        Ok(line)
    }
}

impl Line<'_> {
    /// Calls `method` and waits for the reply, for at most `deadline`. `body` is one complete MessagePack value, and so is
    /// the reply.
    ///
    /// Cancel safe: the call may be served all the same.
    ///
    /// # Errors
    /// [`CallError`] tells whether the server may have served it.
    pub async fn call(
        self,
        method: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let call = Request {
            method,
            body,
            passed_on: false,
        };
        self.exchange(call, deadline).await
    }

    /// As [`Line::call`], for a call that came from elsewhere and is passed on to the leader: the server there will not
    /// pass it on once more.
    ///
    /// # Errors
    /// As [`Line::call`].
    pub async fn pass_on(
        self,
        method: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let call = Request {
            method,
            body,
            passed_on: true,
        };
        self.exchange(call, deadline).await
    }

    async fn exchange(
        mut self,
        call: Request<'_>,
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        // A connection may end before the call is on it; a second one that does is no accident.
        for _ in 0..2 {
            let Some(conn) = &self.conn else {
                break;
            };
            match conn.call(&call) {
                Ok(pending) => {
                    let heed = self.pool.0.options.heed.as_ref();
                    let _owed = vigil::begin(conn.asked(), heed, deadline);
                    let answer = self.pool.0.env.timeout(deadline, pending).await;
                    match answer {
                        Ok(Ok(Ok(answer))) => return read_answer(answer),
                        Ok(Ok(Err(PeerError::Unreachable(_)))) => {}
                        Ok(Ok(Err(PeerError::Failed(_))) | Err(_)) => {
                            return Err(CallError::FateUnknown(Lost::Eof));
                        }
                        Err(_) => return Err(CallError::FateUnknown(Lost::Deadline)),
                    }
                }
                Err(NoPlace::Full) => self.conn = None,
                Err(NoPlace::Ended) => {}
            }
            if self.conn.is_some() {
                self = self.pool.line(self.target).await?;
            }
        }
        match self.conn {
            None => self.pool.exchange(self.target.addr, call, deadline).await,
            Some(_) => Err(CallError::NotSent(NotSent::Session)),
        }
    }
}
