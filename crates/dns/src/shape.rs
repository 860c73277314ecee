//! Size limits: how many answers a client gets (spec dns.md 5).
//!
//! In: a whole response. Out: the same with answers dropped from the end, additional records re-derived from the SRV
//! targets that are left, and whether anything was dropped.
//!
//! ```text
//! UDP  no EDNS above 512: at most min(8, udp_answer_limit) answers, and then sizes are measured uncompressed
//!      then while more than one and size > limit - 7: fewer
//! TCP  at most 4096 answers (SRV 1024), then the same down to 65523 bytes
//! ```
//! OPT is not part of the measured size, as Consul adds it later: an answer may exceed the client's limit by up to
//! four bytes (or more with a client subnet).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::records::Response;
use crate::wire::{Data, Owner, Record, rtype};
use crate::write::{Compression, SuffixTable, compressed_size, plain_size};

/// Largest UDP answer without EDNS.
const UDP_SIZE_DEFAULT: usize = 512;
/// Largest datagram that IPv4 carries, with room for OPT.
const UDP_SIZE_MAX: usize = 65_490;
/// Never more answers than this over UDP without EDNS.
const UDP_ANSWERS_MAX: usize = 8;
/// Kept free below the limit.
const UDP_SLACK: usize = 7;
const TCP_SIZE_MAX: usize = 65_523;
const TCP_ANSWERS_MAX: usize = 4096;
const TCP_SRV_ANSWERS_MAX: usize = 1024;
/// Fewest bytes that one record can need.
const RECORD_SIZE_MIN: usize = 16;
/// So far over the limit, the number of answers is searched instead of counted down.
const SEARCH_OVER: usize = 100;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What bounds an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    transport: Transport,
    size_max: usize,
    udp_answers_max: usize,
}

impl Limits {
    /// For a client with this EDNS size over this transport.
    pub(crate) fn new(
        transport: Transport,
        edns_size: Option<u16>,
        udp_answer_limit: usize,
    ) -> Limits {
        let size_max = match transport {
            Transport::Udp => {
                usize::from(edns_size.unwrap_or(0)).clamp(UDP_SIZE_DEFAULT, UDP_SIZE_MAX)
            }
            Transport::Tcp => TCP_SIZE_MAX + UDP_SLACK,
        };
        Limits {
            transport,
            size_max,
            udp_answers_max: udp_answer_limit.min(UDP_ANSWERS_MAX),
        }
    }

    fn counted(&self) -> bool {
        self.transport == Transport::Udp && self.size_max == UDP_SIZE_DEFAULT
    }

    /// More answers than this make no difference: they would be cut off, and that they are there is known.
    pub(crate) fn answers_needed(&self, qtype: u16) -> usize {
        match self.transport {
            Transport::Udp if self.counted() => self.udp_answers_max + 1,
            Transport::Udp => self.size_max / RECORD_SIZE_MIN + 1,
            Transport::Tcp => self.tcp_answers_max(qtype) + 1,
        }
    }

    fn tcp_answers_max(&self, qtype: u16) -> usize {
        if qtype == rtype::SRV {
            TCP_SRV_ANSWERS_MAX
        } else {
            TCP_ANSWERS_MAX
        }
    }
}

/// Reused memory of measuring.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) table: SuffixTable,
    bytes: Vec<u8>,
}

/// Drops answers until the limits hold. True if any was dropped.
pub(crate) fn trim(
    response: &mut Response,
    question: &[u8],
    qtype: u16,
    limits: Limits,
    compression: Compression,
    scratch: &mut Scratch,
) -> bool {
    let before = response.answer.len();
    let mut compression = compression;
    let answers_max = match limits.transport {
        Transport::Udp if limits.counted() => limits.udp_answers_max,
        Transport::Udp => usize::MAX,
        Transport::Tcp => limits.tcp_answers_max(qtype),
    };
    let mut extras = None;
    if before > answers_max {
        if limits.counted() {
            compression = Compression::Off;
        }
        response.answer.truncate(answers_max);
        sync(response, &mut extras);
    }
    let fits_max = limits.size_max - UDP_SLACK;
    if response.answer.len() <= 1 || plain_size(question, response, usize::MAX) <= fits_max {
        return response.answer.len() < before;
    }
    while response.answer.len() > 1 {
        let size = measure(question, response, usize::MAX, compression, scratch);
        if size <= fits_max {
            break;
        }
        let keep = if size.saturating_sub(limits.size_max) > SEARCH_OVER {
            search(
                response,
                &mut extras,
                question,
                limits.size_max,
                compression,
                scratch,
            )
        } else {
            response.answer.len() - 1
        };
        response.answer.truncate(keep);
        sync(response, &mut extras);
    }
    response.answer.len() < before
}

