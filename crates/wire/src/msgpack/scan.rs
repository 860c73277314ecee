//! Reads heads: the one place that knows the markers. [`value_len`] measures whole values without
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
pub(super) fn head<'a>(rest: &mut &'a [u8]) -> Result<Head<'a>, Error> {
    let marker = take::<1>(rest)?[0];
    Ok(match marker {
        0x00..=0x7f => Head::Int(i64::from(marker)),
        0x80..=0x8f => Head::Map(counted(rest, u32::from(marker & 0x0f), 2)?),
        0x90..=0x9f => Head::Array(counted(rest, u32::from(marker & 0x0f), 1)?),
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
            Head::Array(counted(rest, len, 1)?)
        }
        0xde | 0xdf => {
            let len = size(rest, if marker == 0xde { 2 } else { 4 })?;
            Head::Map(counted(rest, len, 2)?)
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

/// Every element takes a byte at least, so a count beyond the bytes at hand is a lie.
fn counted(rest: &[u8], len: u32, bytes_each: u64) -> Result<usize, Error> {
    if u64::from(len) * bytes_each > rest.len() as u64 {
        return Err(Error::End);
    }
    Ok(len as usize)
}

/// The size of the value at the start of `bytes`; `None` when it goes on past their end.
pub fn value_len(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let mut rest = bytes;
    let mut pending: u64 = 1;
    while pending > 0 {
        match head(&mut rest) {
            Ok(Head::Array(len)) => pending += len as u64,
            Ok(Head::Map(len)) => pending += 2 * len as u64,
            Ok(_) => {}
            Err(Error::End) => return Ok(None),
            Err(e) => return Err(e),
        }
        pending -= 1;
        if pending > rest.len() as u64 {
            return Ok(None);
        }
    }
    Ok(Some(bytes.len() - rest.len()))
}
