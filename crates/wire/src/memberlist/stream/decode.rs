//! Reads a stream while it arrives.

use super::feed::Feed;
use super::inflate::Inflate;
use super::message::Parser;
use super::{StreamError, StreamMessage};
use crate::keyring::Keyring;
use crate::memberlist::kind;

/// Finds the message of one direction of a connection.
///
/// A driver alternates: [`StreamDecoder::push`] what came, then [`StreamDecoder::poll`]; at the end of the connection
/// [`StreamDecoder::finish`] tells what is missing.
///
/// At most `size_max` bytes are read, decrypted, and decompressed, and what is decoded from them takes at most three times
/// that and 64 KiB; nothing is allocated because somebody claims that it will come. A message without encryption is
/// decoded and let go piece by piece, so that no more than 64 KiB of it and its longest value are held. Time is linear.
#[derive(Debug)]
pub struct StreamDecoder {
    size_max: usize,
    received: usize,
    /// What came, or what it was decrypted to.
    wire: Feed,
    stage: Stage,
    /// The wire is complete: more will not help.
    complete: bool,
    /// It came under one of our keys.
    sealed: bool,
    /// What counts in place of `size_max` once that is known.
    sealed_max: usize,
    parser: Parser,
}

#[derive(Debug)]
enum Stage {
    /// Before the first byte.
    First,
    /// After a first byte that says encrypted.
    Sealed,
    /// Before the first byte of what is not encrypted, or no longer.
    Opened,
    Plain,
    Compressed(Compressed),
    /// It has returned what there is.
    Over,
}

/// Bytes decompressed between two looks at what they mean.
const ROOM: usize = 64 * 1024;

impl StreamDecoder {
    /// A decoder that reads at most `size_max` bytes; [`super::SIZE_MAX`] is what other agents read.
    pub fn new(size_max: usize) -> StreamDecoder {
        StreamDecoder {
            size_max,
            received: 0,
            wire: Feed::default(),
            stage: Stage::First,
            complete: false,
            sealed: false,
            sealed_max: size_max,
            parser: Parser::new(size_max),
        }
    }

    /// The same, but what came under one of our keys may unpack to `sealed_max` bytes: only members make such streams.
    pub fn trusting_keys(self, sealed_max: usize) -> StreamDecoder {
        StreamDecoder { sealed_max, ..self }
    }

    /// True if what was read came under one of our keys.
    pub fn was_sealed(&self) -> bool {
        self.sealed
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len());
        // Bytes beyond the limit are an error at the next poll, and those after the message are not looked at.
        if self.received <= self.wire_max() && !self.complete && !matches!(self.stage, Stage::Over)
        {
            self.wire.push(bytes);
        }
    }

    /// True if nothing came yet.
    pub fn is_untouched(&self) -> bool {
        self.received == 0
    }

    /// The message, once it is all there; once. `None` if it needs more bytes.
    ///
    /// `keyring` is what opens encrypted streams; with `verify_incoming` it refuses those that are not.
    ///
    /// # Errors
    /// See [`StreamError`]. Afterwards there is nothing more to be had.
    pub fn poll(
        &mut self,
        keyring: Option<&Keyring>,
        verify_incoming: bool,
    ) -> Result<Option<StreamMessage>, StreamError> {
        let result = self.advance(keyring, verify_incoming);
        if !matches!(result, Ok(None)) {
            self.stage = Stage::Over;
            self.wire = Feed::default();
        }
        result
    }

    /// The connection ended, and the last poll returned `None`.
    pub fn finish(&self) -> StreamError {
        if self.is_untouched() {
            StreamError::Closed
        } else {
            StreamError::Truncated
        }
    }

    fn advance(
        &mut self,
        keyring: Option<&Keyring>,
        verify_incoming: bool,
    ) -> Result<Option<StreamMessage>, StreamError> {
        loop {
            match &mut self.stage {
                Stage::First => {
                    let Some(&first) = self.wire.bytes().first() else {
                        break;
                    };
                    self.stage = match (first, keyring) {
                        (kind::ENCRYPT, None) => return Err(StreamError::NoKeyring),
                        (kind::ENCRYPT, Some(_)) => Stage::Sealed,
                        (_, Some(_)) if verify_incoming => return Err(StreamError::NotEncrypted),
                        _ => Stage::Opened,
                    };
                }
                Stage::Sealed => {
                    let Some(opened) = self.open(keyring.ok_or(StreamError::NoKeyring)?)? else {
                        break;
                    };
                    self.wire.replace(opened);
                    self.complete = true;
                    self.sealed = true;
                    self.size_max = self.sealed_max;
                    self.parser = Parser::new(self.sealed_max);
                    self.stage = Stage::Opened;
                }
                Stage::Opened => {
                    let Some(&first) = self.wire.bytes().first() else {
                        break;
                    };
                    self.stage = if first == kind::COMPRESS {
                        self.wire.consume(1);
                        Stage::Compressed(Compressed::new(self.size_max))
                    } else {
                        Stage::Plain
                    };
                }
                Stage::Plain => {
                    if let Some(message) = self.parser.advance(&mut self.wire)? {
                        return Ok(Some(message));
                    }
                    break;
                }
                Stage::Compressed(compressed) => {
                    if let Some(message) = compressed.advance(&mut self.wire, &mut self.parser)? {
                        return Ok(Some(message));
                    }
                    break;
                }
                Stage::Over => return Ok(None),
            }
        }
        if self.complete {
            return Err(StreamError::Truncated);
        }
        if self.received > self.wire_max() {
            return Err(StreamError::Size(self.size_max));
        }
        Ok(None)
    }

    /// The limit is for what is packed: the heads around it come on top.
    fn wire_max(&self) -> usize {
        self.size_max.saturating_add(64)
    }

    fn open(&self, keyring: &Keyring) -> Result<Option<Vec<u8>>, StreamError> {
        let Some((head, rest)) = self.wire.bytes().split_first_chunk::<5>() else {
            return Ok(None);
        };
        let [_, size @ ..] = *head;
        let size = u32::from_be_bytes(size) as usize;
        if size > self.size_max {
            return Err(StreamError::Size(self.size_max));
        }
        match rest.get(..size) {
            Some(sealed) => Ok(Some(keyring.open(head, sealed)?)),
            None => Ok(None),
        }
    }
}

/// A compressed message on its way.
#[derive(Debug)]
struct Compressed {
    inflate: Box<Inflate>,
    plain: Feed,
    /// It is whole, but not what it is packed in.
    message: Option<StreamMessage>,
}

impl Compressed {
    fn new(size_max: usize) -> Compressed {
        Compressed {
            inflate: Inflate::new(size_max),
            plain: Feed::default(),
            message: None,
        }
    }

    /// Decompresses and reads in turns. The message is only given out when all around it was read: who closes a connection
    /// with bytes unread destroys the reply that is still on its way.
    fn advance(
        &mut self,
        wire: &mut Feed,
        parser: &mut Parser,
    ) -> Result<Option<StreamMessage>, StreamError> {
        loop {
            let more = self.inflate.advance(wire, &mut self.plain, ROOM)?;
            if self.message.is_some() {
                self.plain = Feed::default();
            } else {
                self.message = parser.advance(&mut self.plain)?;
            }
            if self.message.is_none() && self.inflate.plain_over() {
                return Err(StreamError::Truncated);
            }
            if self.inflate.is_over() {
                return Ok(self.message.take());
            }
            if !more {
                return Ok(None);
            }
        }
    }
}
