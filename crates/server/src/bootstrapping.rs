//! Founding a cluster together: `bootstrap_expect` (rpc.md section 8.3).
//!
//! Each server follows the pool while its log is empty. Once enough servers see one another, the one with the lowest
//! identity takes the chair: it asks every other one for its peers, as Consul does (any answer that is not empty ends this
//! mode: there is a cluster, and its leader will add this server), and then for a promise to found the cluster with
//! exactly this set. Only with all promises it writes the first entry of the log and stands for election; the others
//! receive the entry from it.
//!
//! Why promises: two servers that see different sets, found different clusters and are voted for by those in between are
//! two leaders of one datacenter. A promise binds for a few seconds; it is given for another set only if whoever holds the
//! first one has to agree to the second, too. Whoever has founded agrees to nothing.
//!
//! The question, between servers only (`peers`):
//!
//! ```text
//! 0x80 | expect u32 BE | count u8 | count times: id 16 bytes, vote u8, length u8, address as text
//! ```
//! and the answer, one byte: 0 promised, 1 there is a log, 2 another set is seen here, 3 promised to another.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use tracing::{error, info, warn};
use tribune_leader::founding::{self, Founder, Founders, Founding};
use tribune_raft::Member;
use tribune_types::id::NodeId;
use tribune_types::time::Mono;
use tribune_wire::rpc;

use crate::Server;
use crate::peers::peer_id;

/// First byte of the question.
const QUESTION: u8 = 0x80;
/// How long another server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a promise binds; longer than whoever holds it takes to use it or give up.
const PROMISE_BINDS: Duration = Duration::from_secs(10);
/// Pause before another try, the first one and the longest.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What this server has promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    /// To whom.
    chair: NodeId,
    founders: Founders,
    until: Mono,
    /// This server has the chair and is writing the first entry: too late for anything else.
    sealed: bool,
}

/// An answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Promised = 0,
    HasLog = 1,
    OtherSet = 2,
    OtherPromise = 3,
}

/// How a try went.
enum Tried {
    /// The cluster is founded, or one is there already.
    Over,
    /// Not now.
    Later(String),
}

/// Follows the pool until there is a log.
pub(crate) async fn run(server: Server, expect: u32) {
    let mut said = String::new();
    let mut pause = RETRY_MIN;
    loop {
        if server.raft().is_initialized() {
            return;
        }
        let seen = server.directory().version();
        let own = server.options().id;
        let planned = founding::plan(own, expect, &server.directory().servers());
        let mut wait = RETRY_MAX;
        let words = match planned {
            Err(obstacle) => {
                let words = obstacle.to_string();
                if words != said {
                    error!("the cluster cannot be founded: {words}");
                }
                words
            }
            Ok(Founding::Wait { voters }) => {
                let words = format!("{voters} of {expect} expected servers are there");
                if words != said {
                    info!("waiting for others to found the cluster: {words}");
                }
                words
            }
            Ok(Founding::Ready { founders, chair }) if chair == own => {
                match found(&server, expect, &founders).await {
                    Tried::Over => return,
                    Tried::Later(words) => {
                        (wait, pause) = (pause, (pause * 2).min(RETRY_MAX));
                        if words != said {
                            info!("the cluster is not founded yet: {words}");
                        }
                        words
                    }
                }
            }
            Ok(Founding::Ready { chair, .. }) => {
                let words = format!("server {chair} founds the cluster");
                if words != said {
                    info!("enough servers are there: {words}");
                }
                words
            }
        };
        said = words;
        tokio::select! {
            biased;
            () = server.stop().cancelled() => return,
            () = server.directory().changed_since(seen) => pause = RETRY_MIN,
            () = server.env().sleep(wait) => {}
        }
    }
}

