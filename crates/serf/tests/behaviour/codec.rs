//! A codec without a format: messages are kept in a list, and their bytes are their place in it, padded to about the
//! length that real ones have.

use std::cell::RefCell;
use std::sync::Arc;

use tribune_serf::{Codec, ConflictAnswer, Filter, Message, StateExchange};
use tribune_types::coordinate::Coordinate;
use tribune_types::text::{TextMap, text};

thread_local! {
    static SWIM: RefCell<Vec<tribune_swim::Message>> = const { RefCell::new(Vec::new()) };
    static SERF: RefCell<Vec<Message>> = const { RefCell::new(Vec::new()) };
    static STATE: RefCell<Vec<StateExchange>> = const { RefCell::new(Vec::new()) };
}

const SWIM_MARK: u8 = 0x51;
const SERF_MARK: u8 = 0x52;
const STATE_MARK: u8 = 0x53;

pub(crate) const CODEC: Codec = Codec {
    encode_swim,
    encode,
    decode,
    encode_state,
    decode_state,
    encode_tags,
    decode_tags,
    encode_coordinate,
    decode_coordinate,
    encode_conflict,
    matches: |expr, value| value.contains(expr),
};

fn write(mark: u8, at: usize, size: usize, out: &mut Vec<u8>) {
    out.push(mark);
    out.extend((at as u32).to_le_bytes());
    out.resize(out.len() + size, 0);
}

fn read(mark: u8, bytes: &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    let at = u32::from_le_bytes(*rest.first_chunk()?);
    (*first == mark).then_some(at as usize)
}

fn encode_swim(message: &tribune_swim::Message, out: &mut Vec<u8>) {
    let size = match message {
        tribune_swim::Message::Alive(alive) => 60 + alive.peer.meta.len(),
        tribune_swim::Message::User(bytes) => bytes.len(),
        _ => 40,
    };
    let at = SWIM.with_borrow_mut(|all| {
        all.push(message.clone());
        all.len() - 1
    });
    write(SWIM_MARK, at, size, out);
}

pub(crate) fn decode_swim(bytes: &[u8]) -> tribune_swim::Message {
    match read(SWIM_MARK, bytes) {
        Some(at) => SWIM.with_borrow(|all| all[at].clone()),
        // User messages are queued with their type byte in front.
        None => tribune_swim::Message::User(bytes[1..].into()),
    }
}

pub(crate) fn encode(message: &Message, out: &mut Vec<u8>) {
    let size = match message {
        Message::Leave(_) | Message::Join(_) => 20,
        Message::UserEvent(event) => 25 + event.name.len() + event.payload.len(),
        Message::Query(query) => {
            let filters = query.filters.iter().map(|filter| match filter {
                Filter::Nodes(names) => names.iter().map(|name| name.len()).sum(),
                Filter::Tag { tag, expr } => tag.len() + expr.len(),
                Filter::Unknown => 1,
            });
            100 + query.name.len() + query.payload.len() + filters.sum::<usize>()
        }
        Message::QueryResponse(response) => {
            35 + response.from.len() + response.payload.as_ref().map_or(0, |payload| payload.len())
        }
        Message::Relay { message, .. } => 50 + message.len(),
    };
    let at = SERF.with_borrow_mut(|all| {
        all.push(message.clone());
        all.len() - 1
    });
    write(SERF_MARK, at, size, out);
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Message> {
    let at = read(SERF_MARK, bytes)?;
    SERF.with_borrow(|all| all.get(at).cloned())
}

fn encode_state(state: &StateExchange, out: &mut Vec<u8>) {
    let at = STATE.with_borrow_mut(|all| {
        all.push(state.clone());
        all.len() - 1
    });
    write(STATE_MARK, at, 0, out);
}

pub(crate) fn decode_state(bytes: &[u8]) -> Option<StateExchange> {
    let at = read(STATE_MARK, bytes)?;
    STATE.with_borrow(|all| all.get(at).cloned())
}

pub(crate) fn state_bytes(state: &StateExchange) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_state(state, &mut bytes);
    bytes
}

fn encode_tags(tags: &TextMap) -> Arc<[u8]> {
    let pairs: Vec<String> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join("\n").into_bytes().into()
}

fn decode_tags(meta: &[u8]) -> TextMap {
    let all = String::from_utf8_lossy(meta);
    let pairs = all.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(k, v)| (text(k), text(v))).collect()
}

fn encode_coordinate(at: &Coordinate) -> Arc<[u8]> {
    let rest = [at.error, at.adjustment, at.height];
    let parts = rest.iter().chain(&at.vec);
    parts.flat_map(|part| part.to_le_bytes()).collect()
}

fn decode_coordinate(bytes: &[u8]) -> Option<Coordinate> {
    let (parts, rest) = bytes.as_chunks::<8>();
    let mut parts = parts.iter().map(|part| f64::from_le_bytes(*part));
    if !rest.is_empty() {
        return None;
    }
    Some(Coordinate {
        error: parts.next()?,
        adjustment: parts.next()?,
        height: parts.next()?,
        vec: parts.collect(),
    })
}

fn encode_conflict(answer: Option<&ConflictAnswer>) -> Arc<[u8]> {
    match answer {
        Some(known) => format!("{} at {} is {}", known.name, known.addr, known.status)
            .into_bytes()
            .into(),
        None => b"nil".as_slice().into(),
    }
}
