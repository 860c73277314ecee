//! Encryption of gossip: keys, the ring of them, sealed payloads, and the file that keeps the ring (gossip.md sections 5,
//! 7.10 and 10.6).
//!
//! A sealed payload:
//!
//! ```text
//! version u8 | nonce 12 | ciphertext | tag 16        AES-GCM
//!   0  plaintext padded to a multiple of 16 bytes, always by 1 to 16 (PKCS #7)
//!   1  plaintext as it is
//! ```
//!
//! Randomness is handed in: a nonce must never be used twice with one key.

mod file;
mod key;
mod ring;

pub use file::{FileError, Layout};
pub use key::{Key, KeyError};
pub use ring::{
    EMPTY, Keyring, NO_KEYRING, OVERHEAD, OVERHEAD_PADDED, OpenError, RemoveError, UseError,
    Version,
};
