//! Prints how long the gossip codecs take for what agents of a large pool do all the time.
//!
//! Run: `cargo run --release -p tribune-wire --example gossip_speed`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tribune_swim::{Ack, Alive, Message, NodeState, Peer, Ping, PushPull, RemoteNode, Versions};
use tribune_types::coordinate::Coordinate;
use tribune_types::text::{TextMap, text};
use tribune_wire::keyring::{Key, Keyring, Version};
use tribune_wire::memberlist::stream::{
    SIZE_MAX, StreamDecoder, StreamFraming, StreamMessage, encode_stream,
};
use tribune_wire::memberlist::{Framing, Limits, decode, encode, frame, open};
use tribune_wire::{lzw, serf};

fn main() {
    let messages = messages();
    for (name, message) in &messages {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        measure(&format!("decode {name}, {} bytes", bytes.len()), || {
            _ = black_box(decode(black_box(&bytes)));
        });
        let mut out = Vec::new();
        measure(&format!("encode {name}"), || {
            out.clear();
            encode(black_box(message), &mut out);
        });
    }

    let parts: Vec<Vec<u8>> = messages
        .iter()
        .map(|(_, message)| {
            let mut out = Vec::new();
            encode(message, &mut out);
            out
        })
        .collect();
    let framing = Framing {
        compress: true,
        checksum: true,
    };
    let (mut packet, mut sealed, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    measure("frame a packet of these", || {
        packet.clear();
        frame(black_box(&parts), framing, &mut packet);
    });
    measure("open it", || {
        open(black_box(&packet), &Limits::default(), &mut |message| {
            _ = black_box(message);
        });
    });
    let ring = Keyring::new(Key::new(&[1; 32]).expect("32 bytes are a key"));
    measure("seal it", || {
        sealed.clear();
        ring.seal(Version::Plain, b"", &packet, [1; 12], &mut sealed);
    });
    measure("unseal it", || {
        _ = black_box(ring.open_into(b"", &sealed, &mut opened));
    });

    let state = state(10_000);
    let mut plain = Vec::new();
    encode_stream(&state, &StreamFraming::default(), &mut plain);
    let mut packed = Vec::new();
    measure(
        &format!("compress a state of {} bytes", plain.len()),
        || {
            packed.clear();
            lzw::compress(&plain, &mut packed);
        },
    );
    let framing = StreamFraming {
        compress: true,
        seal: None,
    };
    let mut stream = Vec::new();
    encode_stream(&state, &framing, &mut stream);
    measure(
        &format!("read its stream of {} bytes", stream.len()),
        || {
            let mut decoder = StreamDecoder::new(SIZE_MAX);
            for piece in stream.chunks(16_384) {
                decoder.push(piece);
                _ = black_box(decoder.poll(None, true));
            }
        },
    );
}

/// Repeats for half a second.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn measure(what: &str, mut run: impl FnMut()) {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed().as_millis() < 500 {
        for _ in 0..10 {
            run();
        }
        count += 10;
    }
    println!("{what}: {} ns", start.elapsed().as_nanos() / count);
}

fn peer(n: usize) -> Arc<Peer> {
    let id = format!("3fc5ede1-4cdf-183d-c89c-{n:012x}");
    let tags: TextMap = [
        ("dc", "dc1"),
        ("segment", ""),
        ("build", "1.8.7:"),
        ("acls", "0"),
        ("role", "node"),
        ("id", &id),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
    ]
    .into_iter()
    .map(|(key, value)| (text(key), text(value)))
    .collect();
    Arc::new(Peer {
        name: text(&format!("node-{n}")),
        addr: ([10, 0, (n >> 8) as u8, n as u8], 8301).into(),
        meta: serf::encode_tags(&tags),
        versions: Some(Versions::CONSUL),
    })
}

fn messages() -> Vec<(&'static str, Message)> {
    let ping = Ping {
        seq: 70_000,
        node: text("node-1"),
        source: Some(([10, 0, 0, 2], 8301).into()),
        source_node: text("node-2"),
    };
    let ack = Ack {
        seq: 70_000,
        payload: Some(serf::encode_coordinate(&Coordinate::default())),
    };
    let alive = Alive {
        incarnation: 3,
        peer: peer(1),
    };
    vec![
        ("ping", Message::Ping(ping)),
        ("ack", Message::Ack(ack)),
        ("alive", Message::Alive(alive)),
    ]
}

fn state(count: usize) -> StreamMessage {
    let nodes = (0..count)
        .map(|n| RemoteNode {
            peer: peer(n),
            incarnation: 1,
            state: NodeState::Alive,
        })
        .collect();
    StreamMessage::PushPull(PushPull {
        join: false,
        nodes,
        user_state: vec![0; 200_000],
    })
}
