//! Snapshots: the user's archive out and in, and the form servers keep on disk.
//!
//! An archive comes in through the log in pieces (`Command::Restore`), so that every server replaces its state at the
//! same position; it is checked as a whole before the first piece is proposed, on the leader, which others stream it to. Every
//! server writes archives from its own state. The internal form is the same record
//! stream behind a small header with what archives do not hold.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use tribune_state::{Carry, Staging, State, Version};
use tribune_types::caller::Caller;
use tribune_types::command::{Command, RestoreStep};
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, QueryMeta, ReadOptions};
use tribune_wire::rpc::{self, Envelope, SnapshotCall, SnapshotOp};
use tribune_wire::snapshot::records::{Reader, Writer, says_nothing};
use tribune_wire::snapshot::{
    ArchiveError, GZIP_HEAD, Meta, MetaServer, SnapshotWriter, read_archive,
};

use crate::Server;
use crate::forward::unreadable;
use crate::route::{Need, Origin};

/// Bytes of an archive's record stream in one log entry.
const PIECE: usize = 256 << 10;
/// Pieces of an archive in flight between a client and the checks.
const QUEUE: usize = 8;
/// Bytes of an archive sent at a time.
const SEND: usize = 64 << 10;
/// Largest archive accepted, compressed.
const ARCHIVE_MAX: usize = 2 << 30;
/// How much an archive may expand: what a client sends must not cost many times as much memory.
const EXPANSION_MAX: usize = 100;
/// Expansion allowed besides, for small archives.
const EXPANSION_FREE: usize = 64 << 20;
/// Marks the internal form and its version.
const MAGIC: &[u8; 8] = b"TRBSNAP1";

/// A snapshot archive on its way out.
pub struct SnapshotSave {
    /// Index and freshness of the archive.
    pub meta: QueryMeta,
    /// Pieces of the archive in order; an error ends it, and the archive is then incomplete.
    pub chunks: mpsc::Receiver<Result<Bytes, RpcError>>,
}

/// A snapshot archive on its way in: send the pieces, drop the sender at the end, await the outcome.
pub struct SnapshotRestore {
    /// Takes the pieces of the archive in order. Bounded: waits while the servers are behind.
    pub chunks: mpsc::Sender<Bytes>,
    /// Resolves once the state is replaced, or to why it was not.
    pub done: oneshot::Receiver<Result<(), RpcError>>,
}

