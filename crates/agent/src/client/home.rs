//! Calls to the servers of the own datacenter (rpc.md sections 3 and 4).
//!
//! One server is asked until it fails. What may be tried again is, within the hold time, with a random pause before each try
//! that is short at first. A server that cannot be reached at all is passed over at once, once each; so is one that a
//! connection to takes long, as long as there are others, and waited for if none of them can be reached.
//!
//! What became of a call when its server falls silent is unknown. A read is asked at another server as well, and
//! whichever answers first is right; what else comes of either counts only if nothing comes of the other ([`silence`]). A
//! write goes on waiting.
//!
//! [`silence`]: super::silence

use std::pin::{Pin, pin};
use std::time::Duration;

use tracing::debug;
use tribune_local::servers::{ServerAddr, may_retry, retry_pause};
use tribune_net::{CallError, Line};
use tribune_types::error::RpcError;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use super::silence::SAYS_NOTHING;
use super::{Asking, Client, Kind, prompt};
use crate::own_requests::OwnRequests;

/// Silent servers that a read may have behind it.
const ELSEWHERE_MAX: u32 = 4;

/// Nobody has answered a call.
struct Unanswered {
    error: RpcError,
    /// A server has heard it and refuses: all would.
    refused: bool,
}

/// Why one server has not answered.
enum Miss {
    Failed(CallError),
    /// Nothing was sent, for the connection takes long.
    Slow,
    /// It fell silent, and then no other one has answered either.
    Silent(Unanswered),
}

impl Client {
    pub(super) async fn call_home(
        &self,
        own: &OwnRequests,
        call: &Asking<'_>,
    ) -> Result<Vec<u8>, RpcError> {
        own.admit()?;
        let begun = self.env.mono();
        let reply = self.ask_home(call, begun, ELSEWHERE_MAX).await;
        reply.map_err(|unanswered| unanswered.error)
    }

    /// Asks one server after the other. `begun` is when the first of all was asked; `elsewhere` as in [`Client::ask_one`].
    async fn ask_home(
        &self,
        call: &Asking<'_>,
        begun: Mono,
        elsewhere: u32,
    ) -> Result<Vec<u8>, Unanswered> {
        let first_try = self.env.mono();
        let mut unreachable = 0;
        let mut tries = 0;
        let mut slow: Vec<Text> = Vec::new();
        loop {
            let server = self.next_server().ok_or(Unanswered {
                error: RpcError::NoServers,
                refused: false,
            })?;
            let asked = self.ask_one(&server, call, &slow, begun, elsewhere);
            let err = match asked.await {
                Ok(reply) => return Ok(reply),
                Err(Miss::Silent(unanswered)) => return Err(unanswered),
                Err(Miss::Slow) => {
                    metrics::counter!("client.rpc.failed").increment(1);
                    self.pass_over(&server, "connecting takes long");
                    slow.push(server.name);
                    continue;
                }
                Err(Miss::Failed(err)) => err,
            };
            metrics::counter!("client.rpc.failed").increment(1);
            self.on_failure(&server, call.method, &err);
            if err.is_not_sent() {
                unreachable += 1;
                if unreachable < self.server_count() {
                    // Nothing was done, and another server is as good.
                    continue;
                }
            }
            let shown = err.to_string();
            let waited = Duration::from_nanos(self.env.mono().0.saturating_sub(first_try.0));
            let again = may_retry(&shown, call.kind == Kind::Read, err.is_end());
            if !again || waited >= self.hold {
                return Err(Unanswered {
                    error: RpcError::Remote(shown),
                    refused: is_refusal(&err),
                });
            }
            self.env
                .sleep(self.env.jitter(retry_pause(tries, self.hold)))
                .await;
            tries += 1;
        }
    }

    /// Asks a server, and if it falls silent and the call may be asked twice, another one as well: at most `elsewhere` in
    /// a row.
    async fn ask_one(
        &self,
        server: &ServerAddr,
        call: &Asking<'_>,
        slow: &[Text],
        begun: Mono,
        elsewhere: u32,
    ) -> Result<Vec<u8>, Miss> {
        let target = prompt::target(server, call.method, call.deadline);
        let line: Line<'_> = tokio::select! {
            biased;
            line = self.line(server, target) => line.map_err(Miss::Failed)?,
            () = self.is_slow(server, slow) => return Err(Miss::Slow),
        };
        let mut here = pin!(self.answer(server, line, call));
        tokio::select! {
            biased;
            reply = &mut here => return reply.map_err(Miss::Failed),
            () = self.in_doubt(server, call), if elsewhere > 0 && call.kind == Kind::Read => {}
        }
        metrics::counter!("client.rpc.failed").increment(1);
        debug!(server = %server.name, method = call.method, "asking another server as well");
        self.pass_over(server, SAYS_NOTHING);
        let mut other = self.ask_elsewhere(call, begun, elsewhere - 1);
        tokio::select! {
            biased;
            reply = &mut here => match reply {
                Err(err) if !is_refusal(&err) => {
                    self.on_failure(server, call.method, &err);
                    other.await.map_err(Miss::Silent)
                }
                reply => reply.map_err(Miss::Failed),
            },
            reply = &mut other => match reply {
                // The other one may be the worse off.
                Err(unanswered) if !unanswered.refused => {
                    here.await.map_err(|_| Miss::Silent(unanswered))
                }
                reply => reply.map_err(Miss::Silent),
            },
        }
    }

    /// As [`Client::ask_home`], for what is left of a wait.
    fn ask_elsewhere<'a>(
        &'a self,
        call: &'a Asking<'a>,
        begun: Mono,
        elsewhere: u32,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Unanswered>> + Send + 'a>> {
        Box::pin(async move {
            let waited = self.env.mono().since(begun);
            let rest = call.rest.and_then(|rest| rest(waited));
            let call = Asking {
                body: rest.as_deref().unwrap_or(call.body),
                ..*call
            };
            self.ask_home(&call, begun, elsewhere).await
        })
    }
}

/// True if a server has heard the call and any other one would say the same.
fn is_refusal(err: &CallError) -> bool {
    matches!(err, CallError::Remote(_)) && !may_retry(&err.to_string(), true, false)
}
