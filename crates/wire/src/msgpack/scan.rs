//! Reads heads: the one place that knows the markers. [`Scan`] measures whole values without
//! recursion, so any nesting is fine.

use super::Error;

/// A value's head; strings and the like come with their bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    /// From the unsigned forms.
    Uint(u64),
    /// From the signed forms and the one-byte forms.
    Int(i64),
    Float(f64),
    /// Raw, or the newer str8.
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Array(usize),
    Map(usize),
    Ext,
}

impl Head<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Head::Nil => "nil",
            Head::Bool(_) => "bool",
            Head::Uint(_) | Head::Int(_) => "integer",
            Head::Float(_) => "float",
            Head::Str(_) => "string",
            Head::Bin(_) => "bytes",
            Head::Array(_) => "array",
            Head::Map(_) => "map",
            Head::Ext => "extension",
        }
    }
}

/// Takes a head off `rest`. Lengths of arrays and maps are checked against the bytes that follow.
#[inline]
pub(super) fn head<'a>(rest: &mut &'a [u8]) -> Result<Head<'a>, Error> {
    let head = unchecked_head(rest)?;
    // Every element takes a byte at least, so a count beyond the bytes at hand is a lie.
    match head {
        Head::Array(len) if len > rest.len() => Err(Error::End),
        Head::Map(len) if len > rest.len() / 2 => Err(Error::End),
        _ => Ok(head),
    }
}

/// As [`head`], for bytes of which more may follow: lengths of arrays and maps are as claimed. When the head is not all
/// there, [`Error::End`] leaves `rest` anywhere.
pub(super) fn unchecked_head<'a>(rest: &mut &'a [u8]) -> Result<Head<'a>, Error> {
    let marker = take::<1>(rest)?[0];
    Ok(match marker {
        0x00..=0x7f => Head::Int(i64::from(marker)),
        0x80..=0x8f => Head::Map(usize::from(marker & 0x0f)),
        0x90..=0x9f => Head::Array(usize::from(marker & 0x0f)),
        0xa0..=0xbf => Head::Str(slice(rest, u32::from(marker & 0x1f))?),
        0xc0 => Head::Nil,
        0xc1 => return Err(Error::Reserved),
        0xc2 => Head::Bool(false),
        0xc3 => Head::Bool(true),
        0xc4 => Head::Bin(sized(rest, 1)?),
        0xc5 => Head::Bin(sized(rest, 2)?),
        0xc6 => Head::Bin(sized(rest, 4)?),
        0xc7..=0xc9 => {
            let len = size(rest, 1 << (marker - 0xc7))?;
            take::<1>(rest)?;
            slice(rest, len)?;
            Head::Ext
        }
        0xca => Head::Float(f64::from(f32::from_be_bytes(take(rest)?))),
        0xcb => Head::Float(f64::from_be_bytes(take(rest)?)),
        0xcc => Head::Uint(u64::from(take::<1>(rest)?[0])),
        0xcd => Head::Uint(u64::from(u16::from_be_bytes(take(rest)?))),
        0xce => Head::Uint(u64::from(u32::from_be_bytes(take(rest)?))),
        0xcf => Head::Uint(u64::from_be_bytes(take(rest)?)),
        0xd0 => Head::Int(i64::from(i8::from_be_bytes(take(rest)?))),
        0xd1 => Head::Int(i64::from(i16::from_be_bytes(take(rest)?))),
        0xd2 => Head::Int(i64::from(i32::from_be_bytes(take(rest)?))),
        0xd3 => Head::Int(i64::from_be_bytes(take(rest)?)),
        0xd4..=0xd8 => {
            slice(rest, 1 + (1 << (marker - 0xd4)))?;
            Head::Ext
        }
        0xd9 => Head::Str(sized(rest, 1)?),
        0xda => Head::Str(sized(rest, 2)?),
        0xdb => Head::Str(sized(rest, 4)?),
        0xdc | 0xdd => {
            let len = size(rest, if marker == 0xdc { 2 } else { 4 })?;
            Head::Array(len as usize)
        }
        0xde | 0xdf => {
            let len = size(rest, if marker == 0xde { 2 } else { 4 })?;
            Head::Map(len as usize)
        }
        0xe0..=0xff => Head::Int(i64::from(marker as i8)),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(Error::End)?;
    *rest = after;
    Ok(*bytes)
}

fn slice<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8], Error> {
    let (bytes, after) = rest.split_at_checked(len as usize).ok_or(Error::End)?;
    *rest = after;
    Ok(bytes)
}

fn size(rest: &mut &[u8], width: u32) -> Result<u32, Error> {
    Ok(match width {
        1 => u32::from(take::<1>(rest)?[0]),
        2 => u32::from(u16::from_be_bytes(take(rest)?)),
        _ => u32::from_be_bytes(take(rest)?),
    })
}

fn sized<'a>(rest: &mut &'a [u8], width: u32) -> Result<&'a [u8], Error> {
    let len = size(rest, width)?;
    slice(rest, len)
}

/// The size of the value at the start of `bytes`; `None` when it goes on past their end.
pub fn value_len(bytes: &[u8]) -> Result<Option<usize>, Error> {
    Scan::default().advance(bytes)
}

/// Measures one value that arrives in pieces: each call goes on where the last one stopped, so that the cost of a
/// value is linear in its size however it is cut.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Bytes of complete heads.
    at: usize,
    /// Values that are still to come.
    pending: u64,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan { at: 0, pending: 1 }
    }
}

impl Scan {
    /// Scans on. `bytes` begins where the value begins, every time, and has only grown since the last call. The size of
    /// the value once it is complete.
    ///
    /// # Errors
    /// The bytes are no value; more of them will not help.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let mut rest = bytes.get(self.at..).ok_or(Error::End)?;
        while self.pending > 0 {
            let inside = match unchecked_head(&mut rest) {
                Ok(Head::Array(len)) => len as u64,
                Ok(Head::Map(len)) => 2 * len as u64,
                Ok(_) => 0,
                Err(Error::End) => return Ok(None),
                Err(e) => return Err(e),
            };
            self.pending += inside;
            self.pending -= 1;
            self.at = bytes.len() - rest.len();
            if self.pending > rest.len() as u64 {
                return Ok(None);
            }
        }
        Ok(Some(self.at))
    }

    /// The value has at least this many bytes.
    pub fn least(&self) -> usize {
        self.at
            .saturating_add(usize::try_from(self.pending).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_pieces_has_the_size_of_the_whole() {
        // {"a": [1, "xyz", {}], "b": 300}, then something else
        let bytes = [
            0x82, 0xa1, b'a', 0x93, 1, 0xa3, b'x', b'y', b'z', 0x80, 0xa1, b'b', 0xcd, 1, 44, 0x05,
        ];
        assert_eq!(value_len(&bytes), Ok(Some(15)));
        for step in 1..bytes.len() {
            let mut scan = Scan::default();
            let mut end = 0;
            let found = loop {
                end = (end + step).min(bytes.len());
                if let Some(len) = scan.advance(&bytes[..end]).unwrap() {
                    break len;
                }
                assert!(end < 15, "complete at 15 in steps of {step}");
                assert!(scan.least() <= 15);
            };
            assert_eq!(found, 15, "in steps of {step}");
        }
        let mut scan = Scan::default();
        assert_eq!(scan.advance(&[0x91]), Ok(None));
        assert_eq!(scan.advance(&[0x91, 0xc1]), Err(Error::Reserved));
    }
}
