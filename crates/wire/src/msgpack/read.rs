//! Reads hot values by hand: messages of the gossip layer, by the thousands per second, without serde.
//!
//! In: bytes. Out: numbers, texts and bytes, borrowed until the caller keeps them. The rules are those of the original
//! reader (gossip.md section 2): fields in any order or by position, unknown ones skipped, missing ones and nil are zero,
//! any form of integer that fits, bytes as raw, bin or a list of numbers, texts never as bin, anything may follow.
//!
//! Nothing is allocated by claimed lengths, and nothing recurses.

use std::borrow::Cow;
use std::sync::Arc;

use tribune_types::text::{Text, text};

use super::Error;
use super::scan::{Head, head, unchecked_head, value_len};

/// Takes values off the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been taken.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn bool(&mut self) -> Result<bool, Error> {
        match head(&mut self.rest)? {
            Head::Bool(v) => Ok(v),
            Head::Nil => Ok(false),
            other => Err(kind("bool", &other)),
        }
    }

    /// A number without a sign that fits into `T`.
    #[inline]
    pub(crate) fn uint<T: TryFrom<u64>>(&mut self) -> Result<T, Error> {
        let value = match head(&mut self.rest)? {
            Head::Uint(v) => v,
            Head::Int(v) => u64::try_from(v).map_err(|_| Error::Range)?,
            Head::Nil => 0,
            other => return Err(kind("integer", &other)),
        };
        T::try_from(value).map_err(|_| Error::Range)
    }

    /// A number with a sign.
    pub(crate) fn int(&mut self) -> Result<i64, Error> {
        match head(&mut self.rest)? {
            Head::Uint(v) => i64::try_from(v).map_err(|_| Error::Range),
            Head::Int(v) => Ok(v),
            Head::Nil => Ok(0),
            other => Err(kind("integer", &other)),
        }
    }

    /// A float; the original takes integers as well.
    pub(crate) fn float(&mut self) -> Result<f64, Error> {
        match head(&mut self.rest)? {
            Head::Float(v) => Ok(v),
            Head::Uint(v) => Ok(v as f64),
            Head::Int(v) => Ok(v as f64),
            Head::Nil => Ok(0.0),
            other => Err(kind("float", &other)),
        }
    }

    /// A text. What is not UTF-8 is shown with replacement characters: one odd name must not hide a message.
    #[inline]
    pub(crate) fn str(&mut self) -> Result<Cow<'a, str>, Error> {
        match head(&mut self.rest)? {
            Head::Str(bytes) => Ok(String::from_utf8_lossy(bytes)),
            Head::Nil => Ok(Cow::Borrowed("")),
            other => Err(kind("string", &other)),
        }
    }

    /// A text to keep.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text, Error> {
        Ok(text(&self.str()?))
    }

    /// Bytes; `None` is nil.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>, Error> {
        match head(&mut self.rest)? {
            Head::Str(bytes) | Head::Bin(bytes) => Ok(Some(Cow::Borrowed(bytes))),
            Head::Nil => Ok(None),
            Head::Array(len) => (0..len)
                .map(|_| self.uint())
                .collect::<Result<_, _>>()
                .map(|v| Some(Cow::Owned(v))),
            other => Err(kind("bytes", &other)),
        }
    }

    /// Bytes to keep; nil is empty.
    #[inline]
    pub(crate) fn blob(&mut self) -> Result<Arc<[u8]>, Error> {
        Ok(self.bytes()?.map(Arc::from).unwrap_or_default())
    }

    /// A list, whose elements `each` must take. Returns their number; nil has none.
    pub(crate) fn list<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<usize, E> {
        match head(&mut self.rest)? {
            Head::Nil => Ok(0),
            Head::Array(len) => {
                for at in 0..len {
                    each(at, self)?;
                }
                Ok(len)
            }
            other => Err(kind("array", &other).into()),
        }
    }

    /// A map with keys that are data; `each` must take the value. Nil has no pairs. A map that is cut is an error after the
    /// pairs that are there.
    pub(crate) fn pairs<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        match unchecked_head(&mut self.rest)? {
            Head::Nil => Ok(()),
            Head::Map(len) => {
                for _ in 0..len {
                    let key = self.str()?;
                    each(key, self)?;
                }
                Ok(())
            }
            other => Err(kind("map", &other).into()),
        }
    }

    /// A struct. `names` are its fields in declared order; `each` is told the position of a field there and must take its
    /// value. Fields that are not named are skipped, and for those that are missing `each` is not called.
    #[inline]
    pub(crate) fn fields<const N: usize, E: From<Error>>(
        &mut self,
        names: [&str; N],
        mut each: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        match head(&mut self.rest)? {
            Head::Nil => Ok(()),
            Head::Map(len) => {
                for _ in 0..len {
                    let key = match head(&mut self.rest)? {
                        Head::Str(key) => key,
                        Head::Nil => &[],
                        other => return Err(kind("string", &other).into()),
                    };
                    match names.iter().position(|name| name.as_bytes() == key) {
                        Some(at) => each(at, self)?,
                        None => self.skip()?,
                    }
                }
                Ok(())
            }
            Head::Array(len) => {
                for at in 0..len {
                    if at < N {
                        each(at, self)?
                    } else {
                        self.skip()?
                    }
                }
                Ok(())
            }
            other => Err(kind("map", &other).into()),
        }
    }

    /// Passes over a value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        let len = value_len(self.rest)?.ok_or(Error::End)?;
        self.rest = &self.rest[len..];
        Ok(())
    }
}

fn kind(expected: &'static str, found: &Head<'_>) -> Error {
    let found = found.name();
    Error::Kind { expected, found }
}
