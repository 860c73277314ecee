//! What the replicated machine must offer. The server crate implements it.

use std::io;

use bytes::Bytes;
use tribune_types::command::Outcome;
use tribune_types::id::{LogIndex, Term};

/// One committed log entry to apply.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its position. Positions grow but skip: the machine does not see blank and membership
    /// entries.
    pub index: LogIndex,
    /// Term of the leader that proposed it.
    pub term: Term,
    /// The bytes that were proposed.
    pub payload: Bytes,
}

/// A deterministic state machine fed by the log.
pub trait Machine: Send + 'static {
    /// Applies entries in log order and pushes exactly one [`Outcome`] per entry. Called with
    /// everything that is ready; publishes once per call. Entries already contained in a restored
    /// state are never passed again.
    fn apply(&mut self, batch: &[Committed], out: &mut Vec<Outcome>);

    /// A cheap immutable view that can be written out on another thread while applying goes on.
    fn snapshot(&self) -> Box<dyn SnapshotSource>;

    /// Replaces the whole state from a stream written by [`SnapshotSource::write_to`]. Calls
    /// `progress` now and then with the number of records read so far.
    ///
    /// # Errors
    /// When the stream is not such a stream; the state is then undefined and the node stops.
    fn restore(&mut self, from: &mut dyn io::Read, progress: &mut dyn FnMut(u64))
    -> io::Result<()>;
}

/// A view of the machine at one moment.
pub trait SnapshotSource: Send {
    /// Writes the view as a stream.
    ///
    /// # Errors
    /// Passes on those of `out`.
    fn write_to(&mut self, out: &mut dyn io::Write) -> io::Result<()>;
}
