//! [`Response`]: the records and the code of an answer before it is written, and how records are made.

use tribune_types::catalog::Node;

use crate::instances::Addr;
use crate::wire::{Data, Owner, Record, rcode, rtype};

const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// An answer in parts. Reused between questions.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) rcode: u8,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    /// Something was left out and the client is told so.
    pub(crate) truncated: bool,
    /// Answer the client's OPT with one.
    pub(crate) edns: bool,
    /// The answer is for the client's subnet alone.
    pub(crate) for_subnet: bool,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    pub(crate) additional: Vec<Record>,
}

impl Response {
    /// Back to an empty authoritative answer.
    pub(crate) fn reset(&mut self, recursion_available: bool) {
        self.rcode = rcode::NOERROR;
        self.authoritative = true;
        self.recursion_available = recursion_available;
        self.truncated = false;
        self.edns = true;
        self.for_subnet = false;
        self.answer.clear();
        self.authority.clear();
        self.additional.clear();
    }

    /// An answer without records that does not speak for the zone.
    pub(crate) fn fail(&mut self, code: u8) {
        self.answer.clear();
        self.authority.clear();
        self.additional.clear();
        self.rcode = code;
        self.authoritative = false;
    }

    /// What is said of a name of the zone when nobody could be asked about it. Consul speaks for the zone all the same.
    pub(crate) fn fail_in_zone(&mut self) {
        self.fail(rcode::SERVFAIL);
        self.authoritative = true;
    }

    /// The header bits this adds to those copied from the request.
    pub(crate) fn flags(&self) -> u16 {
        let bit = |on: bool, bit: u16| if on { bit } else { 0 };
        bit(self.authoritative, AUTHORITATIVE)
            | bit(self.truncated, TRUNCATED)
            | bit(self.recursion_available, RECURSION_AVAILABLE)
            | u16::from(self.rcode)
    }
}

/// The record of an address for a type of question; `None` if the family is another, or it is a host name.
pub(crate) fn address_record(owner: Owner, ttl: u32, address: &Addr, qtype: u16) -> Option<Record> {
    let data = match address {
        Addr::V4(bytes) if qtype != rtype::AAAA => Data::A(*bytes),
        Addr::V6(bytes) if qtype != rtype::A => Data::Aaaa(*bytes),
        _ => return None,
    };
    Some(Record { owner, ttl, data })
}

/// True if the node's name can be a name server's: letters, digits and dashes.
pub(crate) fn is_host_label(node: &Node) -> bool {
    let name = &node.name;
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
