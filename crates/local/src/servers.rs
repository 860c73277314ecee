//! The servers that a client agent may ask, and which of them is next (spec rpc.md section 4).
//!
//! In: the servers that are there, calls that failed, random numbers. Out: the first server. Everybody asks the first
//! one until it fails; then it goes to the end. Now and then the order is shuffled, so that the load of a datacenter
//! evens out after servers came and went.
//!
//! No clock and no randomness here: the driver hands in random numbers and sleeps for what [`rebalance_delay`] says.

use std::net::SocketAddr;
use std::time::Duration;

use tribune_types::id::NodeId;
use tribune_types::text::Text;

/// A server that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddr {
    /// Node name; unique in the datacenter.
    pub name: Text,
    /// Its server RPC.
    pub addr: SocketAddr,
    /// Its datacenter.
    pub datacenter: Text,
    /// Its identity, if it tells one and is of Tribune's kind.
    pub id: Option<NodeId>,
}

/// The order in which servers are asked.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    list: Vec<ServerAddr>,
}

impl Servers {
    /// Takes in the servers that are there now. Known ones keep their places, new ones are put at the end in random order,
    /// the others are forgotten. `below(n)` gives a random number below `n`.
    pub fn set(&mut self, there: Vec<ServerAddr>, below: &mut dyn FnMut(u64) -> u64) {
        let mut there: Vec<Option<ServerAddr>> = there.into_iter().map(Some).collect();
        self.list.retain_mut(|known| {
            let same = |new: &&mut Option<ServerAddr>| {
                new.as_ref().is_some_and(|new| new.name == known.name)
            };
            // The first of several entries of a name counts.
            match there.iter_mut().find(same).and_then(Option::take) {
                Some(new) => {
                    *known = new;
                    true
                }
                None => false,
            }
        });
        let old = self.list.len();
        for new in there.into_iter().flatten() {
            if self.list.iter().all(|known| known.name != new.name) {
                self.list.push(new);
            }
        }
        shuffle(&mut self.list[old..], below);
    }

    /// The server to ask.
    pub fn first(&self) -> Option<&ServerAddr> {
        self.list.first()
    }

    /// The first server that is not among `asked`.
    pub fn first_but(&self, asked: &[Text]) -> Option<&ServerAddr> {
        self.list
            .iter()
            .find(|server| !asked.contains(&server.name))
    }

    /// All servers, the next one first.
    pub fn all(&self) -> &[ServerAddr] {
        &self.list
    }

    /// True if this server is there, at this address.
    pub fn contains(&self, server: &ServerAddr) -> bool {
        self.list.contains(server)
    }

    /// A server did not answer as it should: if it is still the first, it becomes the last.
    pub fn on_failure(&mut self, name: &str) {
        if self.list.len() > 1 && self.list.first().is_some_and(|first| &*first.name == name) {
            self.list.rotate_left(1);
        }
    }

    /// Puts the servers in a new order. Afterwards the driver pings the first and reports failures until one answers, at
    /// most once per server.
    pub fn shuffle(&mut self, below: &mut dyn FnMut(u64) -> u64) {
        shuffle(&mut self.list, below);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

fn shuffle(list: &mut [ServerAddr], below: &mut dyn FnMut(u64) -> u64) {
    for last in (1..list.len()).rev() {
        let other = below(last as u64 + 1) as usize;
        list.swap(last, other.min(last));
    }
}

/// Until the first change of the order.
pub const FIRST_REBALANCE: Duration = Duration::from_secs(120);
/// A server may be asked to take this many new connections a second.
const CONNECTIONS_PER_SECOND: usize = 64;

/// Until the next change of the order: two to three minutes, and longer where so many agents share the servers that they
/// would get more than 64 new connections a second. `random` is in [0, 1).
pub fn rebalance_delay(members: usize, servers: usize, random: f64) -> Duration {
    let base = FIRST_REBALANCE + Duration::from_secs(60).mul_f64(random.clamp(0.0, 1.0));
    let shared = members / (CONNECTIONS_PER_SECOND * servers.max(1));
    base.max(Duration::from_secs(shared as u64))
}

/// Whether a failed request may be tried again (spec rpc.md section 3): without a leader nothing was done, and a read
/// does no harm twice. `ended`: the connection ended before the answer came. It may also have ended further on, between
/// servers; then the server says so in its error.
pub fn may_retry(error: &str, read: bool, ended: bool) -> bool {
    let ended_beyond = || {
        error.ends_with(": EOF")
            || error.contains("stream closed")
            || error.contains("session shutdown")
    };
    error.contains("No cluster leader") || (read && (ended || ended_beyond()))
}

/// Longest first pause before a request is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause before a request is tried again after `tries` tries that were; the pause itself is random. It doubles up
/// to a sixteenth of the hold time, which is the pause of the original from the beginning: a new leader is there sooner,
/// and the next server may know it.
pub fn retry_pause(tries: u32, hold: Duration) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(tries))
        .min(hold / 16)
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    fn server(name: &str, port: u16) -> ServerAddr {
        ServerAddr {
            name: text(name),
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            datacenter: text("dc1"),
            id: None,
        }
    }

