//! One key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A key of 16, 24 or 32 bytes. Never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 32],
    size: u8,
}

/// Why some bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Of another size. Operators and other agents see this text.
    #[error("key size must be 16, 24 or 32 bytes")]
    Size,
    /// No base64.
    #[error("key is not base64")]
    Base64,
}

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// [`KeyError::Size`]
    pub fn new(bytes: &[u8]) -> Result<Key, KeyError> {
        if !matches!(bytes.len(), 16 | 24 | 32) {
            return Err(KeyError::Size);
        }
        let mut key = Key {
            bytes: [0; 32],
            size: bytes.len() as u8,
        };
        key.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(key)
    }

    /// Reads standard base64 with padding.
    ///
    /// # Errors
    /// Anything else, and keys of another size.
    pub fn from_base64(text: &str) -> Result<Key, KeyError> {
        Key::new(&STANDARD.decode(text).map_err(|_| KeyError::Base64)?)
    }

    /// The key as operators see it. Secret.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The key. Secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bits)", u32::from(self.size) * 8)
    }
}
