//! The encoder.
//!
//! The table of strings (a code and a byte, to a code) is a hash table with open addressing, of which there is one per
//! thread: 64 KiB. Its entries carry the number of the table they belong to, so that a new one costs nothing: most inputs
//! are packets, far shorter than the table.

use std::cell::RefCell;

use super::{CLEAR, CODE_MAX, END, WIDTH_MIN};

/// Slots of the hash table, more than twice the strings there can be.
const SLOTS: usize = 1 << 13;

thread_local! {
    static TABLE: RefCell<Box<Table>> = RefCell::new(Table::new());
}

/// Appends the compressed form of `input`. O(n).
pub fn compress(input: &[u8], out: &mut Vec<u8>) {
    TABLE.with_borrow_mut(|table| Encoder::new(table, out).run(input));
}

/// Strings and their codes.
struct Table {
    /// Era (32 bits), key (20), code (12). Eras begin with 1, so zero is an empty slot.
    slots: [u64; SLOTS],
    era: u32,
}

/// A slot to be filled.
#[derive(Clone, Copy)]
struct Vacancy {
    at: usize,
    key: u64,
}

impl Table {
    fn new() -> Box<Table> {
        Box::new(Table {
            slots: [0; SLOTS],
            era: 0,
        })
    }

    fn clear(&mut self) {
        self.era = self.era.wrapping_add(1);
        if self.era == 0 {
            self.slots.fill(0);
            self.era = 1;
        }
    }

    /// The code of the string of `code` and `byte`, or where to put it.
    #[inline]
    fn find(&self, code: u16, byte: u8) -> Result<u16, Vacancy> {
        let key = u64::from(code) << 8 | u64::from(byte);
        let tagged = u64::from(self.era) << 20 | key;
        let mut at = (key as u32).wrapping_mul(0x9e37_79b1) as usize >> (32 - 13);
        loop {
            let slot = self.slots[at % SLOTS];
            if slot >> 12 == tagged {
                return Ok((slot & u64::from(CODE_MAX)) as u16);
            }
            // A slot of another era is as good as empty: within an era no slot is ever emptied.
            if slot >> 32 != u64::from(self.era) {
                return Err(Vacancy {
                    at: at % SLOTS,
                    key: tagged,
                });
            }
            at += 1;
        }
    }

    #[inline]
    fn put(&mut self, vacancy: Vacancy, code: u16) {
        self.slots[vacancy.at] = vacancy.key << 12 | u64::from(code);
    }
}

struct Encoder<'a> {
    table: &'a mut Table,
    out: &'a mut Vec<u8>,
    /// Bits that make no byte yet.
    bits: u64,
    bit_count: u32,
    width: u32,
    /// The last code that a string was given.
    hi: u16,
}

impl<'a> Encoder<'a> {
    fn new(table: &'a mut Table, out: &'a mut Vec<u8>) -> Self {
        table.clear();
        Encoder {
            table,
            out,
            bits: 0,
            bit_count: 0,
            width: WIDTH_MIN,
            hi: END,
        }
    }

    fn run(mut self, input: &[u8]) {
        if let Some((&first, rest)) = input.split_first() {
            let mut current = u16::from(first);
            for &byte in rest {
                match self.table.find(current, byte) {
                    Ok(code) => current = code,
                    Err(vacancy) => {
                        self.emit(current);
                        if self.next_code() {
                            self.table.put(vacancy, self.hi);
                        }
                        current = u16::from(byte);
                    }
                }
            }
            self.emit(current);
            self.next_code();
        }
        self.emit(END);
        while self.bit_count > 0 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.bit_count = self.bit_count.saturating_sub(8);
        }
    }

    #[inline]
    fn emit(&mut self, code: u16) {
        self.bits |= u64::from(code) << self.bit_count;
        self.bit_count += self.width;
        if self.bit_count >= 32 {
            self.out
                .extend_from_slice(&(self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.bit_count -= 32;
        }
    }

    /// Moves on to the next code; false if the codes were used up and begin anew instead.
    #[inline]
    fn next_code(&mut self) -> bool {
        self.hi += 1;
        if self.hi == 1 << self.width {
            self.width += 1;
        }
        if self.hi < CODE_MAX {
            return true;
        }
        self.emit(CLEAR);
        self.width = WIDTH_MIN;
        self.hi = END;
        self.table.clear();
        false
    }
}
