//! Answers into bytes: header, question, three sections, OPT, with name compression as Consul's library does it.
//!
//! Names are compressed against every suffix written before, in exact spelling. SRV targets are never compressed
//! (RFC 2782) but later names may point into them. Sizes follow from these rules, and truncation from sizes, so the
//! rules are part of the compatible behaviour.
//!
//! The owner of most records is the name of the question, which is a fixed pointer: the table of suffixes is only
//! filled when another name is written.

use crate::message::{HEADER_SIZE, Request};
use crate::records::Response;
use crate::wire::{Data, Owner, Record, rcode, rtype};

/// Offsets from here on cannot be pointed to.
const POINTER_MAX: usize = 0x4000;
/// A pointer to the name of the question.
const TO_QUESTION: [u8; 2] = [0xc0, 12];
const CLASS_IN: u16 = 1;

/// Compression of names on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    On,
    Off,
}

/// Suffixes written so far: an open-addressed table, emptied by forgetting what was used.
#[derive(Debug, Default)]
pub(crate) struct SuffixTable {
    /// (hash, offset of the suffix); offset 0 is free, as no name starts there.
    slots: Vec<(u32, u16)>,
    used: Vec<u32>,
}

impl SuffixTable {
    fn clear(&mut self) {
        for &slot in &self.used {
            self.slots[slot as usize] = (0, 0);
        }
        self.used.clear();
    }

    /// The offset of an equal suffix; otherwise remembers this one at `offset` if that can be pointed to.
    fn find_or_insert(
        &mut self,
        message: &[u8],
        hash: u32,
        suffix: &[u8],
        offset: usize,
    ) -> Option<u16> {
        if self.slots.len() < (self.used.len() + 1) * 2 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (seen_hash, seen) = self.slots[slot];
            if seen == 0 {
                if offset < POINTER_MAX {
                    self.slots[slot] = (hash, u16::try_from(offset).unwrap_or(0));
                    self.used.push(u32::try_from(slot).unwrap_or(0));
                }
                return None;
            }
            if seen_hash == hash && is_suffix_at(message, usize::from(seen), suffix) {
                return Some(seen);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        let old: Vec<(u32, u16)> = self
            .used
            .iter()
            .map(|&slot| self.slots[slot as usize])
            .collect();
        self.slots.clear();
        self.slots.resize(size, (0, 0));
        self.used.clear();
        for (hash, offset) in old {
            let mut slot = hash as usize & (size - 1);
            while self.slots[slot].1 != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = (hash, offset);
            self.used.push(u32::try_from(slot).unwrap_or(0));
        }
    }
}

/// True if the name written at `at` is `name`. Both are our own writing, so pointers are sound.
fn is_suffix_at(message: &[u8], at: usize, name: &[u8]) -> bool {
    let (mut at, mut rest) = (at, name);
    while let Some(&len) = message.get(at) {
        if len >= 0xc0 {
            let Some(&low) = message.get(at + 1) else {
                return false;
            };
            at = usize::from(len & 0x3f) << 8 | usize::from(low);
            continue;
        }
        let size = 1 + usize::from(len);
        let (Some(written), Some(wanted)) = (message.get(at..at + size), rest.get(..size)) else {
            return false;
        };
        if written != wanted {
            return false;
        }
        if len == 0 {
            return true;
        }
        at += size;
        rest = &rest[size..];
    }
    false
}

/// Writes one message at the end of a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    table: &'a mut SuffixTable,
    compression: Compression,
    question: &'a [u8],
    question_indexed: bool,
}

impl<'a> Writer<'a> {
    fn new(
        out: &'a mut Vec<u8>,
        table: &'a mut SuffixTable,
        compression: Compression,
        question: &'a [u8],
    ) -> Writer<'a> {
        table.clear();
        let start = out.len();
        Writer {
            out,
            start,
            table,
            compression,
            question,
            question_indexed: false,
        }
    }

    fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn question(&mut self, qtype: u16, qclass: u16) {
        self.out.extend_from_slice(self.question);
        self.u16(qtype);
        self.u16(qclass);
    }

    fn owner(&mut self, owner: &Owner) {
        match owner {
            Owner::Question if self.compression == Compression::On && self.question.len() > 1 => {
                self.out.extend_from_slice(&TO_QUESTION);
            }
            Owner::Question => self.out.extend_from_slice(self.question),
            Owner::Name(name) => self.name(name.wire(), Compression::On),
        }
    }

    /// Writes a name. `Compression::Off` spells it out but still remembers its suffixes.
    fn name(&mut self, name: &[u8], compression: Compression) {
        if self.compression == Compression::Off {
            self.out.extend_from_slice(name);
            return;
        }
        if !self.question_indexed {
            self.question_indexed = true;
            let question = self.question;
            each_suffix(question, |hash, at| {
                self.table.find_or_insert(
                    &self.out[self.start..],
                    hash,
                    &question[at..],
                    HEADER_SIZE + at,
                );
                true
            });
        }
        let offset = self.out.len() - self.start;
        let mut pointer = None;
        // The labels must stand in the buffer before suffixes of this very name can be compared with them.
        self.out.extend_from_slice(name);
        each_suffix(name, |hash, at| {
            let found =
                self.table
                    .find_or_insert(&self.out[self.start..], hash, &name[at..], offset + at);
            match found {
                Some(seen) if compression == Compression::On => {
                    pointer = Some((at, seen));
                    false
                }
                _ => true,
            }
        });
        if let Some((at, seen)) = pointer {
            self.out.truncate(self.start + offset + at);
            self.u16(0xc000 | seen);
        }
    }

    fn record(&mut self, record: &Record) {
        self.owner(&record.owner);
        self.u16(record.data.rtype());
        self.u16(CLASS_IN);
        self.u32(record.ttl);
        let size_at = self.out.len();
        self.u16(0);
        match &record.data {
            Data::A(address) => self.out.extend_from_slice(address),
            Data::Aaaa(address) => self.out.extend_from_slice(address),
            Data::Ns(name) | Data::Cname(name) | Data::Ptr(name) => {
                self.name(name.wire(), Compression::On)
            }
            Data::Soa(soa) => {
                self.name(soa.mname.wire(), Compression::On);
                self.name(soa.rname.wire(), Compression::On);
                for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                    self.u32(number);
                }
            }
            Data::Srv {
                weight,
                port,
                target,
            } => {
                self.u16(1);
                self.u16(*weight);
                self.u16(*port);
                self.name(target.wire(), Compression::Off);
            }
            Data::Txt(bytes) | Data::Raw { rdata: bytes, .. } => self.out.extend_from_slice(bytes),
        }
        let size = u16::try_from(self.out.len() - size_at - 2).unwrap_or(u16::MAX);
        self.out[size_at..size_at + 2].copy_from_slice(&size.to_be_bytes());
    }
}

