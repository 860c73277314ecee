//! LZW as gossip compresses with it: least significant bit first, literals of 8 bits, codes of 9 to 12 (gossip.md
//! section 3.5).
//!
//! [`compress`] writes the very bytes that Consul 1.8.7 writes. [`Decoder`] takes input piecemeal, writes no more than it
//! is allowed, and accepts the clear code that newer encoders begin with.

mod decode;
mod encode;

pub use decode::{Decoder, Error, Progress, decompress};
pub use encode::compress;

/// Begins anew with an empty table.
const CLEAR: u16 = 256;
/// Ends the data.
const END: u16 = 257;
/// Bits of the first codes.
const WIDTH_MIN: u32 = 9;
/// Bits of the last codes.
const WIDTH_MAX: u32 = 12;
/// The highest code there is.
const CODE_MAX: u16 = (1 << WIDTH_MAX) - 1;