async fn found(server: &Server, expect: u32, founders: &Founders) -> Tried {
    let own = server.options().id;
    if !promise(server, own, founders) {
        return Tried::Later("another server has this one's promise".to_owned());
    }
    let others: Vec<(NodeId, Founder)> = founders
        .iter()
        .filter(|(id, _)| **id != own)
        .map(|(id, founder)| (*id, *founder))
        .collect();
    let known = join_all(
        others
            .iter()
            .map(|(_, founder)| peers_of(server, founder.addr)),
    )
    .await;
    for ((id, founder), known) in others.iter().zip(known) {
        match known {
            Ok(peers) if peers.is_empty() => {}
            Ok(peers) => {
                warn!(
                    server = %id, addr = %founder.addr, peers = ?peers,
                    "there is a cluster already: this server founds none and waits to be added to it"
                );
                return Tried::Over;
            }
            Err(why) => {
                return Tried::Later(format!("server {} did not answer: {why}", founder.addr));
            }
        }
    }
    let question = encode(expect, founders);
    let asked = { others.iter() }.map(|(id, founder)| ask(server, *id, founder.addr, &question));
    for ((_, founder), answer) in others.iter().zip(join_all(asked).await) {
        match answer {
            Ok(Answer::Promised) => {}
            Ok(Answer::HasLog) => {
                return Tried::Later(format!("server {} has a log already", founder.addr));
            }
            Ok(Answer::OtherSet) => {
                return Tried::Later(format!("server {} sees other servers", founder.addr));
            }
            Ok(Answer::OtherPromise) => {
                return Tried::Later(format!("server {} has promised another", founder.addr));
            }
            Err(why) => {
                return Tried::Later(format!("server {} did not answer: {why}", founder.addr));
            }
        }
    }
    if !seal(server, founders) {
        return Tried::Later("the servers that are there have changed".to_owned());
    }
    let members = founders.iter().map(|(id, founder)| {
        let addr = founder.addr.to_string();
        (*id, Member { addr })
    });
    info!(servers = founders.len(), "founding the cluster");
    match server.raft().bootstrap(members.collect()).await {
        Ok(_) => Tried::Over,
        Err(err) => {
            error!(%err, "failed to found the cluster");
            *server.promise().lock() = None;
            Tried::Later(err.to_string())
        }
    }
}

/// The peers another server knows.
async fn peers_of(server: &Server, addr: SocketAddr) -> Result<Vec<String>, String> {
    let body = rpc::encode_status(&server.options().datacenter, "");
    let called = server.calls().call(addr, rpc::PEERS, &body, ANSWER_TIMEOUT);
    let reply = match server.env().timeout(ANSWER_TIMEOUT, called).await {
        Ok(called) => called.map_err(|err| err.to_string())?,
        Err(_) => return Err("no answer in time".to_owned()),
    };
    rpc::decode_texts(&reply).map_err(|err| err.to_string())
}

async fn ask(
    server: &Server,
    id: NodeId,
    addr: SocketAddr,
    question: &Bytes,
) -> Result<Answer, String> {
    let called = { server.peers() }.call(peer_id(id), addr, question.clone(), ANSWER_TIMEOUT);
    let answer = called.await.map_err(|err| err.to_string())?;
    match *answer {
        [0] => Ok(Answer::Promised),
        [1] => Ok(Answer::HasLog),
        [2] => Ok(Answer::OtherSet),
        [3] => Ok(Answer::OtherPromise),
        _ => Err("it answered another question".to_owned()),
    }
}

/// The answer to a message of another server, if it is the question of this module.
pub(crate) fn answer(server: &Server, from: NodeId, request: &Bytes) -> Option<Bytes> {
    if request.first() != Some(&QUESTION) {
        return None;
    }
    let answer = match decode(request) {
        Some((expect, founders)) => judge(server, from, expect, &founders),
        None => return Some(Bytes::new()),
    };
    Some(Bytes::from(vec![answer as u8]))
}

fn judge(server: &Server, from: NodeId, expect: u32, founders: &Founders) -> Answer {
    if server.raft().is_initialized() {
        return Answer::HasLog;
    }
    let own = server.options().id;
    match founding::plan(own, expect, &server.directory().servers()) {
        Ok(Founding::Ready {
            founders: seen,
            chair,
        }) if seen == *founders && chair == from => {}
        _ => return Answer::OtherSet,
    }
    if promise(server, from, founders) {
        Answer::Promised
    } else {
        Answer::OtherPromise
    }
}

/// Promises to found the cluster with this set; false if another promise forbids it.
fn promise(server: &Server, chair: NodeId, founders: &Founders) -> bool {
    let now = server.env().mono();
    let mut given = server.promise().lock();
    if !may_promise(given.as_ref(), now, chair, founders) {
        return false;
    }
    *given = Some(Promise {
        chair,
        founders: founders.clone(),
        until: now + PROMISE_BINDS,
        sealed: false,
    });
    true
}

