//! MessagePack as Consul's servers speak it (spec rpc.md 2.2).
//!
//! The old "raw" dialect: strings and bytes share one family of markers, nil stands for the zero
//! value of anything, structs are maps with their fields in byte order. [`to_vec`] and
//! [`from_slice`] are a serde format; [`encode`] are the functions below it, for code that writes
//! hot values by hand, and `Reader` is what reads them; [`value_len`] measures a value without looking inside, [`Scan`]
//! one that arrives piecemeal.
//!
//! Decoding is lenient in what the original is lenient in and strict elsewhere. It never allocates
//! more than a fixed multiple of the bytes at hand, and follows nesting to [`DEPTH_MAX`] only.

pub mod encode;

mod any;
mod blob;
mod de;
mod error;
mod read;
mod scan;
mod ser;
mod text;
mod time;

pub use any::{Any, AnyMap};
pub(crate) use blob::Blob;
pub use de::{DEPTH_MAX, Deserializer, from_slice, from_slice_prefix};
pub use error::Error;
pub(crate) use read::Reader;
pub use scan::{Scan, value_len};
pub use ser::{Serializer, to_vec, to_writer};
pub use text::{Bytes, Map, Str};
pub use time::{Dur, Time};