impl Server {
    /// Starts saving an archive of the current version: of what this server has if any state will do. A leader is not waited
    /// for where none is known, as everywhere with snapshots.
    ///
    /// # Errors
    /// Denied, an unknown datacenter, there is nothing yet, or the asked guarantee cannot be had.
    pub async fn snapshot_save(
        &self,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotSave, RpcError> {
        self.authorizer().management(caller)?;
        if !self.is_own_datacenter(options.datacenter.as_ref()) {
            return Err(RpcError::NoPath);
        }
        let in_effect = match options.consistency {
            Consistency::Stale => Consistency::Stale,
            _ if self.is_leaderless() => return Err(RpcError::NoLeader),
            // The original confirms the lead for every snapshot that is not stale.
            _ => {
                let need = Need::Read(Consistency::Consistent);
                self.guarantee(need, options).await?
            }
        };
        let version = self.version();
        if version.last_index() == Index(0) {
            return Err(RpcError::Invalid(NOTHING_YET.to_owned()));
        }
        let index = version.last_index();
        let meta = self.archive_meta(index);
        let now = self.env().wall().unix_secs();
        let (tx, chunks) = mpsc::channel(QUEUE);
        let mut out = ChannelWriter::new(tx, self.env().is_sim());
        let written = self.env().spawn_blocking("snapshot-save", move || {
            if let Err(err) = write_archive(&version, meta, now, &mut out) {
                warn!(%err, "failed to write a snapshot archive");
                out.fail(RpcError::Invalid(format!(
                    "failed to write snapshot: {err}"
                )));
            }
            out
        });
        self.env().spawn("snapshot-send", async move {
            if let Ok(out) = written.await {
                out.send_rest().await;
            }
        });
        let meta = self.meta(index, in_effect);
        Ok(SnapshotSave { meta, chunks })
    }

    fn archive_meta(&self, index: Index) -> Meta {
        let metrics = self.raft().metrics();
        let servers = metrics.membership.peers.iter().map(|peer| MetaServer {
            id: peer.id.to_string(),
            address: peer.addr.clone(),
            voter: peer.voter,
        });
        let millis = self.env().wall().0 / 1_000_000;
        Meta {
            id: format!("{}-{}-{millis}", metrics.term, index),
            index: index.0,
            term: metrics.term.0,
            servers: servers.collect(),
            configuration_index: metrics.membership.index.0,
            size: 0,
        }
    }

    /// Starts restoring an archive, here or through the leader. Nothing is replaced before the whole archive was checked.
    ///
    /// # Errors
    /// Denied, an unknown datacenter, or no leader.
    pub async fn snapshot_restore(
        &self,
        origin: Origin,
        caller: &Caller,
        datacenter: Option<&str>,
    ) -> Result<SnapshotRestore, RpcError> {
        if datacenter.is_some_and(|dc| dc != &*self.options().datacenter) {
            return Err(RpcError::NoPath);
        }
        self.authorizer().management(caller)?;
        if self.is_leaderless() {
            return Err(RpcError::NoLeader);
        }
        let leader = self.find_leader(origin, &mut self.hold()).await?;
        let (chunks, rx) = mpsc::channel::<Bytes>(QUEUE);
        let (tx, done) = oneshot::channel();
        let (server, caller) = (self.clone(), caller.clone());
        self.env().spawn("snapshot-restore", async move {
            let outcome = match leader {
                None => restore(&server, rx).await,
                Some(leader) => restore_at(&server, leader.addr, &caller, rx).await,
            };
            if let Err(err) = &outcome {
                warn!(%err, "a snapshot was not restored");
            }
            let _ = tx.send(outcome);
        });
        Ok(SnapshotRestore { chunks, done })
    }
}

/// What is said where nothing was ever written.
const NOTHING_YET: &str = "Raft error when taking snapshot: nothing new to snapshot";

/// Hands an archive on to the leader as it arrives. Never tried twice.
async fn restore_at(
    server: &Server,
    leader: SocketAddr,
    caller: &Caller,
    archive: mpsc::Receiver<Bytes>,
) -> Result<(), RpcError> {
    let call = SnapshotCall {
        envelope: Envelope {
            datacenter: server.options().datacenter.clone(),
            token: caller.token.clone(),
        },
        stale: false,
        op: SnapshotOp::Restore,
        passed_on: true,
    };
    let request = rpc::encode_snapshot(&call);
    let dial = tribune_net::PoolOptions::default().dial_timeout;
    let answered = tribune_net::snapshot(server.env(), leader, dial, &request, Some(archive)).await;
    let (head, _) = answered.map_err(|err| RpcError::Remote(err.to_string()))?;
    let (error, _) = rpc::decode_snapshot_reply(&head).map_err(|err| unreadable(&err))?;
    if !error.is_empty() {
        return Err(RpcError::Remote(error));
    }
    Ok(())
}

/// Writes the archive of a version. Encodes twice: its sizes stand in front.
fn write_archive(
    version: &Version,
    meta: Meta,
    unix_secs: u64,
    out: &mut ChannelWriter,
) -> io::Result<()> {
    let mut count = Counter(0);
    write_records(version, &mut count)?;
    let meta = Meta {
        size: count.0,
        ..meta
    };
    let mut archive = SnapshotWriter::new(&mut *out, &meta, unix_secs)?;
    write_records(version, &mut archive)?;
    archive.finish()?;
    out.flush()
}

fn write_records(version: &Version, out: &mut dyn Write) -> io::Result<()> {
    let mut records = Writer::new(out, version.last_index())?;
    for record in version.export() {
        records.write(&record)?;
    }
    records.finish().map(drop)
}

/// Checks the archive as it arrives while keeping its record stream, then sends that through the log.
async fn restore(server: &Server, mut rx: mpsc::Receiver<Bytes>) -> Result<(), RpcError> {
    let invalid = |err: &dyn std::fmt::Display| RpcError::Invalid(err.to_string());
    let mut archive = Vec::new();
    let mut size = 0;
    while let Some(piece) = rx.recv().await {
        size += piece.len();
        if size > ARCHIVE_MAX {
            return Err(invalid(&"snapshot too large"));
        }
        let had = size - piece.len();
        archive.push(piece);
        // What is no archive at all is refused before more of it is kept.
        if had < GZIP_HEAD && size >= GZIP_HEAD {
            let head: Vec<u8> = archive.iter().flatten().copied().take(GZIP_HEAD).collect();
            if let Err(err @ ArchiveError::NoGzip(_)) = read_archive(&head[..], &mut |_| Ok(())) {
                return Err(invalid(&err));
            }
        }
    }
    // The record stream waits in memory, as pieces of log entries: the log and the staging area hold it anyway.
    let checked = server.env().spawn_blocking("snapshot-check", move || {
        let mut pieces = PieceWriter::new(
            size.saturating_mul(EXPANSION_MAX)
                .saturating_add(EXPANSION_FREE),
        );
        let input = Chain {
            pieces: archive.into_iter(),
            current: Bytes::new(),
        };
        let meta =
            read_archive(input, &mut |bytes| pieces.write_all(bytes)).map_err(io::Error::other)?;
        // A trial run over the records finds what would be refused later, before anything is proposed.
        let pieces = pieces.finish();
        read_state(&mut Pieces::new(&pieces), &mut |_| {})?;
        Ok::<_, io::Error>((meta, pieces))
    });
    let (meta, pieces) = checked
        .await
        .map_err(|err| invalid(&err))?
        .map_err(|err| invalid(&err))?;
    let id = server.env().random_u64();
    let step = |step| server.propose(Command::Restore(step));
    step(RestoreStep::Begin { id }).await?;
    let mut chunks = 0u32;
    for data in pieces {
        if let Err(err) = step(RestoreStep::Chunk {
            id,
            seq: chunks,
            data: Box::from(&*data),
        })
        .await
        {
            let _ = step(RestoreStep::Abort { id }).await;
            return Err(err);
        }
        chunks += 1;
    }
    step(RestoreStep::Commit {
        id,
        chunks,
        index: Index(meta.index),
    })
    .await?;
    Ok(())
}

/// Builds a state from a user's record stream.
///
/// # Errors
/// The stream is malformed, or its records do not fit together.
pub(crate) fn read_state(from: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> io::Result<State> {
    build(from, Carry::default(), progress)
}

/// Builds a state from the internal form.
///
/// # Errors
/// Not the internal form, malformed, or an I/O error.
pub(crate) fn read_internal(
    from: &mut dyn Read,
    progress: &mut dyn FnMut(u64),
) -> io::Result<State> {
    let mut magic = [0; 8];
    from.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a snapshot of this version of Tribune",
        ));
    }
    let last_index = Index(read_u64(from)?);
    let index_offset = read_u64(from)?;
    let staging = match read_u64(from)? {
        0 => None,
        _ => {
            let id = read_u64(from)?;
            let count = read_u64(from)?;
            let mut chunks = Vec::new();
            for _ in 0..count {
                let len = read_u64(from)?;
                let mut chunk = Vec::new();
                if from.take(len).read_to_end(&mut chunk)? as u64 != len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                chunks.push(Arc::from(chunk));
            }
            Some(Arc::new(Staging { id, chunks }))
        }
    };
    build(
        from,
        Carry {
            last_index,
            index_offset,
            staging,
        },
        progress,
    )
}

