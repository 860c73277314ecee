//! What the UDP and TCP drivers share: from a packet to its answer, without waiting or with.
//!
//! [`Worker::answer_now`] serves what needs no waiting, with memory that is reused; what is left over goes to
//! [`answer_later`] in a task of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tribune_rt::Env;
use tribune_types::time::Mono;

use crate::catalog::Catalog;
use crate::message::{Parsed, Request, parse};
use crate::name::{Zone, zone_of};
use crate::options::Settings;
use crate::pick::Rng;
use crate::recursor::Recursors;
use crate::resolve::{Context, Fact, Facts, Lookup, Scratch, Step, fail_recursion, resolve};
use crate::shape::Transport;

/// A catalog lookup that takes longer has failed.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lookups and time for one question. What is still unknown then (an instance's host name, as a rule) counts as not
/// found out.
const LOOKUPS_MAX: usize = 32;
const LOOKUPS_TIME_MAX: Duration = Duration::from_secs(15);
/// A question cannot lead to more facts: the picked instances, times the depth of names.
const FACTS_MAX: usize = 8192;

/// What all driver tasks share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) catalog: Catalog,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) recursors: Recursors,
    /// Questions that wait for something; when used up, further ones are dropped.
    pub(crate) waiting: Arc<Semaphore>,
    /// The same for questions to other datacenters: those that cannot be reached use up nothing else.
    pub(crate) waiting_abroad: Arc<Semaphore>,
    pub(crate) meters: Meters,
}

/// Metrics, named once (spec dns.md 10). Times are milliseconds.
pub(crate) struct Meters {
    domain: metrics::Histogram,
    reverse: metrics::Histogram,
    dropped: metrics::Counter,
}

impl Meters {
    pub(crate) fn new(node: &str) -> Meters {
        let label = node.to_owned();
        Meters {
            domain: metrics::histogram!("dns.domain_query", "node" => label.clone()),
            reverse: metrics::histogram!("dns.ptr_query", "node" => label),
            dropped: metrics::counter!("tribune.dns.dropped_queries"),
        }
    }

    /// Counts a question that was dropped because too many wait.
    pub(crate) fn dropped(&self) {
        self.dropped.increment(1);
    }
}

/// A question that needs waiting.
pub(crate) struct Pending {
    request: Box<Request>,
    facts: Facts,
    next: Next,
    client: IpAddr,
    seed: u64,
    settings: Arc<Settings>,
    started_ns: u64,
}

enum Next {
    Lookup(Lookup),
    Forward,
}

/// Outcome of [`Worker::answer_now`].
pub(crate) enum Now {
    /// The answer was appended.
    Answered,
    /// Nothing is to be sent.
    Silence,
    /// Give it to [`answer_later`].
    Later(Box<Pending>),
}

/// Reused memory of one driver task.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    scratch: Scratch,
    facts: Facts,
    rng: Rng,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Worker {
        let rng = Rng::new(shared.env.random_u64());
        Worker {
            shared,
            scratch: Scratch::default(),
            facts: Facts::default(),
            rng,
        }
    }

    /// Answers a packet if nothing must be waited for.
    pub(crate) fn answer_now(
        &mut self,
        packet: &[u8],
        peer: IpAddr,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Now {
        let request = match parse(packet) {
            Parsed::Silence => return Now::Silence,
            Parsed::Refusal(bytes) => {
                out.extend_from_slice(&bytes);
                return Now::Answered;
            }
            Parsed::Request(request) => request,
        };
        let started_ns = self.shared.env.mono().0;
        let settings = self.shared.settings.load();
        let client = request.client(peer);
        let seed = self.rng.next();
        self.facts.clear();
        let now_unix = unix_seconds(&self.shared.env);
        loop {
            let context = Context {
                settings: &settings,
                facts: &self.facts,
                transport,
                client,
                now_unix,
                seed,
            };
            let next = match resolve(&request, &context, &mut self.scratch, out) {
                Step::Answered => {
                    self.shared.measure(&request, &settings, started_ns);
                    return Now::Answered;
                }
                Step::Forward => Next::Forward,
                Step::Need(lookup) => match self.shared.catalog.now(&lookup, &settings) {
                    Some(fact) => {
                        self.facts.add(lookup, fact);
                        continue;
                    }
                    None => Next::Lookup(lookup),
                },
            };
            let facts = std::mem::take(&mut self.facts);
            let settings = Arc::clone(&settings);
            return Now::Later(Box::new(Pending {
                request: Box::new(request),
                facts,
                next,
                client,
                seed,
                settings,
                started_ns,
            }));
        }
    }
}

