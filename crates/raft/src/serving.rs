//! What peers send: answers to their messages, and the snapshots they push.
//!
//! A message that no correct peer sends gets an answer too, and changes nothing.

use bytes::Bytes;
use metrics::histogram;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use tokio::io::{AsyncRead, AsyncReadExt};
use tribune_rt::Stopwatch;

use crate::codec::{Answer, Request, SnapshotHeader};
use crate::raft::Raft;
use crate::types::{LogId, Snapshot, TypeConfig, Vote};

impl Raft {
    /// Answers a message that a [`Transport`](crate::Transport) of a peer sent. Malformed ones get an answer too.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        let core = &self.0.core;
        let answer = match Request::decode(request) {
            Err(err) => Answer::Failed(err.to_string()),
            Ok(Request::Append(request)) => self.on_append(request).await,
            Ok(Request::Vote(request)) => self.on_vote(request).await,
            Ok(Request::PreVote(request)) => match self.answer_removed(&request) {
                Some(answer) => answer,
                None => core
                    .pre_vote(request)
                    .await
                    .map_or_else(failed, Answer::Vote),
            },
            Ok(Request::Transfer(offer)) => self.on_offer(offer).await,
            Ok(Request::ReadIndex { confirm }) => self.answer_read_index(confirm).await,
            Ok(Request::Succeed(claim)) => Answer::Succession(self.judge(claim).await),
            Ok(Request::Removed { vote, membership }) => self.on_removed(vote, membership).await,
        };
        answer.encode()
    }

    async fn on_append(&self, request: AppendEntriesRequest<TypeConfig>) -> Answer {
        let timer = match request.entries.is_empty() {
            true => histogram!("raft.rpc.processHeartbeat"),
            false => histogram!("raft.rpc.appendEntries"),
        };
        let _timed = Stopwatch::start(&self.0.env, &timer);
        if let Err(what) = check_append(&request) {
            return Answer::Failed(what.to_owned());
        }
        self.hear().await;
        let answer = self.0.core.append_entries(request).await;
        answer.map_or_else(failed, Answer::Append)
    }

    /// A leader speaks: whoever was promised to follow it must not. Afterwards the core may answer it.
    async fn hear(&self) {
        self.0.standing.hear(self.0.env.mono());
        if self.0.succession.has_promise() {
            let _order = self.0.succession.order.lock().await;
            self.0.succession.void();
        }
    }

    async fn on_vote(&self, mut request: VoteRequest<TypeConfig>) -> Answer {
        let _timed = Stopwatch::start(&self.0.env, &histogram!("raft.rpc.requestVote"));
        if let Some(answer) = self.answer_removed(&request) {
            return answer;
        }
        if self.is_initialized() {
            // A leader's lease may rest on what an earlier run of this server told it.
            let wait = self.0.opened + self.0.read_lease.silence;
            self.0.env.sleep_until(wait).await;
        }
        let vote = |request| async {
            let answer = self.0.core.vote(request).await;
            answer.map_or_else(failed, Answer::Vote)
        };
        if request.leadership_transfer || !self.0.succession.has_promise() {
            return vote(request).await;
        }
        let _order = self.0.succession.order.lock().await;
        let candidate = request.vote.leader_id;
        // As if the leader itself had asked for it: its lease does not stand in the way.
        request.leadership_transfer = self.0.succession.covers(&candidate, self.0.env.mono());
        vote(request).await
    }

    /// Tells a candidate that does not know it that it is not in the peer set any more.
    fn answer_removed(&self, request: &VoteRequest<TypeConfig>) -> Option<Answer> {
        let metrics = self.0.core.server_metrics();
        let seen = metrics.borrow_watched();
        let candidate = request.vote.leader_id.voted_for;
        let committed = &seen.committed_membership_config;
        let in_newest = seen.membership_config.membership().get_node(&candidate);
        let in_committed = committed.membership().get_node(&candidate);
        // It knows better if its log goes on behind ours.
        let knows = request.last_log_id >= *committed.log_id();
        let removed = in_newest.is_none() && in_committed.is_none() && !knows;
        removed.then_some(Answer::Removed)
    }

    /// The leader says that this server was removed.
    async fn on_removed(&self, vote: Vote, membership: LogId) -> Answer {
        if let Some(view) = self.view().await
            && vote.committed
            && vote.leader_id == view.leader
            && Some(membership) > view.last
        {
            self.0.standing.set_removed(true);
        }
        Answer::Noted
    }

    /// Receives a snapshot that a peer's [`Transport::send_snapshot`](crate::Transport::send_snapshot) sent: its
    /// header and the bytes of its body.
    pub async fn handle_snapshot(
        &self,
        header: Bytes,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Bytes {
        match self.receive_snapshot(header, body).await {
            Ok(answer) => answer.encode(),
            Err(err) => Answer::Failed(err.to_string()).encode(),
        }
    }

    async fn receive_snapshot(
        &self,
        header: Bytes,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> std::io::Result<Answer> {
        let _timed = Stopwatch::start(&self.0.env, &histogram!("raft.rpc.installSnapshot"));
        let header = SnapshotHeader::decode(header)?;
        let Some(vote) = header.vote else {
            return Err(std::io::Error::other("a snapshot without a vote"));
        };
        self.hear().await;
        let mut sink = self.0.snapshots.sink(&header.meta)?;
        let mut chunk = vec![0; 64 * 1024];
        let mut left = header.state_len;
        while left > 0 {
            let want = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = body.read(&mut chunk[..want]).await;
            let step = read.and_then(|count| match count {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => {
                    std::io::Write::write_all(&mut sink, &chunk[..count]).map(|()| count as u64)
                }
            });
            match step {
                Ok(count) => left -= count,
                Err(err) => {
                    sink.abandon();
                    return Err(err);
                }
            }
        }
        let meta = header.meta.clone();
        let finish = move || sink.finish_received(&header);
        let finished = self.0.env.spawn_blocking("snapshot", finish).await;
        let data = finished.map_err(std::io::Error::other)??;
        let snapshot = Snapshot {
            meta,
            snapshot: data,
        };
        let installed = self.0.core.install_full_snapshot(vote, snapshot).await;
        Ok(installed.map_or_else(failed, Answer::Snapshot))
    }
}

/// What the core takes for granted.
fn check_append(request: &AppendEntriesRequest<TypeConfig>) -> Result<(), &'static str> {
    if !request.vote.committed {
        return Err("an append of no leader");
    }
    let mut prev = request.prev_log_id;
    for entry in &request.entries {
        let id = entry.log_id;
        let next = prev.map_or(0, |prev| prev.index + 1);
        if id.index != next || prev.is_some_and(|prev| prev.leader_id > id.leader_id) {
            return Err("the entries of an append do not follow each other");
        }
        prev = Some(id);
    }
    if prev.is_some_and(|last| last.leader_id.term > request.vote.leader_id.term) {
        return Err("an append of entries from later terms");
    }
    Ok(())
}

fn failed(err: impl std::fmt::Display) -> Answer {
    Answer::Failed(err.to_string())
}
