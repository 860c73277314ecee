//! The own coordinate in the acks of this node, and the coordinates that others told in theirs (gossip.md section 8).

use std::collections::BTreeMap;
use std::time::Duration;

use tribune_types::coordinate::Coordinate;
use tribune_types::text::Text;

use crate::action::Action;
use crate::members::Row;
use crate::serf::Serf;
use crate::vivaldi::{Client, Latencies, Rejected};

/// Own position and those of the members that were measured: about 200 bytes for each of them.
#[derive(Debug)]
pub(crate) struct Coordinates {
    client: Client,
    moved: bool,
    known: BTreeMap<Row, Box<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    latencies: Latencies,
    position: Option<Coordinate>,
}

impl Coordinates {
    /// Nothing is known.
    pub(crate) fn new() -> Coordinates {
        Coordinates {
            client: Client::new(),
            moved: false,
            known: BTreeMap::new(),
        }
    }

    /// How often the own coordinate started anew.
    pub(crate) fn resets(&self) -> u64 {
        self.client.resets()
    }

    /// Forgets a member.
    pub(crate) fn forget(&mut self, row: Row) {
        self.known.remove(&row);
    }
}

impl Serf {
    /// Own position.
    pub fn coordinate(&self) -> &Coordinate {
        self.coordinates.client.position()
    }

    /// The last position another member told; the own one for the own name, once anything was measured.
    pub fn coordinate_of(&self, name: &str) -> Option<&Coordinate> {
        if name == &**self.swim.name() {
            return self.coordinates.moved.then(|| self.coordinate());
        }
        let row = self.members.find(name)?;
        self.coordinates.known.get(&row)?.position.as_ref()
    }

    /// A member answered a direct probe and told its coordinate.
    pub(crate) fn on_measured(
        &mut self,
        node: &Text,
        rtt: Duration,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) {
        let Some(row) = self.members.find(node) else {
            return;
        };
        let Some(other) = (self.codec.decode_coordinate)(payload) else {
            if !payload.is_empty() {
                self.warn(node, "malformed coordinate", out);
            }
            return;
        };
        self.tally.zero_rtts += u64::from(rtt.is_zero());
        let swim = &mut self.swim;
        let mut random = || swim.random_below(1 << 53) as f64 / (1u64 << 53) as f64;
        let known = self.coordinates.known.entry(row).or_default();
        let client = &mut self.coordinates.client;
        match client.update(&mut known.latencies, &other, rtt, &mut random) {
            Ok(moved) => {
                known.position = Some(other);
                self.coordinates.moved = true;
                out.push(Action::CoordinateMoved(moved));
                self.tell_coordinate();
            }
            Err(why) => {
                self.tally.coordinates_rejected += 1;
                let reason = match why {
                    Rejected::Dimensions => "coordinate of other dimensions",
                    Rejected::NotFinite => "coordinate that is no place",
                    Rejected::RoundTrip => "round trip out of range",
                };
                self.warn(node, reason, out);
            }
        }
    }

    /// Puts the own coordinate into the acks.
    pub(crate) fn tell_coordinate(&mut self) {
        let payload = (self.codec.encode_coordinate)(self.coordinates.client.position());
        self.swim.set_ack_payload(payload);
    }
}
