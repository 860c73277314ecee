//! Bytes of consensus messages, log payloads and snapshot meta. Our own format: there is no
//! foreign one to follow, since quorums mixed with Go servers are not possible.
//!
//! ```text
//! numbers    little endian      option   0 | 1 value      bytes   len 4, bytes
//! log id     term 8, index 8    vote     term 8, node 16, committed 1
//! entry      log id, kind 1, bytes
//! membership count 4, each: count 4, node 16 ...; count 4, each: node 16, addr bytes
//! request    version 1, tag 1, body       answer   version 1, tag 1, body
//! ```
//!
//! Decoding never panics and never allocates more than the bytes at hand can fill.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, Bytes};
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use openraft::vote::leader_id_std::CommittedLeaderId;

use crate::succession::{Claim, Verdict};
use crate::types::{
    Entry, EntryPayload, LeaderId, LogId, Member, Membership, Payload, RaftNodeId, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};
use crate::wal::{Kind, Spot, VoteRecord};

const VERSION: u8 = 1;
/// Terms and indexes beyond this are not believed: counting on from them must not overflow.
const NUMBER_MAX: u64 = 1 << 62;

// --- conversions to and from the log's own types ------------------------------------------------

pub(crate) fn log_id_from_spot(spot: Spot) -> LogId {
    LogId::new(CommittedLeaderId::new(spot.term), spot.index)
}

pub(crate) fn log_id_to_spot(id: &LogId) -> Spot {
    Spot {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn vote_from_record(record: &VoteRecord) -> Vote {
    Vote {
        leader_id: LeaderId::new(record.term, tribune_types::id::Uuid(record.node)),
        committed: record.committed,
    }
}

pub(crate) fn vote_to_record(vote: &Vote) -> VoteRecord {
    VoteRecord {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for.0,
        committed: vote.committed,
    }
}

pub(crate) fn entry_into_parts(entry: Entry) -> (u64, u64, Kind, Bytes) {
    let (term, index) = (entry.log_id.leader_id.term, entry.log_id.index);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(Payload(bytes)) => (Kind::Normal, bytes),
        EntryPayload::Membership(membership) => {
            let mut out = Vec::new();
            put_membership(&mut out, &membership);
            (Kind::Membership, Bytes::from(out))
        }
    };
    (index, term, kind, payload)
}

pub(crate) fn entry_from_parts(
    index: u64,
    term: u64,
    kind: Kind,
    payload: &Bytes,
) -> io::Result<Entry> {
    let payload = match kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Normal => EntryPayload::Normal(Payload(payload.clone())),
        Kind::Membership => EntryPayload::Membership(Reader(payload.clone()).membership()?),
    };
    Ok(Entry::new(log_id_from_spot(Spot { term, index }), payload))
}

// --- writing ------------------------------------------------------------------------------------

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // A single value over 4 GiB cannot come this far: proposals are limited to far less.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    put_u64(out, id.leader_id.term);
    put_u64(out, id.index);
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    put_u64(out, vote.leader_id.term);
    out.extend_from_slice(&vote.leader_id.voted_for.0);
    out.push(u8::from(vote.committed));
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.extend_from_slice(&(configs.len() as u32).to_le_bytes());
    for voters in configs {
        out.extend_from_slice(&(voters.len() as u32).to_le_bytes());
        for id in voters {
            out.extend_from_slice(&id.0);
        }
    }
    let nodes: Vec<_> = membership.nodes().collect();
    out.extend_from_slice(&(nodes.len() as u32).to_le_bytes());
    for (id, member) in nodes {
        out.extend_from_slice(&id.0);
        put_bytes(out, member.addr.as_bytes());
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {
            out.push(Kind::Blank as u8);
            put_bytes(out, &[]);
        }
        EntryPayload::Normal(payload) => {
            out.push(Kind::Normal as u8);
            put_bytes(out, &payload.0);
        }
        EntryPayload::Membership(membership) => {
            out.push(Kind::Membership as u8);
            let mut bytes = Vec::new();
            put_membership(&mut bytes, membership);
            put_bytes(out, &bytes);
        }
    }
}

