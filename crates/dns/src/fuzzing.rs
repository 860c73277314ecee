//! What the fuzz target needs to reach: the core over the catalog of the tests; built with `cfg(fuzzing)` only.

use std::collections::HashMap;

use crate::message::{Parsed, parse};
use crate::options::{DnsOptions, Settings};
use crate::resolve::{Context, Fact, Facts, Lookup, Scratch, Step, resolve};
use crate::shape::Transport;
use crate::world::World;

/// Facts kept over questions: the catalog of the tests is slow.
const KNOWN_MAX: usize = 256;

/// Answers questions from a fixed catalog, without recursors.
pub struct Core {
    world: World,
    settings: Settings,
    scratch: Scratch,
    known: HashMap<Lookup, Fact>,
}

impl Core {
    /// The catalog and the default settings.
    ///
    /// # Panics
    /// When the default settings are not valid.
    #[expect(clippy::new_without_default, reason = "it is no small thing to make")]
    pub fn new() -> Core {
        Core {
            world: World::captured("ref"),
            settings: Settings::new(DnsOptions::default()).expect("defaults are valid"),
            scratch: Scratch::default(),
            known: HashMap::new(),
        }
    }

    /// The answer to a packet; `None` for silence.
    ///
    /// # Panics
    /// When the core asks for what it cannot have.
    pub fn answer(&mut self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let request = match parse(packet) {
            Parsed::Silence => return None,
            Parsed::Refusal(bytes) => return Some(bytes),
            Parsed::Request(request) => request,
        };
        let mut facts = Facts::default();
        let mut out = Vec::new();
        loop {
            let context = Context {
                settings: &self.settings,
                facts: &facts,
                transport: if tcp { Transport::Tcp } else { Transport::Udp },
                client: std::net::IpAddr::from([127, 0, 0, 1]),
                now_unix: 1,
                seed: 1,
            };
            match resolve(&request, &context, &mut self.scratch, &mut out) {
                Step::Answered => return Some(out),
                Step::Forward => panic!("there are no recursors"),
                Step::Need(lookup) => {
                    let fact = self.fact(&lookup);
                    facts.add(lookup, fact);
                }
            }
        }
    }

    fn fact(&mut self, lookup: &Lookup) -> Fact {
        if let Some(fact) = self.known.get(lookup) {
            return fact.clone();
        }
        let fact = self
            .world
            .catalog(lookup, &self.settings)
            .expect("only the catalog is asked");
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(lookup.clone(), fact.clone());
        fact
    }
}
