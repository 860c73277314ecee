//! The ring: which key seals, which ones open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::key::Key;

/// The answer to a request to list keys where there is no keyring. Operators and other agents see this text.
pub const EMPTY: &str = "Keyring is empty (encryption not enabled)";
/// The answer to any other request about keys where there is no keyring. Operators and other agents see this text.
pub const NO_KEYRING: &str = "No keyring to modify (encryption not enabled)";
/// By how many bytes [`Version::Plain`] is longer than the plaintext.
pub const OVERHEAD: usize = 1 + NONCE + TAG;
/// By how many bytes [`Version::Padded`] is longer than the plaintext, at most.
pub const OVERHEAD_PADDED: usize = OVERHEAD + BLOCK;

const NONCE: usize = 12;
const TAG: usize = 16;
const BLOCK: usize = 16;

/// How plaintext is prepared, and its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Version {
    /// Padded. Only very old agents write it.
    Padded = 0,
    /// As it is.
    Plain = 1,
}

/// Keys in order, the first of which is the primary one. Never empty. Copies are cheap and share expanded keys.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Slot>,
}

#[derive(Clone)]
struct Slot {
    key: Key,
    expanded: Arc<LessSafeKey>,
}

/// Why a key cannot become the primary one. The ring is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UseError {
    /// It is not in the ring. Operators and other agents see this text.
    #[error("Requested key is not in the keyring")]
    Absent,
}

/// Why a key cannot be removed. The ring is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// It is the primary one. Operators and other agents see this text.
    #[error("Removing the primary key is not allowed")]
    Primary,
}

/// Why a payload cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any payload.
    #[error("encrypted payload of {0} bytes is too short")]
    Short(usize),
    /// Of a version that nobody has written yet.
    #[error("encryption version {0} is not supported")]
    Version(u8),
    /// No key fits, or somebody changed the payload. Other agents see this text.
    #[error("No installed keys could decrypt the message")]
    Key,
    /// The padding of a version 0 payload is malformed.
    #[error("padding of the decrypted payload is malformed")]
    Padding,
}

impl Keyring {
    /// A ring of one key.
    pub fn new(primary: Key) -> Keyring {
        Keyring {
            keys: vec![Slot::new(primary)],
        }
    }

    /// Keys, the primary one first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter().map(|slot| &slot.key)
    }

    /// The key that seals.
    pub fn primary(&self) -> &Key {
        &self.keys[0].key
    }

    /// True if the ring has this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.keys().any(|k| k == key)
    }

    /// Adds a key at the end, without sealing with it yet. False if it was there.
    pub fn install(&mut self, key: Key) -> bool {
        let absent = !self.contains(&key);
        if absent {
            self.keys.push(Slot::new(key));
        }
        absent
    }

    /// Makes a key the one that seals. The others keep their order.
    ///
    /// # Errors
    /// [`UseError::Absent`]
    pub fn use_key(&mut self, key: &Key) -> Result<(), UseError> {
        let at = self.keys().position(|k| k == key).ok_or(UseError::Absent)?;
        self.keys[..=at].rotate_right(1);
        Ok(())
    }

    /// Removes a key. False if it was not there.
    ///
    /// # Errors
    /// [`RemoveError::Primary`]
    pub fn remove(&mut self, key: &Key) -> Result<bool, RemoveError> {
        let position = self.keys().position(|k| k == key);
        match position {
            None => Ok(false),
            Some(0) => Err(RemoveError::Primary),
            Some(at) => {
                self.keys.remove(at);
                Ok(true)
            }
        }
    }

    /// Appends the sealed form of `plain`. `aad` is authenticated with it but not sent: nothing for packets, the first
    /// five bytes for streams. `nonce` must be random.
    pub fn seal(
        &self,
        version: Version,
        aad: &[u8],
        plain: &[u8],
        nonce: [u8; NONCE],
        out: &mut Vec<u8>,
    ) {
        out.reserve(OVERHEAD_PADDED + plain.len());
        let start = out.len();
        out.push(version as u8);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        if version == Version::Padded {
            let padding = BLOCK - plain.len() % BLOCK;
            out.resize(out.len() + padding, padding as u8);
        }
        let tag = self.keys[0]
            .expanded
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut out[start + 1 + NONCE..],
            )
            .expect("sealing fails only beyond 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// How long the sealed form of `size` bytes is.
    pub fn sealed_size(version: Version, size: usize) -> usize {
        match version {
            Version::Plain => OVERHEAD + size,
            Version::Padded => OVERHEAD + size + BLOCK - size % BLOCK,
        }
    }

    /// The plaintext of a payload. Tries all keys in order.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, aad: &[u8], payload: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut out = Vec::new();
        self.open_into(aad, payload, &mut out)?;
        Ok(out)
    }

    /// As [`Keyring::open`], into a buffer that is used again. Its contents are replaced, also in case of an error.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_into(
        &self,
        aad: &[u8],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        out.clear();
        let version = *payload.first().ok_or(OpenError::Short(0))?;
        if version > Version::Plain as u8 {
            return Err(OpenError::Version(version));
        }
        let short = OpenError::Short(payload.len());
        let (nonce, rest) = payload[1..].split_first_chunk::<NONCE>().ok_or(short)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>().ok_or(short)?;
        out.resize(sealed.len(), 0);
        let fits = |slot: &Slot| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            slot.expanded
                .open_separate_gather(nonce, Aad::from(aad), sealed, tag, out)
                .is_ok()
        };
        if !self.keys.iter().any(fits) {
            out.clear();
            return Err(OpenError::Key);
        }
        if version == Version::Padded as u8 {
            let padding = out.last().copied().map_or(0, usize::from);
            if !(1..=BLOCK).contains(&padding) || padding > out.len() {
                out.clear();
                return Err(OpenError::Padding);
            }
            out.truncate(out.len() - padding);
        }
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl Slot {
    fn new(key: Key) -> Slot {
        let algorithm = match key.as_bytes().len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            _ => &AES_256_GCM,
        };
        let unbound = UnboundKey::new(algorithm, key.as_bytes())
            .expect("the algorithm is the one for the key's size");
        Slot {
            key,
            expanded: Arc::new(LessSafeKey::new(unbound)),
        }
    }
}