// --- reading ------------------------------------------------------------------------------------

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed raft message: {what}"),
    )
}

/// Takes values off the front of a message; payloads share its memory.
struct Reader(Bytes);

impl Reader {
    fn need(&self, len: usize) -> io::Result<()> {
        if self.0.len() < len {
            return Err(malformed("it ends too early"));
        }
        Ok(())
    }

    fn u8(&mut self) -> io::Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    fn bool(&mut self) -> io::Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("a flag is neither 0 nor 1")),
        }
    }

    fn bytes(&mut self) -> io::Result<Bytes> {
        let len = self.u32()? as usize;
        self.need(len)?;
        Ok(self.0.split_to(len))
    }

    /// A count of things that take at least `size` bytes each.
    fn count(&mut self, size: usize) -> io::Result<usize> {
        let count = self.u32()? as usize;
        self.need(count.saturating_mul(size))?;
        Ok(count)
    }

    fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<Option<T>> {
        if self.bool()? {
            get(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn node_id(&mut self) -> io::Result<RaftNodeId> {
        self.need(16)?;
        let mut id = [0; 16];
        self.0.copy_to_slice(&mut id);
        Ok(tribune_types::id::Uuid(id))
    }

    /// A term or an index.
    fn number(&mut self) -> io::Result<u64> {
        let number = self.u64()?;
        if number > NUMBER_MAX {
            return Err(malformed("a number is too large"));
        }
        Ok(number)
    }

    fn log_id(&mut self) -> io::Result<LogId> {
        let term = self.number()?;
        let index = self.number()?;
        Ok(log_id_from_spot(Spot { term, index }))
    }

    fn leader_id(&mut self) -> io::Result<LeaderId> {
        let term = self.number()?;
        Ok(LeaderId::new(term, self.node_id()?))
    }

    fn vote(&mut self) -> io::Result<Vote> {
        Ok(Vote {
            leader_id: self.leader_id()?,
            committed: self.bool()?,
        })
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| malformed("an address is not text"))
    }

    fn membership(&mut self) -> io::Result<Membership> {
        let mut configs = Vec::new();
        for _ in 0..self.count(4)? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.count(16)? {
                voters.insert(self.node_id()?);
            }
            configs.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.count(20)? {
            let id = self.node_id()?;
            let addr = self.text()?;
            nodes.insert(id, Member { addr });
        }
        // A membership before the first one has no configs at all.
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, nodes).map_err(|_| malformed("a membership contradicts itself"))
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let id = self.log_id()?;
        let kind = match self.u8()? {
            1 => Kind::Normal,
            2 => Kind::Blank,
            3 => Kind::Membership,
            _ => return Err(malformed("unknown kind of entry")),
        };
        let payload = self.bytes()?;
        entry_from_parts(id.index, id.leader_id.term, kind, &payload)
    }

    fn end<T>(self, value: T) -> io::Result<T> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(malformed("bytes are left over"))
        }
    }
}

// --- messages -----------------------------------------------------------------------------------

/// What one server asks another.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Up to where must a state reach to contain everything acknowledged? `confirm` asks a quorum
    /// whether the leader still leads; otherwise its lease will do.
    ReadIndex {
        confirm: bool,
    },
    /// The leader seems to be gone; may the candidate follow it?
    Succeed(Claim),
    /// From a leader to a server that it removed, with the membership that says so.
    Removed {
        vote: Vote,
        membership: LogId,
    },
}

