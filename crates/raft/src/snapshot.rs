//! Snapshots of the machine: on disk, in memory for `-dev`, and on their way between servers.
//!
//! ```text
//! <data_dir>/raft/snapshots/<term>-<index>-<unix ms>/state   the machine's stream
//!                                                   /meta    header: last entry, membership,
//!                                                            length and crc32 of state, own crc32
//! ```
//!
//! A snapshot is written under a name ending in `.tmp`, synced, renamed, and the folder synced; a
//! name without `.tmp` is whole or damaged, never half-made. Two are kept. At start the newest
//! intact one is taken; an older one only if the log still reaches back to it, because a state
//! with a hole in it would be worse than not starting.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use parking_lot::Mutex;
use tribune_rt::Env;
use tribune_rt::disk::{Disk, File, OpenOptions};

use crate::codec::{SnapshotHeader, log_id_to_spot};
use crate::error::OpenError;
use crate::machine::SnapshotSource;
use crate::types::SnapshotMeta;

/// How many snapshots stay on disk.
const KEPT_COUNT: usize = 2;
/// Unit of reading and writing.
const CHUNK_SIZE_BYTES: usize = 256 * 1024;

/// One snapshot, as the consensus library passes it around.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotData {
    pub(crate) header: SnapshotHeader,
    body: Body,
    /// The folder of one that was received and is not installed yet.
    received: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Body {
    File(Arc<File>),
    Memory(Bytes),
    /// A log in memory was cut here; the bytes are made when a peer needs them.
    Later,
}

impl SnapshotData {
    /// A snapshot of a node without a disk: it lets the log be cut and costs nothing.
    pub(crate) fn later(meta: SnapshotMeta) -> Self {
        let header = SnapshotHeader {
            vote: None,
            meta,
            state_len: 0,
            state_crc: 0,
        };
        Self {
            header,
            body: Body::Later,
            received: None,
        }
    }

    /// True while there are no bytes.
    pub(crate) fn is_later(&self) -> bool {
        matches!(self.body, Body::Later)
    }

    /// The bytes, for the machine.
    pub(crate) fn reader(&self) -> BodyReader {
        BodyReader {
            body: self.body.clone(),
            at: 0,
            len: self.header.state_len,
        }
    }

    /// The bytes, for a peer.
    pub(crate) fn stream(&self) -> SnapshotStream {
        SnapshotStream(self.reader())
    }

    /// Reads everything and compares length and checksum.
    fn verify(&self) -> io::Result<()> {
        let mut reader = self.reader();
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; CHUNK_SIZE_BYTES];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        if reader.at != self.header.state_len || hasher.finalize() != self.header.state_crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its checksum is wrong",
            ));
        }
        Ok(())
    }
}

/// Reads the state of a snapshot from its start.
#[derive(Debug)]
pub(crate) struct BodyReader {
    body: Body,
    at: u64,
    len: u64,
}

