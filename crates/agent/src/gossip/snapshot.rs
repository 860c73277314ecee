//! The snapshot file of a pool: who was alive and what the clocks said, for rejoining after a restart and for not acting
//! twice on old events (spec gossip.md section 7.11).
//!
//! In: [`Record`]s of the core. Out: text lines (`tribune_wire::serf::snapshot`), appended and flushed half a second after the first that
//! waits; the whole file is written anew when it has grown too large. At the start: what the file says.
//!
//! Names come from the network. One with a line break would write lines of its own choice, so it is left out; what the
//! file does not know is learned again by gossip.
//!
//! Bound: one megabyte of lines may wait; beyond that the file is written anew from the core instead.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};
use tribune_rt::disk::{Disk, File, OpenOptions};
use tribune_rt::{CancellationToken, Env, millis};
use tribune_serf::{Record, Restored};
use tribune_wire::serf::snapshot;

/// Between the first waiting line and its flush.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Smaller files are not compacted.
const COMPACT_SIZE_MIN: u64 = 128 * 1024;
/// Expected bytes of a member's line; twice as many in the file are due for compaction.
const LINE_SIZE: u64 = 128;
/// Bytes of lines that may wait.
const PENDING_SIZE_MAX: usize = 1 << 20;
/// A larger file is not ours.
const FILE_SIZE_MAX: u64 = 256 << 20;
const FILE_MODE: u32 = 0o644;

/// Lines on their way to the file. The task that writes them is [`run`].
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pending: Mutex<Pending>,
    dirty: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    lines: String,
    /// Lines were dropped, the file must be written anew.
    rewrite: bool,
    /// The node left: the file must be on disk at once.
    left: bool,
}

impl Snapshot {
    /// Queues a record.
    pub(super) fn push(&self, record: &Record) {
        let mut pending = self.pending.lock();
        if pending.lines.len() > PENDING_SIZE_MAX {
            pending.lines.clear();
            pending.rewrite = true;
        }
        line(record, &mut pending.lines);
        pending.left |= *record == Record::Leave;
        drop(pending);
        self.dirty.notify_one();
    }

    fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending.lock())
    }
}

/// What the file holds if it is written anew, and how many members are alive.
pub(super) type Contents = Arc<dyn Fn() -> (Vec<Record>, usize) + Send + Sync>;

/// Writes what is queued until `stop`, and once more then.
pub(super) async fn run(
    env: Env,
    snapshot: Arc<Snapshot>,
    path: PathBuf,
    contents: Contents,
    stop: CancellationToken,
) {
    let mut writer = Some(Writer {
        clock: env.clone(),
        disk: env.disk(),
        path,
        open: None,
    });
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            biased;
            () = stop.cancelled() => stopping = true,
            () = snapshot.dirty.notified() => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => stopping = true,
                    () = env.sleep(FLUSH_INTERVAL) => {}
                }
            }
        }
        let pending = snapshot.take();
        if pending.lines.is_empty() && !pending.rewrite {
            continue;
        }
        let Some(mut own) = writer.take() else { return };
        let contents = Arc::clone(&contents);
        let work = env.spawn_blocking("serf-snapshot", move || {
            let result = own.write(&pending, &contents);
            (own, result)
        });
        match work.join().await {
            Ok((own, result)) => {
                if let Err(err) = result {
                    warn!(%err, file = %own.path.display(), "serf: failed to write the snapshot");
                }
                writer = Some(own);
            }
            Err(err) => {
                warn!(%err, "serf: the writer of the snapshot ended");
                return;
            }
        }
    }
}

/// The file and how long it is.
struct Writer {
    clock: Env,
    disk: Disk,
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl Writer {
    fn write(&mut self, pending: &Pending, contents: &Contents) -> io::Result<()> {
        if pending.rewrite {
            return self.rewrite(&contents().0);
        }
        let began = self.clock.mono();
        let (file, len) = match self.open.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        file.write_all_at(pending.lines.as_bytes(), len)?;
        if pending.left {
            file.sync_data()?;
        }
        let len = len + pending.lines.len() as u64;
        metrics::histogram!("serf.snapshot.appendLine")
            .record(millis(self.clock.mono().since(began)));
        self.open = Some((file, len));
        if len <= COMPACT_SIZE_MIN || pending.left {
            return Ok(());
        }
        let (records, alive) = contents();
        if len > COMPACT_SIZE_MIN.max(alive as u64 * LINE_SIZE * 2) {
            self.rewrite(&records)?;
        }
        Ok(())
    }

    fn open_file(&self) -> io::Result<(File, u64)> {
        if let Some(folder) = self.path.parent() {
            self.disk.create_dir_all(folder)?;
        }
        let options = OpenOptions {
            create: true,
            mode: FILE_MODE,
            ..OpenOptions::WRITE
        };
        let file = self.disk.open(&self.path, options)?;
        let mut len = file.len()?;
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        if last != *b"\n" {
            // The process stopped within a line: it must not swallow the next one.
            file.write_all_at(b"\n", len)?;
            len += 1;
        }
        Ok((file, len))
    }

    /// Replaces the file: a crash leaves the old one or the new one.
    fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let mut lines = String::new();
        for record in records {
            line(record, &mut lines);
        }
        let began = self.clock.mono();
        let mut temp = self.path.as_os_str().to_owned();
        temp.push(".compact");
        let temp = PathBuf::from(temp);
        let options = OpenOptions {
            create: true,
            truncate: true,
            mode: FILE_MODE,
            ..OpenOptions::WRITE
        };
        self.open = None;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        self.disk.create_dir_all(folder)?;
        let file = self.disk.open(&temp, options)?;
        file.write_all_at(lines.as_bytes(), 0)?;
        file.sync_data()?;
        self.disk.rename(&temp, &self.path)?;
        self.disk.sync_dir(folder)?;
        debug!(file = %self.path.display(), bytes = lines.len(), "serf: snapshot compacted");
        self.open = Some((file, lines.len() as u64));
        let took = self.clock.mono().since(began);
        metrics::histogram!("serf.snapshot.compact").record(millis(took));
        Ok(())
    }
}

/// Appends a record's line; none for a name that does not fit into one.
fn line(record: &Record, out: &mut String) {
    let name = match record {
        Record::Alive(name, _) | Record::NotAlive(name) => name,
        _ => "",
    };
    if !name.contains(['\n', '\r']) {
        snapshot::render(record, out);
    }
}

/// What the file of the last run says; nothing if there is none. Blocks.
///
/// # Errors
/// When a file that is there cannot be read.
pub(super) fn load(disk: &Disk, path: &Path, rejoin_after_leave: bool) -> io::Result<Restored> {
    if !disk.exists(path) {
        return Ok(Restored::default());
    }
    let len = disk.open(path, OpenOptions::READ)?.len()?;
    if len > FILE_SIZE_MAX {
        warn!(file = %path.display(), len, "serf: snapshot is too large, ignored");
        return Ok(Restored::default());
    }
    Ok(snapshot::restore(&disk.read(path)?, rejoin_after_leave))
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn a_name_cannot_write_lines_of_its_own() {
        let mut lines = String::new();
        line(
            &Record::Alive(text("a\nleave"), "10.0.0.1:1".parse().unwrap()),
            &mut lines,
        );
        line(&Record::NotAlive(text("x\rleave")), &mut lines);
        assert_eq!(lines, "");
    }
}