/// What it hears.
#[derive(Debug)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Transfer(TransferLeaderResponse<TypeConfig>),
    Snapshot(SnapshotResponse<TypeConfig>),
    /// The peer cannot answer, for instance because its storage failed.
    Failed(String),
    ReadIndex(u64),
    /// Another server leads, or none is known.
    NotLeader(Option<(RaftNodeId, String)>),
    /// The leader could not make sure that it still leads.
    NoQuorum,
    Succession(Verdict),
    /// To a candidate that is not in the peer set any more.
    Removed,
    Noted,
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Append(request) => {
                let size: usize = request.entries.iter().map(entry_size).sum();
                out.reserve(size + 128);
                out.push(1);
                put_vote(&mut out, &request.vote);
                put_option(&mut out, request.prev_log_id.as_ref(), put_log_id);
                put_option(&mut out, request.leader_commit.as_ref(), put_log_id);
                out.extend_from_slice(&(request.entries.len() as u32).to_le_bytes());
                for entry in &request.entries {
                    put_entry(&mut out, entry);
                }
            }
            Self::Vote(request) | Self::PreVote(request) => {
                out.push(if matches!(self, Self::Vote(_)) { 2 } else { 3 });
                put_vote(&mut out, &request.vote);
                put_option(&mut out, request.last_log_id.as_ref(), put_log_id);
                out.push(u8::from(request.leadership_transfer));
            }
            Self::Transfer(request) => {
                out.push(4);
                put_vote(&mut out, request.from_leader());
                out.extend_from_slice(&request.to_node_id().0);
                put_option(&mut out, request.last_log_id(), put_log_id);
            }
            Self::ReadIndex { confirm } => {
                out.push(5);
                out.push(u8::from(*confirm));
            }
            Self::Succeed(claim) => {
                out.push(6);
                put_u64(&mut out, claim.leader.term);
                out.extend_from_slice(&claim.leader.voted_for.0);
                out.extend_from_slice(&claim.candidate.0);
                put_option(&mut out, claim.last.as_ref(), put_log_id);
            }
            Self::Removed { vote, membership } => {
                out.push(7);
                put_vote(&mut out, vote);
                put_log_id(&mut out, membership);
            }
        }
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: Bytes) -> io::Result<Self> {
        let mut reader = versioned(bytes)?;
        let request = match reader.u8()? {
            1 => {
                let vote = reader.vote()?;
                let prev_log_id = reader.option(Reader::log_id)?;
                let leader_commit = reader.option(Reader::log_id)?;
                let count = reader.count(21)?;
                let mut entries = Vec::with_capacity(count);
                for _ in 0..count {
                    entries.push(reader.entry()?);
                }
                Self::Append(AppendEntriesRequest {
                    vote,
                    prev_log_id,
                    entries,
                    leader_commit,
                })
            }
            tag @ (2 | 3) => {
                let mut request = VoteRequest::new(reader.vote()?, reader.option(Reader::log_id)?);
                request.leadership_transfer = reader.bool()?;
                if tag == 2 {
                    Self::Vote(request)
                } else {
                    Self::PreVote(request)
                }
            }
            4 => {
                let from = reader.vote()?;
                let to = reader.node_id()?;
                Self::Transfer(TransferLeaderRequest::new(
                    from,
                    to,
                    reader.option(Reader::log_id)?,
                ))
            }
            5 => Self::ReadIndex {
                confirm: reader.bool()?,
            },
            6 => Self::Succeed(Claim {
                leader: reader.leader_id()?,
                candidate: reader.node_id()?,
                last: reader.option(Reader::log_id)?,
            }),
            7 => Self::Removed {
                vote: reader.vote()?,
                membership: reader.log_id()?,
            },
            _ => return Err(malformed("unknown request")),
        };
        reader.end(request)
    }
}

fn entry_size(entry: &Entry) -> usize {
    32 + match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(_) => 256,
    }
}