impl BodyReader {
    pub(crate) fn position(&self) -> u64 {
        self.at
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let count = match &self.body {
            Body::Later => return Err(io::Error::other("the snapshot has no bytes yet")),
            Body::File(file) => file.read_at(&mut buffer[..want], self.at)?,
            Body::Memory(bytes) => {
                let start = usize::try_from(self.at)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let count = want.min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                count
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// The bytes of a snapshot for a [`Transport`](crate::Transport) to send, in chunks.
#[derive(Debug)]
pub struct SnapshotStream(BodyReader);

impl SnapshotStream {
    /// Length of the whole in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// True for a snapshot of nothing.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The next chunk of up to 256 KiB; `None` at the end. Reads from the page cache as a rule;
    /// blocks for the disk where not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let left = usize::try_from(self.0.len - self.0.at).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(CHUNK_SIZE_BYTES)];
        if chunk.is_empty() {
            return Ok(None);
        }
        self.0.read_exact(&mut chunk)?;
        Ok(Some(Bytes::from(chunk)))
    }
}

/// Where snapshots live.
pub(crate) struct SnapshotStore {
    env: Env,
    /// `None` keeps the newest in memory.
    dir: Option<PathBuf>,
    current: Mutex<Option<SnapshotData>>,
}

/// (term, index, unix ms) from a folder's name.
fn parse_name(name: &str) -> Option<(u64, u64, u64)> {
    let mut parts = name.split('-').map(|part| part.parse().ok());
    let key = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(key)
}

impl SnapshotStore {
    /// Finds the snapshot to start from. Blocks; reads it once to verify it.
    ///
    /// `purged` is the last entry that the log does not hold any more.
    pub(crate) fn open(
        env: &Env,
        dir: Option<PathBuf>,
        purged: Option<u64>,
    ) -> Result<Self, OpenError> {
        let store = Self {
            env: env.clone(),
            dir,
            current: Mutex::new(None),
        };
        let Some(dir) = &store.dir else {
            return Ok(store);
        };
        let disk = store.disk();
        disk.create_dir_all(dir)?;
        let mut damaged = Vec::new();
        for name in store.names()?.iter().rev() {
            match store.load(name) {
                Ok(found) => {
                    let index = found.header.meta.last_log_id.as_ref().map(|id| id.index);
                    if purged > index {
                        let what = format!(
                            "{name} ends at entry {}, but the log begins after entry {}{}",
                            index.unwrap_or(0),
                            purged.unwrap_or(0),
                            list(&damaged),
                        );
                        return Err(OpenError::Snapshot { what });
                    }
                    *store.current.lock() = Some(found);
                    return Ok(store);
                }
                Err(err) => {
                    tracing::warn!(snapshot = %name, %err, "snapshot is damaged, trying an older one");
                    damaged.push(format!("{name}: {err}"));
                }
            }
        }
        if let Some(purged) = purged {
            let what = format!(
                "the log begins after entry {purged} and no intact snapshot covers it{}",
                list(&damaged)
            );
            return Err(OpenError::Snapshot { what });
        }
        Ok(store)
    }

    fn disk(&self) -> Disk {
        self.env.disk()
    }

    /// Names of finished snapshots, oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let Some(dir) = &self.dir else {
            return Ok(Vec::new());
        };
        let mut names = self.disk().list_dir(dir)?;
        names.retain(|name| parse_name(name).is_some());
        names.sort_by_key(|name| parse_name(name));
        Ok(names)
    }

    fn load(&self, name: &str) -> io::Result<SnapshotData> {
        let dir = self.dir.as_ref().ok_or(io::ErrorKind::NotFound)?.join(name);
        let disk = self.disk();
        let header = SnapshotHeader::decode(Bytes::from(disk.read(&dir.join("meta"))?))?;
        let file = disk.open(&dir.join("state"), OpenOptions::READ)?;
        let data = SnapshotData {
            header,
            body: Body::File(Arc::new(file)),
            received: None,
        };
        data.verify()?;
        Ok(data)
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> Option<SnapshotData> {
        self.current.lock().clone()
    }

    /// True when snapshots go to disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.dir.is_some()
    }

    /// Writes a snapshot and makes it the current one. Blocks for the disk.
    pub(crate) fn save(
        &self,
        meta: SnapshotMeta,
        source: &mut dyn SnapshotSource,
    ) -> io::Result<SnapshotData> {
        let mut sink = self.sink(&meta)?;
        let written = source.write_to(&mut sink);
        let result = written
            .and_then(|()| sink.finish(meta))
            .and_then(|data| self.install(data));
        if result.is_err() {
            self.prune();
        }
        result
    }

    /// Starts writing a snapshot, here or in memory.
    pub(crate) fn sink(&self, meta: &SnapshotMeta) -> io::Result<SnapshotSink> {
        let target = match &self.dir {
            None => Target::Memory(Vec::new()),
            Some(dir) => {
                let spot = meta.last_log_id.as_ref().map(log_id_to_spot);
                let (term, index) = spot.map_or((0, 0), |spot| (spot.term, spot.index));
                let ms = self.env.wall().0 / 1_000_000;
                let temp = dir.join(format!(
                    "{term}-{index}-{ms}.{:08x}.tmp",
                    self.env.random_u64() as u32
                ));
                let disk = self.disk();
                disk.create_dir_all(&temp)?;
                let file = disk.open(&temp.join("state"), OpenOptions::CREATE_NEW)?;
                Target::File { disk, temp, file }
            }
        };
        Ok(SnapshotSink {
            target,
            buffer: Vec::new(),
            hasher: Hasher::new(),
            len: 0,
        })
    }

    /// Gives a finished snapshot its name and makes it the current one.
    pub(crate) fn install(&self, mut data: SnapshotData) -> io::Result<SnapshotData> {
        if let (Some(temp), Some(dir)) = (data.received.take(), &self.dir) {
            let name = temp
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let name = name.split('.').next().unwrap_or_default();
            let disk = self.disk();
            let target = dir.join(name);
            if disk.exists(&target) {
                disk.remove_dir_all(&target)?;
            }
            disk.rename(&temp, &target)?;
            disk.sync_dir(dir)?;
        }
        let mut current = self.current.lock();
        let newer = |old: &SnapshotData| {
            old.header.meta.last_log_id > data.header.meta.last_log_id && !old.is_later()
        };
        if !current.as_ref().is_some_and(newer) {
            *current = Some(data.clone());
        }
        drop(current);
        self.prune();
        Ok(data)
    }

    /// Removes all but the newest ones, and what was never finished. Failures wait for the next
    /// time.
    fn prune(&self) {
        let Some(dir) = &self.dir else { return };
        let disk = self.disk();
        let Ok(names) = self.names() else { return };
        let old = &names[..names.len().saturating_sub(KEPT_COUNT)];
        for name in old {
            if let Err(err) = disk.remove_dir_all(&dir.join(name)) {
                tracing::warn!(snapshot = %name, %err, "old snapshot cannot be removed");
            }
        }
    }

    /// Removes what earlier runs did not finish. Only before anything is written.
    pub(crate) fn remove_unfinished(&self) {
        let Some(dir) = &self.dir else { return };
        let disk = self.disk();
        for name in disk.list_dir(dir).unwrap_or_default() {
            if name.ends_with(".tmp") {
                let _ = disk.remove_dir_all(&dir.join(&name));
            }
        }
    }
}

fn list(damaged: &[String]) -> String {
    if damaged.is_empty() {
        String::new()
    } else {
        format!(" (damaged: {})", damaged.join("; "))
    }
}

/// Writes one snapshot, counting and summing as it goes.
pub(crate) struct SnapshotSink {
    target: Target,
    buffer: Vec<u8>,
    hasher: Hasher,
    len: u64,
}

enum Target {
    Memory(Vec<u8>),
    File {
        disk: Disk,
        temp: PathBuf,
        file: File,
    },
}

impl SnapshotSink {
    /// Syncs what was written and its header. Not visible as a snapshot until installed.
    pub(crate) fn finish(mut self, meta: SnapshotMeta) -> io::Result<SnapshotData> {
        self.flush()?;
        let header = SnapshotHeader {
            vote: None,
            meta,
            state_len: self.len,
            state_crc: self.hasher.finalize(),
        };
        match self.target {
            Target::Memory(bytes) => Ok(SnapshotData {
                header,
                body: Body::Memory(Bytes::from(bytes)),
                received: None,
            }),
            Target::File { disk, temp, file } => {
                file.sync_data()?;
                let head = disk.open(&temp.join("meta"), OpenOptions::CREATE_NEW)?;
                head.write_all_at(&header.encode(), 0)?;
                head.sync_data()?;
                disk.sync_dir(&temp)?;
                Ok(SnapshotData {
                    header,
                    body: Body::File(Arc::new(file)),
                    received: Some(temp),
                })
            }
        }
    }

    /// Gives up and removes what was written.
    pub(crate) fn abandon(self) {
        if let Target::File { disk, temp, .. } = self.target {
            let _ = disk.remove_dir_all(&temp);
        }
    }

    /// Finishes one that was announced by `header`.
    pub(crate) fn finish_received(mut self, header: &SnapshotHeader) -> io::Result<SnapshotData> {
        self.flush()?;
        if self.len != header.state_len || self.hasher.clone().finalize() != header.state_crc {
            self.abandon();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a received snapshot is damaged",
            ));
        }
        self.finish(header.meta.clone())
    }
}

impl Write for SnapshotSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_SIZE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        match &mut self.target {
            Target::Memory(bytes) => bytes.extend_from_slice(&self.buffer),
            Target::File { file, .. } => file.write_all_at(&self.buffer, self.len)?,
        }
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
