//! A listing of the KV store, read one entry at a time.
//!
//! In: the body of `GET /v1/kv/PREFIX?recurse`, a JSON array of objects, as a reader. Out: its entries in order, or why
//! the listing cannot be trusted. The end is only reported when the array was closed and the body ended behind it.
//!
//! Memory: one object (at most [`OBJECT_SIZE_MAX`]) and one read of 64 KiB.

use std::io::Read;

use serde::Deserialize;

/// Largest object taken. Values are half a MiB unless a cluster's limits were raised.
const OBJECT_SIZE_MAX: usize = 64 << 20;
/// How much is read at once.
const READ_SIZE: usize = 64 << 10;

/// One entry, as far as it is copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) flags: u64,
    /// Value in base64 as listed; absent and empty are the same.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) modify_index: u64,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// Why a listing is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    /// It broke off.
    #[error("the listing broke off after {count} keys")]
    Read {
        /// Keys that had been read.
        count: u64,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An object is no entry.
    #[error("the listing is unreadable after {count} keys")]
    Object {
        /// Keys that had been read.
        count: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The array around the entries is malformed.
    #[error("the listing is no JSON array of entries: byte {byte:#04x} after {count} keys")]
    Array {
        /// Keys that had been read.
        count: u64,
        /// The byte that does not fit.
        byte: u8,
    },
    /// An object is too large.
    #[error("an entry is larger than {OBJECT_SIZE_MAX} bytes")]
    TooLarge,
    /// Keys do not ascend.
    #[error("the listing is not sorted: {key:?} follows {before:?}")]
    Order {
        /// The key.
        key: String,
        /// The one listed before it.
        before: String,
    },
    /// A key lies outside the prefix asked for.
    #[error("the listing has {key:?}, which does not begin with {prefix:?}")]
    Foreign {
        /// The key.
        key: String,
        /// The prefix.
        prefix: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before `[`.
    Start,
    /// Behind `[`.
    First,
    /// Behind an object.
    Between,
    /// Behind a comma.
    Next,
    /// Behind `]`.
    End,
}

/// The reader of one listing. `None` inside is a listing without entries.
pub(crate) struct Entries<R> {
    input: Option<R>,
    prefix: String,
    buffer: Vec<u8>,
    /// First byte of the buffer that was not looked at.
    at: usize,
    place: Place,
    last: String,
    count: u64,
}

impl<R: Read> Entries<R> {
    /// Reads `body`, whose keys must all begin with `prefix`; `None` is an empty listing.
    pub(crate) fn new(body: Option<R>, prefix: &str) -> Self {
        Self {
            input: body,
            prefix: prefix.to_owned(),
            buffer: Vec::new(),
            at: 0,
            place: Place::Start,
            last: String::new(),
            count: 0,
        }
    }

    /// Entries read so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The next entry; `None` behind the last one, and from then on.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ListingError> {
        loop {
            if self.input.is_none() {
                return Ok(None);
            }
            let Some(byte) = self.byte()? else {
                if self.place == Place::End {
                    self.input = None;
                    return Ok(None);
                }
                return Err(ListingError::Read {
                    count: self.count,
                    source: std::io::ErrorKind::UnexpectedEof.into(),
                });
            };
            self.place = match (self.place, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => self.place,
                (Place::Start, b'[') => Place::First,
                (Place::First | Place::Between, b']') => Place::End,
                (Place::Between, b',') => Place::Next,
                (Place::First | Place::Next, b'{') => {
                    let entry = self.object()?;
                    self.place = Place::Between;
                    self.check(&entry)?;
                    return Ok(Some(entry));
                }
                (_, byte) => {
                    let count = self.count;
                    return Err(ListingError::Array { count, byte });
                }
            };
        }
    }

    fn check(&mut self, entry: &Entry) -> Result<(), ListingError> {
        if !entry.key.starts_with(&self.prefix) {
            return Err(ListingError::Foreign {
                key: entry.key.clone(),
                prefix: self.prefix.clone(),
            });
        }
        self.count += 1;
        // Bytes that are no UTF-8 were replaced by the server, which moves such a key within the order.
        if entry.key.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(());
        }
        if self.last >= entry.key && !self.last.is_empty() {
            return Err(ListingError::Order {
                key: entry.key.clone(),
                before: std::mem::take(&mut self.last),
            });
        }
        entry.key.clone_into(&mut self.last);
        Ok(())
    }

    /// Consumes one byte.
    fn byte(&mut self) -> Result<Option<u8>, ListingError> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
            if !self.fill()? {
                return Ok(None);
            }
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(Some(byte))
    }

    /// Reads more behind what is in the buffer; `false` at the end of the body.
    fn fill(&mut self) -> Result<bool, ListingError> {
        let count = self.count;
        let Some(input) = self.input.as_mut() else {
            return Ok(false);
        };
        let old = self.buffer.len();
        self.buffer.resize(old + READ_SIZE, 0);
        let read = loop {
            match input.read(&mut self.buffer[old..]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(old + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(n) => Ok(n > 0),
            Err(source) => Err(ListingError::Read { count, source }),
        }
    }

    /// Reads the object whose `{` was just consumed.
    fn object(&mut self) -> Result<Entry, ListingError> {
        // What was consumed before the object makes room for the rest of it.
        self.buffer.drain(..self.at - 1);
        self.at = 1;
        let (mut depth, mut in_text, mut escaped) = (1_u32, false, false);
        while depth > 0 {
            if self.at == self.buffer.len() {
                if self.buffer.len() > OBJECT_SIZE_MAX {
                    return Err(ListingError::TooLarge);
                }
                if !self.fill()? {
                    return Err(ListingError::Read {
                        count: self.count,
                        source: std::io::ErrorKind::UnexpectedEof.into(),
                    });
                }
            }
            let byte = self.buffer[self.at];
            self.at += 1;
            if in_text {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_text = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => in_text = true,
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => {}
                }
            }
        }
        let count = self.count;
        serde_json::from_slice(&self.buffer[..self.at])
            .map_err(|source| ListingError::Object { count, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a text in pieces of `size` bytes.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn read(text: &str, size: usize) -> Result<Vec<Entry>, ListingError> {
        let mut entries = Entries::new(Some(Pieces(text.as_bytes(), size)), "");
        let mut all = Vec::new();
        while let Some(entry) = entries.next()? {
            all.push(entry);
        }
        assert_eq!(entries.count(), all.len() as u64);
        Ok(all)
    }

    const TWO: &str = r#"
        [ {"LockIndex":0,"Key":"a{\"]","Flags":18446744073709551615,"Value":null,"CreateIndex":1,"ModifyIndex":9},
          {"Key":"b\u003c\\","Flags":0,"Value":"eA==","Session":"s","New":{"x":["}"]}} ] "#;

    #[test]
    fn entries_come_out_however_the_body_is_cut() {
        for size in [1, 2, 3, 7, 64, 1000] {
            let all = read(TWO, size).unwrap();
            assert_eq!(all.len(), 2, "in pieces of {size}");
            assert_eq!(all[0].key, "a{\"]");
            assert_eq!((all[0].flags, all[0].modify_index), (u64::MAX, 9));
            assert_eq!((all[0].value.as_str(), all[1].value.as_str()), ("", "eA=="));
            assert_eq!(all[1].key, "b<\\");
        }
        assert_eq!(read("[]", 1).unwrap(), []);
        let mut none = Entries::new(None::<&[u8]>, "");
        assert!(none.next().unwrap().is_none());
    }

    #[test]
    fn every_shorter_body_is_an_error() {
        let whole = TWO.trim();
        for end in 0..whole.len() {
            if whole.is_char_boundary(end) {
                assert!(read(&whole[..end], 16).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for (text, want) in [
            ("null", "no JSON array"),
            ("{}", "no JSON array"),
            ("[1]", "no JSON array"),
            ("[,]", "no JSON array"),
            (r#"[{"Key":"a"},]"#, "no JSON array"),
            (r#"[{"Key":"a"}{"Key":"b"}]"#, "no JSON array"),
            (r#"[{"Key":"a"}] x"#, "no JSON array"),
            (r#"[{"Flags":1}]"#, "unreadable"),
            (r#"[{"Key":"a","Flags":-1}]"#, "unreadable"),
            (r#"[{"Key":"b"},{"Key":"a"}]"#, "not sorted"),
            (r#"[{"Key":"b"},{"Key":"b"}]"#, "not sorted"),
        ] {
            let error = read(text, 5).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        let mut entries = Entries::new(Some(&br#"[{"Key":"b"}]"#[..]), "a");
        assert!(matches!(entries.next(), Err(ListingError::Foreign { .. })));
        // A key that is no UTF-8 stands where its bytes put it.
        assert_eq!(
            read("[{\"Key\":\"\u{fffd}\"},{\"Key\":\"a\"}]", 5)
                .unwrap()
                .len(),
            2
        );
    }
}