    fn named(names: &[&str]) -> Vec<ServerAddr> {
        names.iter().map(|name| server(name, 8300)).collect()
    }

    fn order(servers: &Servers) -> Vec<String> {
        servers.list.iter().map(|s| s.name.to_string()).collect()
    }

    /// Leaves the order as it is.
    fn kept(n: u64) -> u64 {
        n - 1
    }

    #[test]
    fn only_the_first_server_goes_to_the_end_when_it_fails() {
        let mut servers = Servers::default();
        servers.on_failure("a");
        servers.set(named(&["a", "b", "c"]), &mut kept);
        servers.on_failure("b");
        assert_eq!(order(&servers), ["a", "b", "c"]);
        servers.on_failure("a");
        assert_eq!(order(&servers), ["b", "c", "a"]);
        // Two calls that failed at the same server move it once.
        servers.on_failure("a");
        assert_eq!(order(&servers), ["b", "c", "a"]);
        servers.set(named(&["b"]), &mut kept);
        servers.on_failure("b");
        assert_eq!(order(&servers), ["b"]);
    }

    #[test]
    fn who_was_asked_is_passed_over_whatever_the_order_has_become() {
        let mut servers = Servers::default();
        assert!(servers.first_but(&[]).is_none());
        servers.set(named(&["a", "b", "c"]), &mut kept);
        let mut asked = Vec::new();
        for want in ["a", "b", "c"] {
            let next = servers.first_but(&asked).unwrap().name.clone();
            assert_eq!(&*next, want);
            servers.on_failure(&next);
            asked.push(next);
        }
        assert!(servers.first_but(&asked).is_none());
        assert_eq!(servers.all().len(), 3);
    }

    #[test]
    fn known_servers_keep_their_places_and_new_ones_come_last() {
        let mut servers = Servers::default();
        servers.set(named(&["a", "b", "c"]), &mut kept);
        servers.on_failure("a");
        let mut there = named(&["d", "a", "c", "a"]);
        there[1] = server("a", 9300);
        servers.set(there, &mut kept);
        assert_eq!(order(&servers), ["c", "a", "d"]);
        assert_eq!(servers.list[1].addr.port(), 9300);
        assert!(servers.contains(&server("a", 9300)) && !servers.contains(&server("a", 8300)));
        servers.set(Vec::new(), &mut kept);
        assert!(servers.is_empty() && servers.first().is_none());
    }

    #[test]
    fn a_shuffle_loses_nobody_whatever_the_numbers() {
        let mut state = 1u64;
        let mut below = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        let mut servers = Servers::default();
        servers.set(named(&["a", "b", "c", "d", "e"]), &mut below);
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..200 {
            servers.shuffle(&mut |n| below(n) % n);
            firsts.insert(servers.list[0].name.to_string());
            let mut names = order(&servers);
            names.sort();
            assert_eq!(names, ["a", "b", "c", "d", "e"]);
        }
        assert_eq!(firsts.len(), 5);
    }

    #[test]
    fn the_order_changes_every_two_to_three_minutes_unless_there_are_very_many_agents() {
        // (members, servers, random, want seconds)
        for (members, servers, random, want) in [
            (0, 0, 0.0, 120),
            (3, 1, 0.5, 150),
            (3, 3, 1.0, 180),
            (10_000, 3, 0.0, 120),
            (10_000, 1, 0.0, 156),
            (100_000, 3, 0.0, 520),
        ] {
            let got = rebalance_delay(members, servers, random);
            assert_eq!(got.as_secs(), want, "{members} {servers} {random}");
        }
    }

    #[test]
    fn pauses_are_short_at_first_and_never_longer_than_those_of_the_original() {
        let hold = Duration::from_secs(7);
        let pauses: Vec<u128> = [0, 1, 2, 5, 6, 40]
            .map(|tries| retry_pause(tries, hold).as_micros())
            .into();
        assert_eq!(pauses, [10_000, 20_000, 40_000, 320_000, 437_500, 437_500]);
        assert_eq!(retry_pause(9, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn reads_are_tried_again_after_lost_connections_and_writes_only_without_a_leader() {
        // (error, read, ended, want)
        for (error, read, ended, want) in [
            (
                "rpc error making call: No cluster leader",
                false,
                false,
                true,
            ),
            ("rpc error making call: EOF", true, true, true),
            ("rpc error making call: EOF", false, true, false),
            (
                "rpc error making call: rpc error making call: EOF",
                true,
                false,
                true,
            ),
            (
                "rpc error making call: rpc error making call: EOF",
                false,
                false,
                false,
            ),
            (
                "rpc error making call: rpc error making call: session shutdown",
                true,
                false,
                true,
            ),
            (
                "rpc error making call: Permission denied",
                true,
                false,
                false,
            ),
            (
                "rpc error making call: i/o deadline reached",
                true,
                false,
                false,
            ),
        ] {
            assert_eq!(may_retry(error, read, ended), want, "{error}");
        }
    }
}
