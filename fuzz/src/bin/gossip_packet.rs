//! Datagrams of gossip: checksums, compression, compounds, messages.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::memberlist::{Framing, Limits, decode, encode, frame, open};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let limits = Limits::default();
    let (mut count, mut parts, mut messages) = (0, Vec::new(), Vec::new());
    open(bytes, &limits, &mut |message| {
        count += 1;
        let Ok(message) = message else { return };
        let mut part = Vec::new();
        encode(&message, &mut part);
        assert_eq!(
            decode(&part).as_ref(),
            Ok(&message),
            "what was encoded can be decoded"
        );
        if messages.len() < 200 {
            parts.push(part);
            messages.push(message);
        }
    });
    assert!(count <= limits.parts + 1);

    // What is framed again is read again; the checksum makes that independent of the input's own.
    let mut packet = Vec::new();
    let framed = frame(
        &parts,
        Framing {
            compress: true,
            checksum: true,
        },
        &mut packet,
    );
    let mut again = Vec::new();
    open(&packet, &limits, &mut |message| again.extend(message));
    if packet.len() < limits.expanded && framed > 0 {
        let size: usize = parts[..framed].iter().map(|part| part.len() + 2).sum();
        assert!(size + 2 > limits.expanded || again == messages[..framed]);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let packets = tribune_fuzz::gossip("memberlist-packet").into_iter();
    packets.chain(tribune_fuzz::gossip("serf")).collect()
}
