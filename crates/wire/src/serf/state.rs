//! The part of an exchanged state that is Serf's (gossip.md sections 7.1 and 7.7).
//!
//! It comes out of a stream of up to 20 MiB. What is decoded takes [`MEMORY_MAX`] at most: half a million members.

use tribune_serf::{EventSlot, LTime, StateExchange};
use tribune_types::text::Text;

use super::{Malformed, body, kind};
use crate::msgpack::Reader;
use crate::msgpack::encode::{put_array, put_map, put_nil, put_raw, put_str, put_uint};

/// Bytes of memory that a decoded state takes at most, counted generously.
const MEMORY_MAX: usize = 48 * 1024 * 1024;

/// Appends the state with its type byte. Slots at or beyond `event_slots` are left out.
pub fn encode_state(state: &StateExchange, out: &mut Vec<u8>) {
    out.push(kind::PUSH_PULL);
    out.extend_from_slice(b"\x86\xaaEventLTime");
    put_uint(out, state.event_ltime);
    out.extend_from_slice(b"\xa6Events");
    put_events(state, out);
    out.extend_from_slice(b"\xa5LTime");
    put_uint(out, state.ltime);
    out.extend_from_slice(b"\xabLeftMembers");
    put_array(out, state.left.len() as u32);
    for name in &state.left {
        put_str(out, name);
    }
    out.extend_from_slice(b"\xaaQueryLTime");
    put_uint(out, state.query_ltime);
    out.extend_from_slice(b"\xacStatusLTimes");
    put_map(out, state.status_ltimes.len() as u32);
    for (name, ltime) in &state.status_ltimes {
        put_str(out, name);
        put_uint(out, *ltime);
    }
}

fn put_events(state: &StateExchange, out: &mut Vec<u8>) {
    if state.event_slots == 0 {
        return put_nil(out);
    }
    // By place on the wire; they are kept by time.
    let mut slots: Vec<&EventSlot> = state
        .events
        .iter()
        .filter(|slot| slot.at < state.event_slots)
        .collect();
    slots.sort_by_key(|slot| slot.at);
    slots.dedup_by_key(|slot| slot.at);
    put_array(out, state.event_slots as u32);
    let mut next = 0;
    for slot in slots {
        out.resize(out.len() + slot.at - next, 0xc0);
        next = slot.at + 1;
        out.extend_from_slice(b"\x82\xa6Events");
        put_array(out, slot.events.len() as u32);
        for (name, payload) in &slot.events {
            out.extend_from_slice(b"\x82\xa4Name");
            put_str(out, name);
            out.extend_from_slice(b"\xa7Payload");
            put_raw(out, payload);
        }
        out.extend_from_slice(b"\xa5LTime");
        put_uint(out, slot.ltime);
    }
    out.resize(out.len() + state.event_slots - next, 0xc0);
}

/// Reads a state with its type byte.
///
/// # Errors
/// See [`Malformed`].
pub fn decode_state(bytes: &[u8]) -> Result<StateExchange, Malformed> {
    const NAMES: [&str; 6] = [
        "LTime",
        "StatusLTimes",
        "LeftMembers",
        "EventLTime",
        "Events",
        "QueryLTime",
    ];
    let mut state = StateExchange::default();
    let mut room = Room(MEMORY_MAX);
    body(kind::PUSH_PULL, bytes)?.fields(NAMES, |at, r| {
        match at {
            0 => state.ltime = r.uint()?,
            1 => state.status_ltimes = status_ltimes(r, &mut room)?,
            2 => state.left = names(r, &mut room)?,
            3 => state.event_ltime = r.uint()?,
            4 => (state.events, state.event_slots) = events(r, &mut room)?,
            _ => state.query_ltime = r.uint()?,
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(state)
}

/// Memory that is left.
struct Room(usize);

impl Room {
    /// Takes what an element of a vector and `bytes` bytes on the heap need.
    fn take<T>(&mut self, bytes: usize) -> Result<(), Malformed> {
        let need = size_of::<T>()
            + if bytes == 0 {
                0
            } else {
                16 + bytes.next_multiple_of(16)
            };
        self.0 = self
            .0
            .checked_sub(need)
            .ok_or(Malformed::Memory(MEMORY_MAX))?;
        Ok(())
    }
}

fn status_ltimes(
    reader: &mut Reader<'_>,
    room: &mut Room,
) -> Result<Vec<(Text, LTime)>, Malformed> {
    let mut times: Vec<(Text, LTime)> = Vec::new();
    reader.pairs(|name, r| {
        room.take::<(Text, LTime)>(name.len())?;
        times.push((tribune_types::text::text(&name), r.uint()?));
        Ok::<(), Malformed>(())
    })?;
    // Real agents do not sort. The last of equal names wins, as in a map.
    if !times.is_sorted_by(|a, b| a.0 < b.0) {
        times.sort_by(|a, b| a.0.cmp(&b.0));
        times.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
    }
    Ok(times)
}

fn names(reader: &mut Reader<'_>, room: &mut Room) -> Result<Vec<Text>, Malformed> {
    let mut names = Vec::new();
    reader.list(|_, r| {
        let name = r.str()?;
        room.take::<Text>(name.len())?;
        names.push(tribune_types::text::text(&name));
        Ok::<(), Malformed>(())
    })?;
    Ok(names)
}

fn events(reader: &mut Reader<'_>, room: &mut Room) -> Result<(Vec<EventSlot>, usize), Malformed> {
    let mut slots = Vec::new();
    let count = reader.list(|at, r| {
        if r.rest().first() == Some(&0xc0) {
            return Ok(r.skip()?);
        }
        room.take::<EventSlot>(0)?;
        let mut slot = EventSlot {
            at,
            ltime: 0,
            events: Vec::new(),
        };
        r.fields(["LTime", "Events"], |at, r| {
            match at {
                0 => slot.ltime = r.uint()?,
                _ => {
                    slot.events.clear();
                    r.list(|_, r| {
                        slot.events.push(event(r, room)?);
                        Ok::<(), Malformed>(())
                    })?;
                }
            }
            Ok::<(), Malformed>(())
        })?;
        slots.push(slot);
        Ok::<(), Malformed>(())
    })?;
    Ok((slots, count))
}

type Event = (Text, std::sync::Arc<[u8]>);

fn event(reader: &mut Reader<'_>, room: &mut Room) -> Result<Event, Malformed> {
    let mut event = Event::default();
    reader.fields(["Name", "Payload"], |at, r| {
        match at {
            0 => event.0 = r.text()?,
            _ => event.1 = r.blob()?,
        }
        Ok::<(), Malformed>(())
    })?;
    room.take::<Event>(event.0.len() + event.1.len())?;
    Ok(event)
}
