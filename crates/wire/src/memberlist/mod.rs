//! The gossip protocol below Serf: messages, packets and streams (gossip.md sections 2 to 4).
//!
//! - [`encode`], [`decode`]: one message, a type byte and a map.
//! - [`frame`], [`open`]: datagrams, which hold one message or several, compressed or not, with a checksum or not.
//! - [`stream`]: what goes over a connection, read as it arrives.
//!
//! Encryption is around all that: [`crate::keyring`].
//!
//! Input is hostile: time and memory for a datagram or a stream are bounded whatever it says.

mod body;
mod malformed;
mod packet;
pub mod stream;

pub use body::{decode, encode};
pub use malformed::Malformed;
pub use packet::{Framing, Limits, PARTS_MAX, frame, open};

/// First bytes of messages.
pub(crate) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESS: u8 = 9;
    pub(crate) const ENCRYPT: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const HAS_CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
}
