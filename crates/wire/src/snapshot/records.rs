//! The stream of state records, `state.bin` (spec rpc.md 10.3).
//!
//! A map with the highest index, then records to the end: a type byte and a msgpack value, no
//! lengths, no terminator. Records of areas this version does not interpret are carried as they
//! are ([`Record::Opaque`]) and written where the original writes them, so nothing of an archive
//! is lost by passing through.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use tribune_types::id::Index;
use tribune_types::kv::KvEntry;
use tribune_types::snapshot::Record;

use crate::msgpack::{self, from_slice, to_writer};
use crate::records::{
    AutopilotConfig, Coordinate, DirEntry, IndexEntry, PreparedQuery, RecordError, RegisterRequest,
    Session, mirror, put_dir_entry,
};

const REGISTER: u8 = 0;
const KV: u8 = 2;
const SESSION: u8 = 3;
const TOMBSTONE: u8 = 5;
const COORDINATES: u8 = 6;
const PREPARED_QUERY: u8 = 7;
const AUTOPILOT: u8 = 9;
const INDEX: u8 = 16;
const CHUNKING: u8 = 29;
/// What the original always writes there, outside of a chunked write.
const NO_CHUNKS: &[u8] = b"\x81\xa8ChunkMap\x80";

/// Every type the original writes or reads, in the order of writing.
const ORDER: [u8; 22] = [
    REGISTER,
    COORDINATES,
    SESSION,
    4,
    11,
    17,
    19,
    23,
    25,
    27,
    KV,
    TOMBSTONE,
    PREPARED_QUERY,
    AUTOPILOT,
    12,
    13,
    14,
    15,
    22,
    30,
    INDEX,
    CHUNKING,
];

/// Largest record that is read.
const RECORD_SIZE_MAX: usize = 256 << 20;

/// Bytes read or written at once.
const CHUNK_SIZE: usize = 64 * 1024;

mirror! {
    /// What the stream begins with.
    Header {
        "LastIndex" last_index: u64,
    }
}

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Reading failed.
    #[error("failed to read snapshot records: {0}")]
    Io(#[from] io::Error),
    /// The stream stops inside a record.
    #[error("snapshot records end early, in the record at byte {offset}")]
    Truncated {
        /// Where the record begins.
        offset: u64,
    },
    /// A record is malformed.
    #[error("snapshot record of type {kind} at byte {offset}: {source}")]
    Malformed {
        /// Its type.
        kind: u8,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        source: msgpack::Error,
    },
    /// A record holds something impossible.
    #[error("snapshot record of type {kind} at byte {offset}: {source}")]
    Invalid {
        /// Its type.
        kind: u8,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        source: RecordError,
    },
    /// A record of a type nobody writes.
    #[error("unrecognized snapshot record type {kind} at byte {offset}")]
    Unknown {
        /// The type.
        kind: u8,
        /// Where it begins.
        offset: u64,
    },
    /// A record beyond any sensible size.
    #[error("snapshot record at byte {offset} is larger than {RECORD_SIZE_MAX} bytes")]
    TooLarge {
        /// Where it begins.
        offset: u64,
    },
}

