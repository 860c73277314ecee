//! The decoder.

use super::{CLEAR, CODE_MAX, END, WIDTH_MAX, WIDTH_MIN};

/// What is wrong with compressed data. What was written before it may be used or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A code that stands for nothing.
    #[error("compressed data has an invalid code")]
    Code,
    /// No end code.
    #[error("compressed data ends early")]
    End,
    /// More output than allowed.
    #[error("compressed data expands to more than {0} bytes")]
    Size(usize),
}

/// Why [`Decoder::decode`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has used the input and needs more.
    Input,
    /// It has written what was asked for, and may be able to write more.
    Output,
    /// It has seen the end code. What follows means nothing.
    End,
}

/// Decompresses input that comes in pieces.
pub struct Decoder {
    /// Strings by code: length without the last byte (12 bits), prefix code (12 bits), last byte (8 bits).
    table: [u32; CODE_MAX as usize + 1],
    bits: u64,
    bit_count: u32,
    width: u32,
    /// The code that the next string gets.
    hi: u16,
    /// The last code and the first byte of its string.
    last: Option<(u16, u8)>,
    size: usize,
    size_max: usize,
    ended: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("size", &self.size)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder that writes at most `size_max` bytes. Takes 16 KiB.
    pub fn new(size_max: usize) -> Decoder {
        Decoder {
            table: [0; CODE_MAX as usize + 1],
            bits: 0,
            bit_count: 0,
            width: WIDTH_MIN,
            hi: END,
            last: None,
            size: 0,
            size_max,
            ended: false,
        }
    }

    /// Takes from the front of `input` and appends to `out` until one of both is used up: the input, or room for
    /// `out_room` bytes (which a last string of up to 4 KiB may exceed).
    ///
    /// # Errors
    /// Invalid data, or more of it than allowed. The decoder is of no use afterwards.
    pub fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        out_room: usize,
    ) -> Result<Progress, Error> {
        let full = out.len().saturating_add(out_room);
        loop {
            if self.ended {
                return Ok(Progress::End);
            }
            if out.len() >= full {
                return Ok(Progress::Output);
            }
            while self.bit_count < self.width {
                let Some((&byte, rest)) = input.split_first() else {
                    return Ok(Progress::Input);
                };
                *input = rest;
                self.bits |= u64::from(byte) << self.bit_count;
                self.bit_count += 8;
            }
            let code = (self.bits & ((1 << self.width) - 1)) as u16;
            self.bits >>= self.width;
            self.bit_count -= self.width;
            self.take(code, out)?;
        }
    }

    fn take(&mut self, code: u16, out: &mut Vec<u8>) -> Result<(), Error> {
        match code {
            CLEAR => {
                self.width = WIDTH_MIN;
                self.hi = END;
                self.last = None;
                return Ok(());
            }
            END => {
                self.ended = true;
                return Ok(());
            }
            _ => {}
        }
        let first = match self.last {
            // The string that this very code completes: the last one and its first byte.
            Some((last, first)) if code == self.hi => {
                self.expand(last, out)?;
                self.grow(1)?;
                out.push(first);
                first
            }
            _ if code < CLEAR || code < self.hi || self.is_full() => self.expand(code, out)?,
            _ => return Err(Error::Code),
        };
        if let Some((last, _)) = self.last {
            let length = if last < CLEAR {
                1
            } else {
                (self.table[usize::from(last)] >> 20) + 1
            };
            self.table[usize::from(self.hi)] =
                length << 20 | u32::from(last) << 8 | u32::from(first);
        }
        self.last = Some((code, first));
        if u32::from(self.hi) + 1 < 1 << self.width {
            self.hi += 1;
        } else if self.width < WIDTH_MAX {
            self.hi += 1;
            self.width += 1;
        } else {
            // The table is full: it stays as it is until a clear code.
            self.last = None;
        }
        Ok(())
    }

    /// True when the last code was given a string, so that there is none for the next.
    fn is_full(&self) -> bool {
        self.hi == CODE_MAX && self.last.is_none()
    }

    /// Appends the string of a code that has one; its first byte.
    #[inline]
    fn expand(&mut self, code: u16, out: &mut Vec<u8>) -> Result<u8, Error> {
        if code < CLEAR {
            self.grow(1)?;
            out.push(code as u8);
            return Ok(code as u8);
        }
        let mut code = code;
        let mut left = (self.table[usize::from(code)] >> 20) as usize;
        self.grow(left + 1)?;
        let start = out.len();
        out.resize(start + left + 1, 0);
        let string = &mut out[start..];
        while code >= CLEAR {
            let entry = self.table[usize::from(code)];
            string[left] = entry as u8;
            left = left.saturating_sub(1);
            code = (entry >> 8) as u16 & CODE_MAX;
        }
        string[0] = code as u8;
        Ok(code as u8)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.size += bytes;
        if self.size > self.size_max {
            Err(Error::Size(self.size_max))
        } else {
            Ok(())
        }
    }
}

/// Decompresses all of `input` into at most `size_max` bytes.
///
/// # Errors
/// As [`Decoder::decode`]; also if there is no end code.
pub fn decompress(input: &[u8], size_max: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = input;
    match Decoder::new(size_max).decode(&mut rest, out, usize::MAX)? {
        Progress::End => Ok(()),
        Progress::Input | Progress::Output => Err(Error::End),
    }
}
