//! The file: a JSON list of keys in base64, the primary one first.

use super::key::{Key, KeyError};
use super::ring::Keyring;

/// How the file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// On one line, as the original creates it.
    Compact,
    /// A key per line, indented by two spaces, as the original writes it after a change.
    Indented,
}

/// Why a file holds no ring.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No list of texts.
    #[error("keyring is not a JSON list of texts")]
    Json(#[source] serde_json::Error),
    /// An entry is no key.
    #[error("key number {number} of the keyring is malformed")]
    Key {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
    /// No keys.
    #[error("keyring has no keys")]
    Empty,
}

impl Keyring {
    /// Reads the file. A key that is there twice counts once.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn from_file(bytes: &[u8]) -> Result<Keyring, FileError> {
        // A list that is null is one without keys.
        let texts: Option<Vec<String>> = serde_json::from_slice(bytes).map_err(FileError::Json)?;
        let keys = texts.iter().flatten().enumerate().map(|(at, text)| {
            Key::from_base64(text).map_err(|source| FileError::Key {
                number: at + 1,
                source,
            })
        });
        let mut ring: Option<Keyring> = None;
        for key in keys {
            let key = key?;
            match &mut ring {
                Some(ring) => _ = ring.install(key),
                None => ring = Some(Keyring::new(key)),
            }
        }
        ring.ok_or(FileError::Empty)
    }

    /// Writes the file. Secret.
    pub fn to_file(&self, layout: Layout) -> String {
        // Base64 needs no escapes.
        let keys: Vec<String> = self
            .keys()
            .map(|key| format!("\"{}\"", key.to_base64()))
            .collect();
        match layout {
            Layout::Compact => format!("[{}]", keys.join(",")),
            Layout::Indented => format!("[\n  {}\n]", keys.join(",\n  ")),
        }
    }
}
