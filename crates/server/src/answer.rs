//! Answers that equal requests share: the reply, and the forms fronts have rendered from it.
//!
//! One evaluation of a query gives one [`Shared`]; every request with an equal query in the same version of the state
//! gets the same one. A front renders at most once per form, whoever comes first.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tribune_types::id::Index;
use tribune_types::query::{QueryMeta, Reply};

/// The forms a reply is rendered into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Compact JSON.
    Json,
    /// Indented JSON.
    Pretty,
    /// Compact JSON, gzip.
    JsonGzip,
    /// Indented JSON, gzip.
    PrettyGzip,
}

/// A reply with its rendered forms.
pub struct Shared {
    reply: Reply,
    index: Index,
    rendered: [OnceLock<Bytes>; 4],
    derived: OnceLock<Arc<dyn Any + Send + Sync>>,
    encoded: Mutex<Option<Encoded>>,
}

/// A reply as it went to a peer.
struct Encoded {
    method: Box<str>,
    meta: QueryMeta,
    bytes: Bytes,
}

impl Shared {
    /// Wraps an evaluated reply and its index.
    pub fn new(reply: Reply, index: Index) -> Shared {
        Shared {
            reply,
            index,
            rendered: [const { OnceLock::new() }; 4],
            derived: OnceLock::new(),
            encoded: Mutex::new(None),
        }
    }

    /// The data.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Index of the data; not yet raised to 1.
    pub fn index(&self) -> Index {
        self.index
    }

    /// The bytes of a form, made by `make` on first use. Racing makers may both run; one result is kept.
    pub fn rendered(&self, form: Form, make: impl FnOnce(&Reply) -> Bytes) -> Bytes {
        self.rendered[form as usize]
            .get_or_init(|| make(&self.reply))
            .clone()
    }

    /// The bytes that answer `method` under `meta`, made by `make` unless they were the last that were asked for.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub fn encoded<E>(
        &self,
        method: &str,
        meta: &QueryMeta,
        make: impl FnOnce(&Reply) -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        let mut kept = self.encoded.lock();
        if let Some(last) = &*kept
            && *last.method == *method
            && last.meta == *meta
        {
            return Ok(last.bytes.clone());
        }
        let bytes = Bytes::from(make(&self.reply)?);
        *kept = Some(Encoded {
            method: method.into(),
            meta: *meta,
            bytes: bytes.clone(),
        });
        Ok(bytes)
    }

    /// A value some front derives from the reply (for instance the address list of DNS answers), made on first use.
    ///
    /// Only one type may be derived from the replies of one query; asking for a second type makes it anew each time.
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce(&Reply) -> T) -> Arc<T> {
        if let Some(kept) = self.derived.get() {
            if let Ok(value) = Arc::clone(kept).downcast::<T>() {
                return value;
            }
            return Arc::new(make(&self.reply));
        }
        let value = Arc::new(make(&self.reply));
        // A racing maker may have been first; both values say the same.
        let _ = self
            .derived
            .set(Arc::clone(&value) as Arc<dyn Any + Send + Sync>);
        value
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("index", &self.index)
            .field("reply", &self.reply)
            .finish_non_exhaustive()
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The data, shared with equal requests.
    pub shared: Arc<Shared>,
    /// What holds for this request.
    pub meta: QueryMeta,
}

impl Answer {
    /// The data.
    pub fn reply(&self) -> &Reply {
        self.shared.reply()
    }
}
