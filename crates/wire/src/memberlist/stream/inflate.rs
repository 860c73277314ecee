//! The map around a compressed message, read and decompressed as it arrives.

use super::StreamError;
use super::feed::Feed;
use crate::lzw::{self, Decoder, Progress};
use crate::msgpack::{Blob, Error, Reader, Scan};

/// Takes a compress message without its type byte.
#[derive(Debug)]
pub(super) struct Inflate {
    at: At,
    /// How many fields follow the current one.
    left: u64,
    /// Position of the current field, when they come without names.
    position: Option<usize>,
    scan: Scan,
    decoder: Decoder,
    size_max: usize,
    /// The decoder has seen its end.
    plain_over: bool,
    /// There was a field `Buf`.
    found: bool,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Head,
    Name,
    Algorithm,
    Buf,
    /// So many bytes follow.
    Bytes(usize),
    /// So many numbers follow, each of which is a byte.
    Numbers(usize),
    Unknown,
    End,
}

const WHAT: &str = "compressed message";
/// Bytes of input per call of the decoder.
const CHUNK: usize = 64 * 1024;

impl Inflate {
    pub(super) fn new(size_max: usize) -> Box<Inflate> {
        Box::new(Inflate {
            at: At::Head,
            left: 0,
            position: None,
            scan: Scan::default(),
            decoder: Decoder::new(size_max),
            size_max,
            plain_over: false,
            found: false,
        })
    }

    /// No more plain bytes will come.
    pub(super) fn plain_over(&self) -> bool {
        self.plain_over
    }

    /// The whole map was taken.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Moves on until `plain` has grown by `room` bytes (true) or more input is needed (false), or the end.
    pub(super) fn advance(
        &mut self,
        wire: &mut Feed,
        plain: &mut Feed,
        room: usize,
    ) -> Result<bool, StreamError> {
        let full = plain.len() + room;
        loop {
            if plain.len() >= full {
                return Ok(true);
            }
            let moved = match self.at {
                At::Head => self.head(wire)?,
                At::Name => self.name(wire)?,
                At::Algorithm => self.algorithm(wire)?,
                At::Buf => self.buf(wire)?,
                At::Bytes(left) => self.bytes(left, wire, plain, full)?,
                At::Numbers(left) => self.numbers(left, wire, plain)?,
                At::Unknown => self.unknown(wire)?,
                At::End => false,
            };
            if !moved {
                return Ok(false);
            }
        }
    }

    fn head(&mut self, wire: &mut Feed) -> Result<bool, StreamError> {
        let (count, size) = match wire.bytes() {
            [] => return Ok(false),
            [marker @ 0x80..=0x8f, ..] => (u64::from(marker & 0x0f), 1),
            [marker @ 0x90..=0x9f, ..] => (u64::from(marker & 0x0f), 1),
            [0xc0, ..] => (0, 1),
            [0xdc | 0xde, a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 3),
            [0xdd | 0xdf, a, b, c, d, ..] => (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 5),
            [0xdc..=0xdf, ..] => return Ok(false),
            _ => {
                let (expected, found) = ("map", "something else");
                return Err(StreamError::body(WHAT)(Error::Kind { expected, found }));
            }
        };
        self.position = matches!(wire.bytes()[0], 0x90..=0x9f | 0xdc | 0xdd).then_some(0);
        wire.consume(size);
        self.left = count;
        self.next_field()?;
        Ok(true)
    }

    /// What the current field is followed by.
    fn next_field(&mut self) -> Result<(), StreamError> {
        if self.left == 0 {
            self.at = At::End;
            // The original takes a missing buffer as an empty one, which has no end code.
            return if self.found {
                Ok(())
            } else {
                Err(lzw::Error::End.into())
            };
        }
        self.left -= 1;
        self.at = match &mut self.position {
            None => At::Name,
            Some(position) => {
                *position += 1;
                match *position {
                    1 => At::Algorithm,
                    2 => At::Buf,
                    _ => At::Unknown,
                }
            }
        };
        Ok(())
    }