/// Writes a stream.
///
/// Records are written in the order given, except that opaque ones wait until their place in the
/// original's order has come; whoever exports a state may hand them in at any point.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    buffer: Vec<u8>,
    waiting: VecDeque<(usize, u8, Box<[u8]>)>,
    chunking: bool,
    size: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a stream; `last` is the highest index in the state.
    pub fn new(out: W, last: Index) -> io::Result<Self> {
        let mut writer = Writer {
            out,
            buffer: Vec::with_capacity(CHUNK_SIZE),
            waiting: VecDeque::new(),
            chunking: false,
            size: 0,
        };
        put(&mut writer.buffer, &Header { last_index: last.0 })?;
        Ok(writer)
    }

    /// Appends a record.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        if let Record::Opaque { kind, body } = record {
            let rank = rank(*kind);
            let at = self
                .waiting
                .partition_point(|(waiting, ..)| *waiting <= rank);
            self.waiting.insert(at, (rank, *kind, body.clone()));
            return Ok(());
        }
        self.release(rank(kind_of(record)))?;
        encode(record, &mut self.buffer)?;
        self.flush_if_full()
    }

    /// Ends the stream and returns the writer below with the size of what was written.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.release(usize::MAX)?;
        if !self.chunking {
            self.buffer.push(CHUNKING);
            self.buffer.extend_from_slice(NO_CHUNKS);
        }
        self.flush_buffer()?;
        self.out.flush()?;
        Ok((self.out, self.size))
    }

    fn release(&mut self, before: usize) -> io::Result<()> {
        while self
            .waiting
            .front()
            .is_some_and(|(rank, ..)| *rank < before)
        {
            if let Some((_, kind, body)) = self.waiting.pop_front() {
                self.chunking |= kind == CHUNKING;
                self.buffer.push(kind);
                self.buffer.extend_from_slice(&body);
                self.flush_if_full()?;
            }
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < CHUNK_SIZE {
            Ok(())
        } else {
            self.flush_buffer()
        }
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// True for the record that ends every stream and says nothing: it is written anew each time, and is no part of a state.
pub fn says_nothing(record: &Record) -> bool {
    matches!(record, Record::Opaque { kind: CHUNKING, body } if &**body == NO_CHUNKS)
}

fn rank(kind: u8) -> usize {
    // What nobody knows goes before the indexes, which must come after all they speak of.
    let unknown = ORDER.len() - 2;
    ORDER
        .iter()
        .position(|known| *known == kind)
        .map_or(2 * unknown - 1, |at| 2 * at)
}

fn kind_of(record: &Record) -> u8 {
    match record {
        Record::Register { .. } => REGISTER,
        Record::Coordinates(_) => COORDINATES,
        Record::Session(_) => SESSION,
        Record::Kv(_) => KV,
        Record::Tombstone { .. } => TOMBSTONE,
        Record::PreparedQuery(_) => PREPARED_QUERY,
        Record::Autopilot(_) => AUTOPILOT,
        Record::IndexEntry { .. } => INDEX,
        Record::Opaque { kind, .. } => *kind,
    }
}

/// Appends a record, type byte and value.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    out.push(kind_of(record));
    match record {
        Record::Register {
            register,
            create,
            modify,
        } => {
            let mut request = RegisterRequest::from(&**register);
            request.create_index = create.0;
            request.modify_index = modify.0;
            if request
                .checks
                .as_ref()
                .is_some_and(|checks| checks.len() == 1)
            {
                request.check = request.checks.take().and_then(|mut checks| checks.pop());
            }
            put(out, &request)
        }
        Record::Coordinates(entries) => {
            let entries: Vec<Coordinate<'_>> = entries.iter().map(Into::into).collect();
            put(out, &entries)
        }
        Record::Session(session) => put(out, &Session::from(&**session)),
        Record::Kv(entry) => {
            put_dir_entry(out, entry, true);
            Ok(())
        }
        Record::Tombstone { key, index } => {
            put_dir_entry(
                out,
                &KvEntry {
                    key: key.clone(),
                    modify: *index,
                    ..KvEntry::default()
                },
                true,
            );
            Ok(())
        }
        Record::PreparedQuery(query) => put(out, &PreparedQuery::from(&**query)),
        Record::Autopilot(config) => put(out, &AutopilotConfig::from(config)),
        Record::IndexEntry { name, value } => put(
            out,
            &IndexEntry {
                key: name.into(),
                value: value.0,
            },
        ),
        Record::Opaque { body, .. } => {
            out.extend_from_slice(body);
            Ok(())
        }
    }
}

fn put<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) -> io::Result<()> {
    to_writer(out, value).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Reads a stream. Holds one record and a read-ahead of fixed size.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: R,
    buffer: Vec<u8>,
    /// Where unread bytes begin in the buffer.
    start: usize,
    /// Position of that place in the stream.
    offset: u64,
    ended: bool,
    last: Index,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a stream.
    pub fn new(input: R) -> Result<Self, StreamError> {
        let mut reader = Reader {
            input,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            ended: false,
            last: Index(0),
        };
        let len = reader.value(0)?;
        let header: Result<Header, _> = from_slice(&reader.buffer[..len]);
        reader.last = Index(
            header
                .map_err(|source| StreamError::Malformed {
                    kind: 0xff,
                    offset: 0,
                    source,
                })?
                .last_index,
        );
        reader.consume(len);
        Ok(reader)
    }

    /// The highest index in the state.
    pub fn last_index(&self) -> Index {
        self.last
    }

    /// The next record; `None` at the end.
    pub fn next_record(&mut self) -> Result<Option<Record>, StreamError> {
        if self.start == self.buffer.len() && !self.fill(1)? {
            return Ok(None);
        }
        let (kind, offset) = (self.buffer[self.start], self.offset);
        if !ORDER.contains(&kind) {
            return Err(StreamError::Unknown { kind, offset });
        }
        let len = self.value(1)?;
        let record = decode(kind, &self.buffer[self.start + 1..self.start + len]);
        let record = record.map_err(|fault| match fault {
            Fault::Malformed(source) => StreamError::Malformed {
                kind,
                offset,
                source,
            },
            Fault::Invalid(source) => StreamError::Invalid {
                kind,
                offset,
                source,
            },
        })?;
        self.consume(len);
        Ok(Some(record))
    }

    /// Makes sure that a whole value stands in the buffer, `skip` bytes after the unread ones
    /// begin. Returns the length of both together.
    fn value(&mut self, skip: usize) -> Result<usize, StreamError> {
        let mut want = CHUNK_SIZE;
        loop {
            let unread = &self.buffer[self.start..];
            let malformed = |source| StreamError::Malformed {
                kind: if skip > 0 { unread[0] } else { 0xff },
                offset: self.offset,
                source,
            };
            if let Some(value) = unread.get(skip..)
                && let Some(len) = msgpack::value_len(value).map_err(malformed)?
            {
                return Ok(skip + len);
            }
            if unread.len() > RECORD_SIZE_MAX {
                return Err(StreamError::TooLarge {
                    offset: self.offset,
                });
            }
            if !self.fill(want)? {
                return Err(StreamError::Truncated {
                    offset: self.offset,
                });
            }
            // Double what is at hand, so that a large record is not measured over and over.
            want = self.buffer.len() - self.start;
        }
    }

    /// Reads until `more` further bytes are there or the input ends; false if nothing came.
    fn fill(&mut self, more: usize) -> Result<bool, StreamError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let before = self.buffer.len();
        let want = more.max(CHUNK_SIZE);
        while !self.ended && self.buffer.len() - before < more {
            let left = (want - (self.buffer.len() - before)) as u64;
            match self.input.by_ref().take(left).read_to_end(&mut self.buffer) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(e) => return Err(StreamError::Io(e)),
            }
        }
        Ok(self.buffer.len() > before)
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, StreamError>;

    /// After an error the same error comes again: stop at the first.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