/// Calls `each` with the hash and position of every suffix of a wire name, longest first, until it says false.
fn each_suffix(name: &[u8], mut each: impl FnMut(u32, usize) -> bool) {
    let mut starts = [0u8; 128];
    let mut hashes = [0u32; 128];
    let mut count = 0;
    let mut at = 0;
    while let Some(&len) = name.get(at) {
        if len == 0 || count == starts.len() {
            break;
        }
        starts[count] = u8::try_from(at).unwrap_or(0);
        count += 1;
        at += 1 + usize::from(len);
    }
    let mut hash = 0x9e37_79b9_u32;
    for index in (0..count).rev() {
        let at = usize::from(starts[index]);
        for byte in &name[at..=at + usize::from(name[at])] {
            hash = (hash ^ u32::from(*byte))
                .wrapping_mul(0x0100_0193)
                .rotate_left(5);
        }
        hashes[index] = hash;
    }
    for index in 0..count {
        if !each(hashes[index], usize::from(starts[index])) {
            return;
        }
    }
}

/// Appends the answer to `request` to `out`.
pub(crate) fn write(
    request: &Request,
    response: &Response,
    compression: Compression,
    table: &mut SuffixTable,
    out: &mut Vec<u8>,
) {
    let edns = if response.edns { request.edns } else { None };
    let count = |records: &[Record]| u16::try_from(records.len()).unwrap_or(u16::MAX);
    let mut writer = Writer::new(out, table, compression, request.name.wire());
    writer.u16(request.id);
    writer.u16(request.answer_flags() | response.flags());
    writer.u16(1);
    writer.u16(count(&response.answer));
    writer.u16(count(&response.authority));
    writer.u16(count(&response.additional) + u16::from(edns.is_some()));
    writer.question(request.qtype, request.qclass);
    for record in response
        .answer
        .iter()
        .chain(&response.authority)
        .chain(&response.additional)
    {
        writer.record(record);
    }
    if let Some(edns) = edns {
        writer.out.push(0);
        writer.u16(rtype::OPT);
        writer.u16(edns.size);
        writer.u32(0);
        match edns.subnet {
            None => writer.u16(0),
            Some(subnet) => {
                let size = subnet.address_size();
                let option = u16::try_from(4 + size).unwrap_or(4);
                writer.u16(4 + option);
                writer.u16(8);
                writer.u16(option);
                writer.u16(subnet.family);
                // A scope of 0 says that the answer is the same for every client.
                let scope = if response.for_subnet && response.rcode == rcode::NOERROR {
                    subnet.prefix
                } else {
                    0
                };
                writer.out.extend_from_slice(&[subnet.prefix, scope]);
                writer.out.extend_from_slice(&subnet.address[..size]);
            }
        }
    }
}

/// Size of header, question and sections, without OPT, when names are compressed. Writes into `scratch`.
pub(crate) fn compressed_size(
    question: &[u8],
    response: &Response,
    answers: usize,
    table: &mut SuffixTable,
    scratch: &mut Vec<u8>,
) -> usize {
    scratch.clear();
    scratch.resize(HEADER_SIZE, 0);
    let mut writer = Writer::new(scratch, table, Compression::On, question);
    writer.start = 0;
    writer.question(0, 0);
    for record in response
        .answer
        .iter()
        .take(answers)
        .chain(&response.authority)
        .chain(&response.additional)
    {
        writer.record(record);
    }
    scratch.len()
}

/// The same without compression: plain arithmetic, so an upper bound that costs nothing.
pub(crate) fn plain_size(question: &[u8], response: &Response, answers: usize) -> usize {
    let record_size = |record: &Record| {
        let owner = match &record.owner {
            Owner::Question => question.len(),
            Owner::Name(name) => name.wire().len(),
        };
        owner + 10 + record.data.size()
    };
    HEADER_SIZE
        + question.len()
        + 4
        + response
            .answer
            .iter()
            .take(answers)
            .chain(&response.authority)
            .chain(&response.additional)
            .map(record_size)
            .sum::<usize>()
}