    /// A value that is all there.
    fn value<'a>(&mut self, wire: &'a Feed) -> Result<Option<&'a [u8]>, StreamError> {
        let len = self
            .scan
            .advance(wire.bytes())
            .map_err(StreamError::body(WHAT))?;
        Ok(len.map(|len| {
            self.scan = Scan::default();
            &wire.bytes()[..len]
        }))
    }

    fn name(&mut self, wire: &mut Feed) -> Result<bool, StreamError> {
        let Some(value) = self.value(wire)? else {
            return Ok(false);
        };
        let size = value.len();
        self.at = match &*Reader::new(value).str().map_err(StreamError::body(WHAT))? {
            "Algo" => At::Algorithm,
            // Twice would be two messages.
            "Buf" if !self.found => At::Buf,
            _ => At::Unknown,
        };
        wire.consume(size);
        Ok(true)
    }

    fn algorithm(&mut self, wire: &mut Feed) -> Result<bool, StreamError> {
        let Some(value) = self.value(wire)? else {
            return Ok(false);
        };
        let size = value.len();
        let algorithm = Reader::new(value)
            .uint::<u8>()
            .map_err(StreamError::body(WHAT))?;
        if algorithm != 0 {
            return Err(StreamError::Algorithm(u64::from(algorithm)));
        }
        wire.consume(size);
        self.next_field()?;
        Ok(true)
    }

    fn unknown(&mut self, wire: &mut Feed) -> Result<bool, StreamError> {
        let Some(size) = self.value(wire)?.map(<[u8]>::len) else {
            return Ok(false);
        };
        wire.consume(size);
        self.next_field()?;
        Ok(true)
    }

    fn buf(&mut self, wire: &mut Feed) -> Result<bool, StreamError> {
        let Some((blob, size)) = Blob::head(wire.bytes()).map_err(StreamError::body(WHAT))? else {
            return Ok(false);
        };
        wire.consume(size);
        self.found = true;
        self.at = match blob {
            Blob::Nil => At::Bytes(0),
            Blob::Bytes(len) | Blob::Numbers(len) if len > self.size_max => {
                return Err(StreamError::Size(self.size_max));
            }
            Blob::Bytes(len) => At::Bytes(len),
            Blob::Numbers(len) => At::Numbers(len),
        };
        Ok(true)
    }

    fn bytes(
        &mut self,
        left: usize,
        wire: &mut Feed,
        plain: &mut Feed,
        full: usize,
    ) -> Result<bool, StreamError> {
        if left == 0 {
            return self.buf_over();
        }
        let at_hand = left.min(wire.len()).min(CHUNK);
        if at_hand == 0 {
            return Ok(false);
        }
        let mut used = at_hand;
        if !self.plain_over {
            let mut input = &wire.bytes()[..at_hand];
            let room = full - plain.len();
            let progress = self.decoder.decode(&mut input, plain.tail(), room)?;
            self.plain_over = progress == Progress::End;
            // What follows the end code is passed over.
            if !self.plain_over {
                used -= input.len();
            }
        }
        wire.consume(used);
        self.at = At::Bytes(left - used);
        Ok(true)
    }

    fn numbers(
        &mut self,
        left: usize,
        wire: &mut Feed,
        plain: &mut Feed,
    ) -> Result<bool, StreamError> {
        if left == 0 {
            return self.buf_over();
        }
        let Some(value) = self.value(wire)? else {
            return Ok(false);
        };
        let size = value.len();
        let byte = Reader::new(value)
            .uint::<u8>()
            .map_err(StreamError::body(WHAT))?;
        if !self.plain_over {
            let progress = self
                .decoder
                .decode(&mut &[byte][..], plain.tail(), usize::MAX)?;
            self.plain_over = progress == Progress::End;
        }
        wire.consume(size);
        self.at = At::Numbers(left - 1);
        Ok(true)
    }

    fn buf_over(&mut self) -> Result<bool, StreamError> {
        if !self.plain_over {
            return Err(lzw::Error::End.into());
        }
        self.next_field()?;
        Ok(true)
    }
}