/// Whether a promise may be given beside the one that was given before.
fn may_promise(given: Option<&Promise>, now: Mono, chair: NodeId, founders: &Founders) -> bool {
    given.is_none_or(|given| {
        let free =
            given.chair == chair || now >= given.until || founders.contains_key(&given.chair);
        free && !given.sealed
    })
}

/// The last step of the chair: from here on nothing else is promised. False if something else was in the meantime.
fn seal(server: &Server, founders: &Founders) -> bool {
    let own = server.options().id;
    let now = server.env().mono();
    let mut given = server.promise().lock();
    match given.as_mut() {
        Some(given) if given.chair == own && given.founders == *founders && now < given.until => {
            given.sealed = true;
            true
        }
        _ => false,
    }
}

fn encode(expect: u32, founders: &Founders) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(QUESTION);
    out.put_u32(expect);
    // The planner allows at most 64.
    out.put_u8(founders.len() as u8);
    for (id, founder) in founders {
        let addr = founder.addr.to_string();
        out.put_slice(&id.0);
        out.put_u8(u8::from(founder.voter));
        out.put_u8(addr.len() as u8);
        out.put_slice(addr.as_bytes());
    }
    out.freeze()
}

fn decode(mut bytes: &[u8]) -> Option<(u32, Founders)> {
    if bytes.try_get_u8().ok()? != QUESTION {
        return None;
    }
    let expect = bytes.try_get_u32().ok()?;
    let count = bytes.try_get_u8().ok()?;
    let mut founders = Founders::new();
    for _ in 0..count {
        let mut id = [0; 16];
        bytes.try_copy_to_slice(&mut id).ok()?;
        let voter = match bytes.try_get_u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let len = usize::from(bytes.try_get_u8().ok()?);
        let addr = bytes.get(..len)?;
        bytes.advance(len);
        let addr = std::str::from_utf8(addr).ok()?.parse().ok()?;
        if founders
            .insert(tribune_types::id::Uuid(id), Founder { addr, voter })
            .is_some()
        {
            return None;
        }
    }
    bytes.is_empty().then_some((expect, founders))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 16])
    }

    fn of(ns: &[u8]) -> Founders {
        let founder = |n: &u8| Founder {
            addr: ([10, 0, 0, *n], 8300).into(),
            voter: *n != 9,
        };
        ns.iter().map(|n| (id(*n), founder(n))).collect()
    }

    #[test]
    fn the_question_is_read_as_it_was_written() {
        for founders in [of(&[]), of(&[1]), of(&[1, 2, 3, 9])] {
            let question = encode(3, &founders);
            assert_eq!(decode(&question), Some((3, founders.clone())));
            for len in 0..question.len() {
                assert_eq!(decode(&question[..len]), None, "cut to {len}");
            }
            let mut longer = question.to_vec();
            longer.push(0);
            assert_eq!(decode(&longer), None);
        }
        let mut twice = encode(3, &of(&[1])).to_vec();
        twice[5] = 2;
        let one = twice[6..].to_vec();
        twice.extend_from_slice(&one);
        assert_eq!(decode(&twice), None, "one identity twice");
    }

    #[test]
    fn a_promise_is_given_again_only_where_its_holder_must_agree_or_it_is_over() {
        let now = Mono(0);
        let given = Promise {
            chair: id(1),
            founders: of(&[1, 2, 3]),
            until: now + PROMISE_BINDS,
            sealed: false,
        };
        // (asked by, for, later, may)
        for (chair, founders, later, may) in [
            (1, of(&[1, 2, 3]), false, true),
            (1, of(&[1, 2, 3, 4]), false, true),
            (4, of(&[1, 2, 3, 4]), false, true),
            (2, of(&[2, 3, 4]), false, false),
            (2, of(&[2, 3, 4]), true, true),
        ] {
            let at = if later { now + PROMISE_BINDS } else { now };
            assert_eq!(may_promise(Some(&given), at, id(chair), &founders), may);
            assert!(may_promise(None, at, id(chair), &founders));
        }
        let sealed = Promise {
            sealed: true,
            ..given
        };
        assert!(!may_promise(
            Some(&sealed),
            now + PROMISE_BINDS,
            id(1),
            &of(&[1])
        ));
    }
}