enum Fault {
    Malformed(msgpack::Error),
    Invalid(RecordError),
}

impl From<msgpack::Error> for Fault {
    fn from(e: msgpack::Error) -> Self {
        Fault::Malformed(e)
    }
}

impl From<RecordError> for Fault {
    fn from(e: RecordError) -> Self {
        Fault::Invalid(e)
    }
}

fn decode(kind: u8, body: &[u8]) -> Result<Record, Fault> {
    Ok(match kind {
        REGISTER => {
            let request: RegisterRequest<'_> = from_slice(body)?;
            let (create, modify) = (Index(request.create_index), Index(request.modify_index));
            Record::Register {
                register: Box::new(request.try_into()?),
                create,
                modify,
            }
        }
        COORDINATES => {
            let entries: Vec<Coordinate<'_>> = from_slice(body)?;
            let entries: Result<_, RecordError> =
                entries.into_iter().map(TryInto::try_into).collect();
            Record::Coordinates(entries?)
        }
        SESSION => Record::Session(Box::new(from_slice::<Session<'_>>(body)?.try_into()?)),
        KV => Record::Kv(from_slice::<DirEntry<'_>>(body)?.try_into()?),
        TOMBSTONE => {
            let entry: DirEntry<'_> = from_slice(body)?;
            Record::Tombstone {
                key: entry.key.0.into(),
                index: Index(entry.modify_index),
            }
        }
        PREPARED_QUERY => {
            Record::PreparedQuery(Box::new(from_slice::<PreparedQuery<'_>>(body)?.into()))
        }
        AUTOPILOT => Record::Autopilot(from_slice::<AutopilotConfig<'_>>(body)?.into()),
        INDEX => {
            let entry: IndexEntry<'_> = from_slice(body)?;
            Record::IndexEntry {
                name: entry.key.to_text(),
                value: Index(entry.value),
            }
        }
        _ => Record::Opaque {
            kind,
            body: body.into(),
        },
    })
}
