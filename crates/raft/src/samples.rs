//! One message of each kind, for the tests of the codec and as seeds of its fuzz target.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;

use crate::codec::{Answer, Request, SnapshotHeader, log_id_from_spot};
use crate::succession::{Claim, Verdict};
use crate::types::{
    Entry, EntryPayload, LeaderId, LogId, Member, Membership, Payload, RaftNodeId, SnapshotMeta,
    StoredMembership, Vote,
};
use crate::wal::Spot;

fn id(n: u8) -> RaftNodeId {
    tribune_types::id::Uuid([n; 16])
}

fn log_id(term: u64, index: u64) -> LogId {
    log_id_from_spot(Spot { term, index })
}

fn membership() -> Membership {
    let nodes = [1, 2, 3].map(|n| {
        (
            id(n),
            Member {
                addr: format!("10.0.0.{n}:8300"),
            },
        )
    });
    let voters = vec![BTreeSet::from([id(1), id(2)]), BTreeSet::from([id(1)])];
    Membership::new(voters, BTreeMap::from(nodes)).expect("it is consistent")
}

pub(crate) fn requests() -> Vec<Request> {
    let vote = Vote {
        leader_id: LeaderId::new(3, id(9)),
        committed: true,
    };
    vec![
        Request::Append(AppendEntriesRequest {
            vote,
            prev_log_id: Some(log_id(2, 7)),
            entries: vec![
                Entry::new(log_id(3, 8), EntryPayload::Blank),
                Entry::new(
                    log_id(3, 9),
                    EntryPayload::Normal(Payload(Bytes::from_static(b"abc"))),
                ),
                Entry::new(log_id(3, 10), EntryPayload::Membership(membership())),
            ],
            leader_commit: None,
        }),
        Request::Vote(VoteRequest::new(vote, Some(log_id(1, 1)))),
        Request::PreVote(VoteRequest::new(vote, None)),
        Request::Transfer(TransferLeaderRequest::new(vote, id(4), Some(log_id(3, 10)))),
        Request::ReadIndex { confirm: false },
        Request::ReadIndex { confirm: true },
        Request::Succeed(Claim {
            leader: LeaderId::new(3, id(9)),
            candidate: id(4),
            last: Some(log_id(3, 10)),
        }),
        Request::Removed {
            vote,
            membership: log_id(3, 10),
        },
    ]
}

pub(crate) fn answers() -> Vec<Answer> {
    let vote = Vote {
        leader_id: LeaderId::new(3, id(9)),
        committed: false,
    };
    vec![
        Answer::Append(AppendEntriesResponse::Success),
        Answer::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2)))),
        Answer::Append(AppendEntriesResponse::Conflict),
        Answer::Append(AppendEntriesResponse::HigherVote(vote)),
        Answer::Vote(VoteResponse::new(vote, None, true)),
        Answer::Transfer(Ok(())),
        Answer::Transfer(Err(TransferLeaderError::VoteChanged {
            expected: vote,
            actual: vote,
        })),
        Answer::Transfer(Err(TransferLeaderError::LogNotFlushed {
            expected: None,
            actual: Some(log_id(1, 1)),
        })),
        Answer::Snapshot(SnapshotResponse::new(vote)),
        Answer::Failed("disk".to_owned()),
        Answer::ReadIndex(77),
        Answer::NotLeader(None),
        Answer::NotLeader(Some((id(9), "10.0.0.9:8300".to_owned()))),
        Answer::NoQuorum,
        Answer::Succession(Verdict::Refused),
        Answer::Succession(Verdict::Agreed),
        Answer::Succession(Verdict::Leading),
        Answer::Removed,
        Answer::Noted,
    ]
}

pub(crate) fn header() -> SnapshotHeader {
    SnapshotHeader {
        vote: None,
        meta: SnapshotMeta {
            last_log_id: Some(log_id(4, 100)),
            last_membership: StoredMembership::new(Some(log_id(1, 0)), membership()),
        },
        state_len: 12345,
        state_crc: 0xdead_beef,
    }
}

/// What decodes survives encoding.
///
/// # Panics
/// When it does not.
#[cfg(fuzzing)]
pub fn check_message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(request) = Request::decode(bytes.clone()) {
        let once = request.encode();
        let again = Request::decode(once.clone()).expect("what we encode decodes");
        assert_eq!(again.encode(), once, "{again:?}");
    }
    if let Ok(answer) = Answer::decode(bytes.clone()) {
        let once = answer.encode();
        let again = Answer::decode(once.clone()).expect("what we encode decodes");
        assert_eq!(again.encode(), once, "{again:?}");
    }
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    if let Ok(header) = SnapshotHeader::decode(Bytes::from(sealed)) {
        let again = SnapshotHeader::decode(header.encode()).expect("what we encode decodes");
        assert_eq!(again, header);
    }
}

/// Messages to begin with.
#[cfg(fuzzing)]
pub fn sample_messages() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = requests()
        .iter()
        .map(|request| request.encode().to_vec())
        .collect();
    all.extend(answers().iter().map(|answer| answer.encode().to_vec()));
    let header = header().encode();
    all.push(header[..header.len() - 4].to_vec());
    all
}