fn versioned(bytes: Bytes) -> io::Result<Reader> {
    let mut reader = Reader(bytes);
    if reader.u8()? != VERSION {
        return Err(malformed("unknown version"));
    }
    Ok(reader)
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Append(AppendEntriesResponse::Success) => out.push(1),
            Self::Append(AppendEntriesResponse::PartialSuccess(id)) => {
                out.push(2);
                put_option(&mut out, id.as_ref(), put_log_id);
            }
            Self::Append(AppendEntriesResponse::Conflict) => out.push(3),
            Self::Append(AppendEntriesResponse::HigherVote(vote)) => {
                out.push(4);
                put_vote(&mut out, vote);
            }
            Self::Vote(response) => {
                out.push(5);
                put_vote(&mut out, &response.vote);
                out.push(u8::from(response.vote_granted));
                put_option(&mut out, response.last_log_id.as_ref(), put_log_id);
            }
            Self::Transfer(Ok(())) => out.push(6),
            Self::Transfer(Err(TransferLeaderError::VoteChanged { expected, actual })) => {
                out.push(7);
                put_vote(&mut out, expected);
                put_vote(&mut out, actual);
            }
            Self::Transfer(Err(TransferLeaderError::LogNotFlushed { expected, actual })) => {
                out.push(8);
                put_option(&mut out, expected.as_ref(), put_log_id);
                put_option(&mut out, actual.as_ref(), put_log_id);
            }
            Self::Snapshot(response) => {
                out.push(9);
                put_vote(&mut out, &response.vote);
            }
            Self::Failed(text) => {
                out.push(10);
                put_bytes(&mut out, text.as_bytes());
            }
            Self::ReadIndex(index) => {
                out.push(11);
                put_u64(&mut out, *index);
            }
            Self::NotLeader(leader) => {
                out.push(12);
                put_option(&mut out, leader.as_ref(), |out, (id, addr)| {
                    out.extend_from_slice(&id.0);
                    put_bytes(out, addr.as_bytes());
                });
            }
            Self::NoQuorum => out.push(13),
            Self::Succession(verdict) => {
                out.push(14);
                out.push(*verdict as u8);
            }
            Self::Removed => out.push(15),
            Self::Noted => out.push(16),
        }
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: Bytes) -> io::Result<Self> {
        let mut reader = versioned(bytes)?;
        let answer = match reader.u8()? {
            1 => Self::Append(AppendEntriesResponse::Success),
            2 => Self::Append(AppendEntriesResponse::PartialSuccess(
                reader.option(Reader::log_id)?,
            )),
            3 => Self::Append(AppendEntriesResponse::Conflict),
            4 => Self::Append(AppendEntriesResponse::HigherVote(reader.vote()?)),
            5 => {
                let vote = reader.vote()?;
                let granted = reader.bool()?;
                Self::Vote(VoteResponse::new(
                    vote,
                    reader.option(Reader::log_id)?,
                    granted,
                ))
            }
            6 => Self::Transfer(Ok(())),
            7 => Self::Transfer(Err(TransferLeaderError::VoteChanged {
                expected: reader.vote()?,
                actual: reader.vote()?,
            })),
            8 => Self::Transfer(Err(TransferLeaderError::LogNotFlushed {
                expected: reader.option(Reader::log_id)?,
                actual: reader.option(Reader::log_id)?,
            })),
            9 => Self::Snapshot(SnapshotResponse::new(reader.vote()?)),
            10 => Self::Failed(String::from_utf8_lossy(&reader.bytes()?).into_owned()),
            11 => Self::ReadIndex(reader.number()?),
            12 => Self::NotLeader(reader.option(|reader| Ok((reader.node_id()?, reader.text()?)))?),
            13 => Self::NoQuorum,
            14 => Self::Succession(match reader.u8()? {
                0 => Verdict::Refused,
                1 => Verdict::Agreed,
                2 => Verdict::Leading,
                _ => return Err(malformed("unknown verdict")),
            }),
            15 => Self::Removed,
            16 => Self::Noted,
            _ => return Err(malformed("unknown answer")),
        };
        reader.end(answer)
    }
}

// --- snapshots ----------------------------------------------------------------------------------

