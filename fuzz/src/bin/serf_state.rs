//! Serf's part of an exchanged state.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::memberlist::stream::{StreamDecoder, StreamMessage};
use tribune_wire::serf::{decode_state, encode_state};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    if let Ok(state) = decode_state(bytes) {
        let mut encoded = Vec::new();
        encode_state(&state, &mut encoded);
        assert_eq!(
            decode_state(&encoded),
            Ok(state),
            "what was encoded can be decoded"
        );
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![
        b"\x02\x86\xaaEventLTime\x03\xa6Events\x92\x82\xa6Events\x91\x82\xa4Name\xa1e\xa7Payload\xa1x\xa5LTime\x02\xc0\xa5LTime\x07\
          \xabLeftMembers\x91\xa1b\xaaQueryLTime\x01\xacStatusLTimes\x82\xa1a\x01\xa1b\xcc\xff"
            .to_vec(),
    ];
    for bytes in tribune_fuzz::gossip("memberlist-stream") {
        let mut decoder = StreamDecoder::new(1 << 20);
        decoder.push(&bytes);
        if let Ok(Some(StreamMessage::PushPull(state))) = decoder.poll(None, false) {
            all.push(state.user_state);
        }
    }
    all
}