/// Writes the internal form.
///
/// # Errors
/// Whatever writing gives.
pub(crate) fn write_internal(version: &Version, out: &mut dyn Write) -> io::Result<()> {
    let carry = version.carry();
    out.write_all(MAGIC)?;
    write_u64(out, carry.last_index.0)?;
    write_u64(out, carry.index_offset)?;
    write_u64(out, u64::from(carry.staging.is_some()))?;
    if let Some(staging) = &carry.staging {
        write_u64(out, staging.id)?;
        write_u64(out, staging.chunks.len() as u64)?;
        for chunk in &staging.chunks {
            write_u64(out, chunk.len() as u64)?;
            out.write_all(chunk)?;
        }
    }
    write_records(version, out)
}

fn build(from: &mut dyn Read, carry: Carry, progress: &mut dyn FnMut(u64)) -> io::Result<State> {
    let mut count = 0u64;
    let records = Reader::new(from).map_err(io::Error::other)?.inspect(|_| {
        count += 1;
        if count.is_multiple_of(10_000) {
            progress(count);
        }
    });
    // A state that went through a snapshot is the same as before.
    let records = records.filter(|record| !record.as_ref().is_ok_and(says_nothing));
    State::restore(records, carry)
        .map_err(|err| io::Error::new(io::ErrorKind::InvalidData, chain(&err)))
}

