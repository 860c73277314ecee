//! DNS packets: what is answered is a well-formed message that answers the packet. The first byte chooses the transport.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use std::cell::RefCell;

use domain::base::Message;
use tribune_dns::fuzzing::Core;

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

/// Largest answer over UDP to a packet that cannot hold an OPT record.
const PLAIN_UDP_MAX: usize = 512;

thread_local! {
    static CORE: RefCell<Core> = RefCell::new(Core::new());
}

fn run(bytes: &[u8]) {
    let Some((&transport, packet)) = bytes.split_first() else {
        return;
    };
    let tcp = transport & 1 == 1;
    let Some(answer) = CORE.with_borrow_mut(|core| core.answer(packet, tcp)) else {
        return;
    };
    assert!(answer.len() >= 12 && answer[2] & 0x80 != 0, "a response");
    assert_eq!(answer[..2], packet[..2], "the same id");
    assert!(answer.len() <= usize::from(u16::MAX), "fits a TCP frame");
    if !tcp && packet[10..12] == [0, 0] {
        assert!(
            answer.len() <= PLAIN_UDP_MAX,
            "{} bytes over UDP",
            answer.len()
        );
    }
    let message = Message::from_octets(&answer).expect("a header");
    let sections = [message.answer(), message.authority(), message.additional()];
    for record in sections
        .into_iter()
        .flat_map(|section| section.expect("a section"))
    {
        record.expect("a well-formed record");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let captured = tribune_fuzz::vectors("dns/tests/vectors/consul-1.8.7.txt");
    let captured = String::from_utf8_lossy(&captured);
    let requests = captured
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split(' ').skip(1);
            let transport = u8::from(columns.next()? == "tcp");
            let packet = tribune_fuzz::unhex(columns.nth(1)?);
            Some([&[transport], &packet[..]].concat())
        });
    // There are thousands; neighbours differ in little.
    requests.step_by(7).collect()
}
