//! What messages cost on the wire: bytes of datagrams and stream messages as the protocol frames them (gossip.md sections
//! 3.4, 3.6, 4.1), **before** compression and encryption, without the headers of IP, UDP and TCP.

use tribune_swim::{PushPull, RemoteNode};

/// Bytes of a datagram with these parts: one goes alone, more as a compound, and a checksum takes five.
pub fn datagram_size(parts: impl ExactSizeIterator<Item = usize>, checksum: bool) -> usize {
    let count = parts.len();
    let sum: usize = parts.sum();
    let framing = if count > 1 { 2 + 2 * count } else { 0 };
    sum + framing + if checksum { 5 } else { 0 }
}

/// Bytes of an exchanged state. Computed, not encoded: a pool of 10,000 exchanges gigabytes.
pub fn push_pull_size(state: &PushPull) -> usize {
    // Type byte, map header, keys Join, Nodes and UserStateLen with their headers, the flag.
    let header = 1 + 1 + 5 + 1 + 6 + int(state.nodes.len() as u64) + 13;
    header
        + int(state.user_state.len() as u64)
        + state.nodes.iter().map(node_size).sum::<usize>()
        + state.user_state.len()
}

fn node_size(node: &RemoteNode) -> usize {
    // Map header; keys Addr, Incarnation, Meta, Name, Port, State, Vsn with their headers; the state.
    let fixed = 1 + 5 + 12 + 5 + 5 + 5 + 6 + 4 + 1;
    let addr = if node.peer.addr.is_ipv4() { 4 } else { 16 };
    let versions = if node.peer.versions.is_some() { 7 } else { 1 };
    fixed
        + raw(addr)
        + int(u64::from(node.incarnation))
        + raw(node.peer.meta.len())
        + raw(node.peer.name.len())
        + int(u64::from(node.peer.addr.port()))
        + versions
}

fn raw(len: usize) -> usize {
    len + match len {
        0..32 => 1,
        32..65536 => 3,
        _ => 5,
    }
}

fn int(value: u64) -> usize {
    match value {
        0..128 => 1,
        128..256 => 2,
        256..65536 => 3,
        65536..4_294_967_296 => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tribune_swim::{NodeState, Peer, Versions};
    use tribune_types::text::text;
    use tribune_wire::memberlist::stream::{StreamFraming, StreamMessage, encode_stream};
    use tribune_wire::memberlist::{Framing, frame};

    use super::*;

    #[test]
    fn the_sizes_are_those_of_the_encoder() {
        let parts: Vec<Arc<[u8]>> = (1..20_usize).map(|len| vec![5; len * 3].into()).collect();
        for count in [1, 2, 19] {
            for checksum in [false, true] {
                let mut bytes = Vec::new();
                let framing = Framing {
                    checksum,
                    compress: false,
                };
                frame(&parts[..count], framing, &mut bytes);
                let lens = parts[..count].iter().map(|part| part.len());
                assert_eq!(datagram_size(lens, checksum), bytes.len(), "{count}");
            }
        }

        let node = |n: usize, versions: Option<Versions>| RemoteNode {
            peer: Arc::new(Peer {
                name: text(&"n".repeat(1 + n)),
                addr: match n % 2 {
                    0 => ([10, 0, 0, 1], n as u16 * 50).into(),
                    _ => ([0_u16; 8], 8301).into(),
                },
                meta: vec![255; n * 2].into(),
                versions,
            }),
            incarnation: [1, 127, 128, 255, 256, 70_000][n % 6],
            state: NodeState::Alive,
        };
        for count in [0, 1, 30, 300] {
            for user_state in [0, 100, 40_000, 70_000] {
                let state = PushPull {
                    join: count == 1,
                    nodes: (0..count)
                        .map(|n| node(n % 200, (n % 3 > 0).then_some(Versions::CONSUL)))
                        .collect(),
                    user_state: vec![2; user_state],
                };
                let want = push_pull_size(&state);
                let mut bytes = Vec::new();
                let message = StreamMessage::PushPull(state);
                encode_stream(&message, &StreamFraming::default(), &mut bytes);
                assert_eq!(want, bytes.len(), "{count} nodes, {user_state} bytes");
            }
        }
    }

    #[test]
    fn framing_is_counted_as_it_is_sent() {
        // (parts, checksum, bytes)
        for (parts, checksum, want) in [
            (vec![40], false, 40),
            (vec![40], true, 45),
            (vec![40, 10], false, 56),
            (vec![1, 2, 3], true, 19),
        ] {
            assert_eq!(
                datagram_size(parts.clone().into_iter(), checksum),
                want,
                "{parts:?}"
            );
        }
    }
}