/// An error with its causes in one line.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}

fn read_u64(from: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn write_u64(out: &mut dyn Write, value: u64) -> io::Result<()> {
    out.write_all(&value.to_be_bytes())
}

/// Counts what is written.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands what is written to a channel, in pieces.
struct ChannelWriter {
    tx: mpsc::Sender<Result<Bytes, RpcError>>,
    buffer: Vec<u8>,
    /// Pieces that could not be sent from here: in simulation blocking work runs inline and must not wait.
    rest: Vec<Result<Bytes, RpcError>>,
    inline: bool,
}

impl ChannelWriter {
    fn new(tx: mpsc::Sender<Result<Bytes, RpcError>>, inline: bool) -> ChannelWriter {
        ChannelWriter {
            tx,
            buffer: Vec::with_capacity(SEND),
            rest: Vec::new(),
            inline,
        }
    }

    fn fail(&mut self, err: RpcError) {
        self.rest.push(Err(err));
    }

    async fn send_rest(self) {
        for piece in self.rest {
            if self.tx.send(piece).await.is_err() {
                return;
            }
        }
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= SEND {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Ok(Bytes::from(std::mem::take(&mut self.buffer)));
        if self.inline {
            self.rest.push(piece);
            return Ok(());
        }
        self.tx
            .blocking_send(piece)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Owned pieces of bytes read as one stream; each is freed once read.
struct Chain {
    pieces: std::vec::IntoIter<Bytes>,
    current: Bytes,
}

impl Read for Chain {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.next() {
                Some(next) => self.current = next,
                None => return Ok(0),
            }
        }
        let len = self.current.len().min(buf.len());
        buf[..len].copy_from_slice(&self.current.split_to(len));
        Ok(len)
    }
}

/// Collects a stream as pieces of one log entry each, up to a limit.
struct PieceWriter {
    pieces: Vec<Arc<[u8]>>,
    open: Vec<u8>,
    left: usize,
}

impl PieceWriter {
    fn new(size_max: usize) -> PieceWriter {
        PieceWriter {
            pieces: Vec::new(),
            open: Vec::new(),
            left: size_max,
        }
    }

    fn finish(mut self) -> Vec<Arc<[u8]>> {
        self.close();
        self.pieces
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(Arc::from(std::mem::take(&mut self.open)));
        }
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PIECE - self.open.len());
        self.left = self
            .left
            .checked_sub(len)
            .ok_or_else(|| io::Error::other("archive expands too much"))?;
        self.open.extend_from_slice(&bytes[..len]);
        if self.open.len() == PIECE {
            self.close();
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Pieces of bytes read as one stream.
pub(crate) struct Pieces<'a> {
    pieces: &'a [Arc<[u8]>],
    at: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(pieces: &'a [Arc<[u8]>]) -> Pieces<'a> {
        Pieces { pieces, at: 0 }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(first) = self.pieces.first() {
            let left = &first[self.at..];
            if left.is_empty() {
                self.pieces = &self.pieces[1..];
                self.at = 0;
                continue;
            }
            let len = left.len().min(buf.len());
            buf[..len].copy_from_slice(&left[..len]);
            self.at += len;
            return Ok(len);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one_stream() {
        let pieces: Vec<Arc<[u8]>> = [&b"ab"[..], b"", b"cde"]
            .into_iter()
            .map(Arc::from)
            .collect();
        let mut all = Vec::new();
        Pieces::new(&pieces).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"abcde");
    }

    #[test]
    fn a_long_stream_is_cut_into_pieces_of_one_entry() {
        let mut writer = PieceWriter::new(PIECE * 3);
        writer.write_all(&vec![7; PIECE * 2 + 5]).unwrap();
        let sizes: Vec<usize> = writer.finish().iter().map(|piece| piece.len()).collect();
        assert_eq!(sizes, [PIECE, PIECE, 5]);
    }
}
