//! How much of a check's output is kept.
//!
//! Probes write into a ring that keeps the last bytes; reported results keep the first bytes and say what was cut
//! (spec agent.md 1.1). Cutting inside a multi-byte character drops its rest: outputs are text.

use std::collections::VecDeque;

/// Keeps the last `limit` bytes written, and counts all of them.
#[derive(Debug, Clone)]
pub struct OutputRing {
    limit: usize,
    kept: VecDeque<u8>,
    total: u64,
}

impl OutputRing {
    /// An empty ring. A limit of 0 keeps nothing.
    pub fn new(limit: usize) -> OutputRing {
        OutputRing {
            limit,
            kept: VecDeque::new(),
            total: 0,
        }
    }

    /// Adds bytes and forgets the oldest beyond the limit.
    pub fn write(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let tail = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.kept.len() + tail.len()).saturating_sub(self.limit);
        self.kept.drain(..excess.min(self.kept.len()));
        self.kept.extend(tail);
    }

    /// Bytes written so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What is kept, as text. Bytes that are no text become the replacement character.
    pub fn text(&self) -> String {
        let (head, tail) = self.kept.as_slices();
        let mut bytes = Vec::with_capacity(self.kept.len());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(tail);
        if self.total > self.limit as u64 {
            // The first character may have lost its beginning.
            let broken = bytes
                .iter()
                .take(3)
                .take_while(|b| **b & 0xc0 == 0x80)
                .count();
            bytes.drain(..broken);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The output of a script: what the ring kept, with a note if it forgot something.
pub fn captured(ring: &OutputRing) -> String {
    if ring.total > ring.limit as u64 {
        format!(
            "Captured {} of {} bytes\n...\n{}",
            ring.limit,
            ring.total,
            ring.text()
        )
    } else {
        ring.text()
    }
}

/// A reported output: its first `limit` bytes, with a note if there was more.
pub fn truncated(output: &str, limit: usize) -> String {
    if output.len() <= limit {
        return output.to_owned();
    }
    let mut end = limit;
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    format!(
        "{} ... (captured {limit} of {} bytes)",
        &output[..end],
        output.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_last_bytes_and_says_how_many_there_were() {
        // (limit, writes, text)
        let cases: [(usize, &[&str], &str); 6] = [
            (10, &["hello"], "hello"),
            (5, &["hello"], "hello"),
            (4, &["hello"], "Captured 4 of 5 bytes\n...\nello"),
            (4, &["ab", "cd", "ef"], "Captured 4 of 6 bytes\n...\ncdef"),
            (0, &["a"], "Captured 0 of 1 bytes\n...\n"),
            (3, &["aé", "bc"], "Captured 3 of 5 bytes\n...\nbc"),
        ];
        for (limit, writes, want) in cases {
            let mut ring = OutputRing::new(limit);
            writes.iter().for_each(|w| ring.write(w.as_bytes()));
            assert_eq!(captured(&ring), want, "limit {limit}");
        }
    }

    #[test]
    fn a_report_keeps_its_first_bytes() {
        assert_eq!(truncated("abc", 3), "abc");
        assert_eq!(truncated("abcd", 3), "abc ... (captured 3 of 4 bytes)");
        assert_eq!(truncated(&"y".repeat(5000), 4096).len(), 4130);
        assert_eq!(truncated("aé", 2), "a ... (captured 2 of 3 bytes)");
    }
}
