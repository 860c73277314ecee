//! Payloads of Consul's user events.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::serf::{decode, pack_event, unpack_event};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    if let Ok(event) = unpack_event(bytes) {
        let mut packed = Vec::new();
        pack_event(&event, &mut packed);
        assert_eq!(
            unpack_event(&packed),
            Ok(event),
            "what was packed can be unpacked"
        );
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let messages = tribune_fuzz::gossip("serf").into_iter();
    messages
        .filter_map(|message| match decode(&message[1..]) {
            Ok(tribune_serf::Message::UserEvent(event)) => Some(event.payload.to_vec()),
            _ => None,
        })
        .collect()
}
