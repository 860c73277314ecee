//! The snapshot file: what a node must remember to find its pool again and not to replay what it has seen (gossip.md
//! section 7.11). A line per record; this module turns lines into records and back, files are the driver's.
//!
//! Lines that cannot be understood are passed over, and so is a last line that does not end: the process may have stopped
//! while it wrote.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tribune_serf::{Record, Restored};
use tribune_types::text::{Text, text};

/// Appends the line of a record.
pub fn render(record: &Record, out: &mut String) {
    match record {
        Record::Alive(name, addr) => out.extend(["alive: ", name, " ", &addr.to_string()]),
        Record::NotAlive(name) => out.extend(["not-alive: ", name]),
        Record::Clock(time) => out.extend(["clock: ", &time.to_string()]),
        Record::EventClock(time) => out.extend(["event-clock: ", &time.to_string()]),
        Record::QueryClock(time) => out.extend(["query-clock: ", &time.to_string()]),
        Record::Leave => out.push_str("leave"),
    }
    out.push('\n');
}

/// The record of a line without its end; `None` if it has none.
pub fn parse(line: &str) -> Option<Record> {
    if line == "leave" {
        return Some(Record::Leave);
    }
    let (word, rest) = line.split_once(": ")?;
    Some(match word {
        "alive" => {
            let (name, addr) = rest.rsplit_once(' ')?;
            Record::Alive(text(name), addr.parse().ok()?)
        }
        "not-alive" => Record::NotAlive(text(rest)),
        "clock" => Record::Clock(rest.parse().ok()?),
        "event-clock" => Record::EventClock(rest.parse().ok()?),
        "query-clock" => Record::QueryClock(rest.parse().ok()?),
        _ => return None,
    })
}

/// What a whole file remembers. A node that left by itself forgets everything, unless it wants to rejoin all the same.
pub fn restore(file: &[u8], rejoin_after_leave: bool) -> Restored {
    let mut restored = Restored::default();
    let mut alive: BTreeMap<Text, SocketAddr> = BTreeMap::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let Some(record) = str::from_utf8(line).ok().and_then(parse) else {
            continue;
        };
        match record {
            Record::Alive(name, addr) => _ = alive.insert(name, addr),
            Record::NotAlive(name) => _ = alive.remove(&name),
            Record::Clock(time) => restored.clock = time,
            Record::EventClock(time) => restored.event_clock = time,
            Record::QueryClock(time) => restored.query_clock = time,
            Record::Leave if rejoin_after_leave => {}
            Record::Leave => {
                alive.clear();
                restored = Restored::default();
            }
        }
    }
    restored.alive = alive.into_iter().collect();
    restored
}