/// The header before a snapshot's bytes, on the wire and in its `meta` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    /// Vote of the sending leader; none on disk.
    pub(crate) vote: Option<Vote>,
    pub(crate) meta: SnapshotMeta,
    /// Length and crc32 of the bytes that follow.
    pub(crate) state_len: u64,
    pub(crate) state_crc: u32,
}

impl SnapshotHeader {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_option(&mut out, self.vote.as_ref(), put_vote);
        put_option(&mut out, self.meta.last_log_id.as_ref(), put_log_id);
        put_option(
            &mut out,
            self.meta.last_membership.log_id().as_ref(),
            put_log_id,
        );
        put_membership(&mut out, self.meta.last_membership.membership());
        put_u64(&mut out, self.state_len);
        out.extend_from_slice(&self.state_crc.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Bytes::from(out)
    }

    pub(crate) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let body_len = bytes
            .len()
            .checked_sub(4)
            .ok_or_else(|| malformed("it ends too early"))?;
        let mut crc = bytes.split_off(body_len);
        if crc.get_u32_le() != crc32fast::hash(&bytes) {
            return Err(malformed("the checksum of a snapshot header is wrong"));
        }
        let mut reader = versioned(bytes)?;
        let vote = reader.option(Reader::vote)?;
        let last_log_id = reader.option(Reader::log_id)?;
        let membership_log_id = reader.option(Reader::log_id)?;
        let membership = reader.membership()?;
        let meta = SnapshotMeta {
            last_log_id,
            last_membership: StoredMembership::new(membership_log_id, membership),
        };
        let header = Self {
            vote,
            meta,
            state_len: reader.u64()?,
            state_crc: reader.u32()?,
        };
        reader.end(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{answers, header, requests};

    #[test]
    fn every_message_comes_back_as_it_was_sent() {
        for request in requests() {
            let back = Request::decode(request.encode()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
        for answer in answers() {
            let back = Answer::decode(answer.encode()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{answer:?}"));
        }
        assert_eq!(SnapshotHeader::decode(header().encode()).unwrap(), header());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Servers of different builds talk to each other during an upgrade: the bytes stay.
    #[test]
    fn messages_have_these_bytes() {
        let (n4, n9) = ("04".repeat(16), "09".repeat(16));
        let number = |n: u64| hex(&n.to_le_bytes());
        let id = |term, index| number(term) + &number(index);
        let vote = |committed| number(3) + &n9 + committed;
        let member = |n: &str| {
            n.repeat(16) + "0d000000" + &hex(format!("10.0.0.{}:8300", &n[1..]).as_bytes())
        };
        let peers = "02000000".to_owned()
            + "02000000"
            + &"01".repeat(16)
            + &"02".repeat(16)
            + "01000000"
            + &"01".repeat(16)
            + "03000000"
            + &member("01")
            + &member("02")
            + &member("03");
        let entries = [
            id(3, 8) + "02" + "00000000",
            id(3, 9) + "01" + "03000000" + "616263",
            id(3, 10) + "03" + &hex(&((peers.len() / 2) as u32).to_le_bytes()) + &peers,
        ];
        let want = [
            "01".to_owned()
                + &vote("01")
                + "01"
                + &id(2, 7)
                + "00"
                + "03000000"
                + &entries.concat(),
            "02".to_owned() + &vote("01") + "01" + &id(1, 1) + "00",
            "03".to_owned() + &vote("01") + "00" + "00",
            "04".to_owned() + &vote("01") + &n4 + "01" + &id(3, 10),
            "0500".to_owned(),
            "0501".to_owned(),
            "06".to_owned() + &number(3) + &n9 + &n4 + "01" + &id(3, 10),
            "07".to_owned() + &vote("01") + &id(3, 10),
        ];
        for (request, want) in requests().iter().zip(&want) {
            assert_eq!(
                hex(&request.encode()),
                "01".to_owned() + want,
                "{request:?}"
            );
        }
        assert_eq!(requests().len(), want.len());
        let want = [
            "01".to_owned(),
            "0201".to_owned() + &id(1, 2),
            "03".to_owned(),
            "04".to_owned() + &vote("00"),
            "05".to_owned() + &vote("00") + "01" + "00",
            "06".to_owned(),
            "07".to_owned() + &vote("00") + &vote("00"),
            "08".to_owned() + "00" + "01" + &id(1, 1),
            "09".to_owned() + &vote("00"),
            "0a".to_owned() + "04000000" + "6469736b",
            "0b".to_owned() + &number(77),
            "0c00".to_owned(),
            "0c01".to_owned() + &member("09"),
            "0d".to_owned(),
            "0e00".to_owned(),
            "0e01".to_owned(),
            "0e02".to_owned(),
            "0f".to_owned(),
            "10".to_owned(),
        ];
        for (answer, want) in answers().iter().zip(&want) {
            assert_eq!(hex(&answer.encode()), "01".to_owned() + want, "{answer:?}");
        }
        assert_eq!(answers().len(), want.len());
    }

    #[test]
    fn what_no_peer_says_is_refused() {
        let far = (NUMBER_MAX + 1).to_le_bytes();
        let zeros = [0; 64];
        // (what, body of a request behind its version)
        let table = [
            ("nothing", vec![]),
            ("an unknown tag", vec![8]),
            ("a flag of 2", vec![5, 2]),
            ("bytes left over", vec![5, 1, 0]),
            ("a term too far", [&[2][..], &far, &zeros[..19]].concat()),
            ("an index too far", [&[7][..], &zeros[..33], &far].concat()),
            (
                "more entries than bytes",
                [&[1][..], &zeros[..27], &[0xff; 4], &zeros].concat(),
            ),
            (
                "a longer entry than there are bytes",
                [
                    &[1][..],
                    &zeros[..27],
                    &[1, 0, 0, 0],
                    &zeros[..16],
                    &[1],
                    &[0xff; 4],
                    &zeros,
                ]
                .concat(),
            ),
            (
                "a membership with more voters than bytes",
                [
                    &[1][..],
                    &zeros[..27],
                    &[1, 0, 0, 0],
                    &zeros[..16],
                    &[3],
                    &[12, 0, 0, 0],
                    &[1, 0, 0, 0],
                    &[0xff; 4],
                    &zeros[..4],
                ]
                .concat(),
            ),
        ];
        for (what, body) in table {
            let bytes = Bytes::from([&[VERSION][..], &body].concat());
            assert!(Request::decode(bytes).is_err(), "{what}");
        }
        for body in [
            vec![14, 3],
            vec![17],
            [&[11][..], &far].concat(),
            vec![12, 1],
        ] {
            let bytes = Bytes::from([&[VERSION][..], &body].concat());
            assert!(Answer::decode(bytes.clone()).is_err(), "{bytes:?}");
        }
        assert!(
            Request::decode(Bytes::from_static(&[2, 5, 1])).is_err(),
            "another version"
        );
    }

    #[test]
    fn a_cut_or_flipped_message_is_an_error_or_another_message_but_never_a_panic() {
        let mut all: Vec<Bytes> = requests().iter().map(Request::encode).collect();
        all.extend(answers().iter().map(Answer::encode));
        all.push(header().encode());
        for bytes in all {
            for cut in 0..bytes.len() {
                assert!(
                    Request::decode(bytes.slice(..cut)).is_err()
                        || Answer::decode(bytes.slice(..cut)).is_err()
                );
                let mut flipped = bytes.to_vec();
                flipped[cut] ^= 0xff;
                let flipped = Bytes::from(flipped);
                let _ = Request::decode(flipped.clone());
                let _ = Answer::decode(flipped.clone());
                assert!(SnapshotHeader::decode(flipped).is_err());
            }
        }
    }
}