impl Shared {
    /// The room in which a question waits.
    pub(crate) fn room(&self, pending: &Pending) -> &Arc<Semaphore> {
        match &pending.next {
            Next::Lookup(lookup) if lookup.is_abroad(&pending.settings.options.datacenter) => {
                &self.waiting_abroad
            }
            _ => &self.waiting,
        }
    }
}

/// Finishes a question, waiting for what it needs. A reload meanwhile does not affect it. Cancel safe.
pub(crate) async fn answer_later(
    shared: &Shared,
    packet: &[u8],
    pending: Pending,
    transport: Transport,
) -> Vec<u8> {
    let Pending {
        request,
        mut facts,
        mut next,
        client,
        seed,
        settings,
        started_ns,
    } = pending;
    let mut out = Vec::new();
    for count in 0..FACTS_MAX {
        let lookup = match next {
            Next::Lookup(lookup) => lookup,
            Next::Forward => {
                match shared
                    .recursors
                    .forward(packet, &request, transport, &settings)
                    .await
                {
                    Some(answer) => out = answer,
                    None => fail_recursion(&request, &mut Scratch::default(), &mut out),
                }
                return out;
            }
        };
        let spent =
            count >= LOOKUPS_MAX || shared.env.mono().since(Mono(started_ns)) > LOOKUPS_TIME_MAX;
        let fact = match &lookup {
            Lookup::Host(_) if spent => Fact::Host(Arc::default()),
            _ if spent => Fact::Failed,
            _ => shared.find_out(&lookup, &settings).await,
        };
        facts.add(lookup, fact);
        let now_unix = unix_seconds(&shared.env);
        let context = Context {
            settings: &settings,
            facts: &facts,
            transport,
            client,
            now_unix,
            seed,
        };
        next = match resolve(&request, &context, &mut Scratch::default(), &mut out) {
            Step::Answered => {
                shared.measure(&request, &settings, started_ns);
                return out;
            }
            Step::Forward => Next::Forward,
            Step::Need(lookup) => Next::Lookup(lookup),
        };
    }
    fail_recursion(&request, &mut Scratch::default(), &mut out);
    out
}

impl Shared {
    async fn find_out(&self, lookup: &Lookup, settings: &Settings) -> Fact {
        if let Lookup::Host(host) = lookup {
            return Fact::Host(self.recursors.host(host, settings).await.into());
        }
        if let Some(fact) = self.catalog.now(lookup, settings) {
            return fact;
        }
        self.env
            .timeout(LOOKUP_TIMEOUT, self.catalog.fetch(lookup, settings))
            .await
            .unwrap_or(Fact::Failed)
    }

    fn measure(&self, request: &Request, settings: &Settings, started_ns: u64) {
        let ms = self.env.mono().0.saturating_sub(started_ns) as f64 / 1e6;
        match zone_of(request.name.wire(), settings) {
            Zone::Own { .. } => self.meters.domain.record(ms),
            Zone::Reverse => self.meters.reverse.record(ms),
            Zone::Outside => {}
        }
    }
}

fn unix_seconds(env: &Env) -> u32 {
    // Serial numbers wrap (RFC 1982).
    (env.wall().unix_secs() & 0xffff_ffff) as u32
}
