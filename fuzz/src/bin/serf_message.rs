//! Messages of Serf and what is in payloads: keys, conflicts, tags, coordinates.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_serf::{Message, QueryId};
use tribune_wire::serf::{
    CODEC, conflict, decode, decode_coordinate, decode_tags, encode, encode_coordinate,
    encode_tags, keys,
};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    if let Ok(message) = decode(bytes) {
        let mut encoded = Vec::new();
        encode(&message, &mut encoded);
        assert_eq!(
            decode(&encoded).as_ref(),
            Ok(&message),
            "what was encoded can be decoded"
        );
        if let Message::Query(query) = &message {
            for filter in &query.filters {
                if let tribune_serf::Filter::Tag { tag, expr } = filter {
                    (CODEC.matches)(expr, tag);
                }
            }
        }
    }
    let tags = decode_tags(bytes);
    assert_eq!(decode_tags(&encode_tags(&tags)), tags);
    if let Some(coordinate) = decode_coordinate(bytes) {
        let encoded = encode_coordinate(&coordinate);
        let again = decode_coordinate(&encoded).expect("what was encoded can be decoded");
        assert_eq!(encode_coordinate(&again), encoded);
    }
    if let Ok(answer) = conflict::decode(bytes) {
        assert_eq!(
            conflict::decode(&conflict::encode(answer.as_ref())),
            Ok(answer)
        );
    }
    if let Ok(key) = keys::decode_request(bytes) {
        assert_eq!(keys::decode_request(&keys::encode_request(&key)), Ok(key));
    }
    if let Ok(response) = keys::decode_response(bytes) {
        assert_eq!(
            keys::decode_response(&keys::encode_response(&response)).as_ref(),
            Ok(&response)
        );
        let list = response.keys.unwrap_or_default();
        let query = QueryId { ltime: 1, id: 2 };
        if let Some(payload) =
            keys::encode_key_list(&list, &response.primary, query, &"n".into(), 1024)
        {
            assert!(payload.len() < 1024);
            assert!(keys::decode_response(&payload).is_ok());
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for message in tribune_fuzz::gossip("serf") {
        let message = message[1..].to_vec();
        match decode(&message) {
            Ok(Message::Query(query)) => all.push(query.payload.to_vec()),
            Ok(Message::QueryResponse(response)) => {
                all.extend(response.payload.map(|payload| payload.to_vec()))
            }
            Ok(Message::Relay { message, .. }) => all.push(message.to_vec()),
            _ => {}
        }
        all.push(message);
    }
    all.push(encode_coordinate(&tribune_types::coordinate::Coordinate::default()).to_vec());
    all.push(b"\xff\x82\xa1a\xa11\xa1b\xa0".to_vec());
    all
}
