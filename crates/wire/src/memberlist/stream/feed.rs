//! Bytes that came and are not used yet.

/// A queue of bytes, contiguous.
#[derive(Debug, Default)]
pub(super) struct Feed {
    bytes: Vec<u8>,
    /// Of which the first so many are used.
    used: usize,
}

impl Feed {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.used
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer, for appending.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.make_room();
        &mut self.bytes
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// Replaces everything.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        *self = Feed { bytes, used: 0 };
    }

    /// Moves what is left to the front once that is the lesser part, so that every byte moves once on average.
    fn make_room(&mut self) {
        if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
    }
}