fn measure(
    question: &[u8],
    response: &Response,
    answers: usize,
    compression: Compression,
    scratch: &mut Scratch,
) -> usize {
    match compression {
        Compression::Off => plain_size(question, response, answers),
        Compression::On => compressed_size(
            question,
            response,
            answers,
            &mut scratch.table,
            &mut scratch.bytes,
        ),
    }
}

/// The largest number of answers that fits, additional records included; 0 if not even one does.
fn search(
    response: &mut Response,
    extras: &mut Option<Extras>,
    question: &[u8],
    size_max: usize,
    compression: Compression,
    scratch: &mut Scratch,
) -> usize {
    let (mut fits, mut too_many) = (0, response.answer.len() + 1);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        sync_for(response, extras, middle);
        if measure(question, response, middle, compression, scratch) <= size_max {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    fits
}

/// The additional records of the untrimmed response, by owner.
struct Extras {
    records: Vec<Record>,
    /// Lower-case owner to its first record.
    by_owner: HashMap<Vec<u8>, usize>,
}

fn sync(response: &mut Response, extras: &mut Option<Extras>) {
    sync_for(response, extras, usize::MAX);
}

/// Leaves as additional records what the first `answers` SRV targets lead to: one record each, and what a CNAME there
/// leads to.
fn sync_for(response: &mut Response, extras: &mut Option<Extras>, answers: usize) {
    if response.additional.is_empty() && extras.is_none() {
        return;
    }
    let extras = extras.get_or_insert_with(|| {
        let records = std::mem::take(&mut response.additional);
        let mut by_owner = HashMap::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            if let Owner::Name(name) = &record.owner
                && let Entry::Vacant(entry) = by_owner.entry(name.wire().to_ascii_lowercase())
            {
                entry.insert(index);
            }
        }
        Extras { records, by_owner }
    });
    response.additional.clear();
    let mut taken = vec![false; extras.records.len()];
    for record in response.answer.iter().take(answers) {
        let Data::Srv { target, .. } = &record.data else {
            continue;
        };
        let mut next = target.clone();
        while let Some(&index) = extras.by_owner.get(&next.wire().to_ascii_lowercase()) {
            // A name that was taken before ends the chain, which also ends loops.
            if std::mem::replace(&mut taken[index], true) {
                break;
            }
            let record = &extras.records[index];
            response.additional.push(record.clone());
            match &record.data {
                Data::Cname(target) => next = target.clone(),
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Name;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn srv(target: &str) -> Record {
        Record {
            owner: Owner::Question,
            ttl: 0,
            data: Data::Srv {
                weight: 1,
                port: 1,
                target: name(target),
            },
        }
    }

    fn extra(owner: &str, data: Data) -> Record {
        Record {
            owner: Owner::Name(name(owner)),
            ttl: 0,
            data,
        }
    }

    fn response(answers: usize) -> Response {
        let mut response = Response::default();
        for number in 0..answers {
            let target = format!("ip-10-0-1-{number:03}.node.dc1.consul.");
            response.answer.push(srv(&target));
            response.additional.push(extra(
                &target,
                Data::A([10, 0, 1, u8::try_from(number % 256).unwrap()]),
            ));
        }
        response
    }

    fn trimmed(response: &mut Response, limits: Limits, compression: Compression) -> bool {
        let question = name("redis-cache-redis.service.consul.");
        trim(
            response,
            question.wire(),
            rtype::SRV,
            limits,
            compression,
            &mut Scratch::default(),
        )
    }

    #[test]
    fn additional_records_follow_the_targets_that_are_left() {
        let mut response = Response {
            answer: [
                "ip-1.consul",
                "ip-1.consul",
                "demo.io",
                "insensitive.io",
                "deadly.io",
                "nope.io",
            ]
            .map(srv)
            .to_vec(),
            additional: vec![
                extra("ip-1.consul", Data::A([1; 4])),
                extra("ip-1.consul", Data::A([1; 4])),
                extra("fakeserver.io", Data::A([2; 4])),
                extra("demo.io", Data::Cname(name("fakeserver.io"))),
                extra("INSENSITIVE.IO", Data::Cname(name("Another.Com"))),
                extra("another.com", Data::A([3; 4])),
                extra("ip-2.consul", Data::A([4; 4])),
                extra("deadly.io", Data::Cname(name("deadly.io"))),
                extra("nope.io", Data::Cname(name("notthere.io"))),
            ],
            ..Response::default()
        };
        sync(&mut response, &mut None);
        let owners: Vec<String> = response
            .additional
            .iter()
            .map(|record| match &record.owner {
                Owner::Name(name) => String::from_utf8_lossy(&name.wire()[1..]).into_owned(),
                Owner::Question => String::new(),
            })
            .collect();
        assert_eq!(
            owners,
            [
                "ip-1\u{6}consul\0",
                "demo\u{2}io\0",
                "fakeserver\u{2}io\0",
                "INSENSITIVE\u{2}IO\0",
                "another\u{3}com\0",
                "deadly\u{2}io\0",
                "nope\u{2}io\0"
            ]
        );
    }

    #[test]
    fn without_edns_the_answer_limit_holds_and_zero_means_none() {
        // (limit, answers there, answers left)
        for (limit, there, left) in [
            (3, 2, 2),
            (3, 3, 3),
            (3, 4, 3),
            (0, 1, 0),
            (20, 4, 4),
            (20, 30, 3),
            (1, 100, 1),
        ] {
            let mut response = response(there);
            let cut = trimmed(
                &mut response,
                Limits::new(Transport::Udp, None, limit),
                Compression::On,
            );
            assert_eq!(
                (response.answer.len(), cut),
                (left, left < there),
                "{limit} of {there}"
            );
            assert_eq!(response.additional.len(), left);
        }
    }

    #[test]
    fn the_most_that_fits_is_kept_for_every_size() {
        for compression in [Compression::On, Compression::Off] {
            for size in (513..9000).step_by(97) {
                let limits = Limits::new(Transport::Udp, Some(size), 3);
                let mut got = response(200);
                trimmed(&mut got, limits, compression);
                let (kept, mut scratch) = (got.answer.len(), Scratch::default());
                let question = name("redis-cache-redis.service.consul.");
                let mut size_of = |count: usize| {
                    let mut trial = response(200);
                    trial.answer.truncate(count);
                    sync(&mut trial, &mut None);
                    measure(question.wire(), &trial, count, compression, &mut scratch)
                };
                let fits_max = usize::from(size) - UDP_SLACK;
                assert!(
                    kept >= 1 && size_of(kept) <= fits_max,
                    "{size}: {kept} is too many"
                );
                assert!(
                    kept == 200 || size_of(kept + 1) > fits_max,
                    "{size}: {kept} is too few"
                );
            }
        }
    }

    #[test]
    fn tcp_answers_stay_below_the_message_limit() {
        let mut response = response(5000);
        assert!(trimmed(
            &mut response,
            Limits::new(Transport::Tcp, None, 3),
            Compression::On
        ));
        assert!(response.answer.len() > 800 && response.answer.len() == response.additional.len());
        let question = name("redis-cache-redis.service.consul.");
        let mut scratch = Scratch::default();
        assert!(
            measure(
                question.wire(),
                &response,
                usize::MAX,
                Compression::On,
                &mut scratch
            ) <= TCP_SIZE_MAX
        );
    }
}
