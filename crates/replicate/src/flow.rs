//! One flow: a prefix of a source, mirrored to one destination for as long as the process lives, or once.
//!
//! ```text
//! resolve ─ acquire ─┬─> look ─> pass ─┬─ complete ─> status key ─ (once: done) ─ wait ─┐
//!    ^         ^     │                 ├─ again ───────────────────────────────────────┤
//!    │         │     └─────────────────┴─ refused, withheld ─ told ────────────────────┘
//!    └ failure, after a pause ┘ lock lost
//! ```
//!
//! Looking is a blocking query on the whole prefix, which is the only way HTTP tells of its changes; an answer whose
//! index did not move is dropped unread. The first pass of a process compares everything, so does each one after a
//! failure: an index alone does not say that the destination was left as it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tribune_api::client::{Client, Error, KvOperation, QueryOptions, Request};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    feed::{Seat, Seen},
    holder::{HoldError, Holder},
    host,
    meters::Meters,
    pass::{self, Judge, Pass, PassError, SOURCE},
    rules::{self, Rules},
    settings::{Endpoint, Level, Log, Mirror, Settings},
    source::{self, AskError, Question},
    status::{self, Status},
    writers::{Guard, Target, WriteError},
};

/// Longest wait for a change. A source that was restored while nobody waited is only noticed when this has passed, since
/// its index is below the one that is waited for.
pub(crate) const POLL: Duration = Duration::from_secs(120);
/// Pause before another look at a source whose answer came early and told nothing.
const EARLY_PAUSE: Duration = Duration::from_millis(500);
/// Silence beyond a wait after which an agent counts as gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a pause looks for a stop.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Longest silence that a source is granted: a blocking query's wait with the servers' own sixteenth, and the rest.
pub(crate) const SOURCE_SILENCE_MAX: Duration =
    Duration::from_secs(POLL.as_secs() + POLL.as_secs() / 16 + SILENCE.as_secs());
/// Longest silence that a destination is granted.
pub(crate) const DESTINATION_SILENCE_MAX: Duration = SILENCE;

/// How a flow ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FlowEnd {
    /// Once: the destination equals the source.
    Done,
    /// Once: some keys were refused or kept.
    Incomplete,
    /// Told to stop.
    Stopped,
    /// Given up.
    Failed(String),
}

/// What goes wrong on the way.
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("{0}")]
    Hold(#[from] HoldError),
    #[error("{0}")]
    Pass(#[from] PassError),
    #[error("{doing}: {source}")]
    Call {
        doing: &'static str,
        #[source]
        source: Error,
    },
    /// Trying again does not help.
    #[error("{0}")]
    Never(String),
}

/// Clients of a flow, each with a connection of its own.
pub(crate) struct Clients {
    pub(crate) destination: Client,
    pub(crate) writers: Vec<Client>,
}

/// A flow, ready to run.
pub(crate) struct Flow {
    pub(crate) mirror: Mirror,
    pub(crate) destination: Endpoint,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clients: Clients,
    pub(crate) source: Question,
    /// At the reading that this prefix's flows share, if there are several.
    pub(crate) seat: Option<Seat>,
    pub(crate) holder: Arc<Holder>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) log: Log,
}

/// What follows a pass.
enum Next {
    /// Nothing.
    End(FlowEnd),
    /// Another pass.
    Now,
    /// After the pause between passes, another one when the source is not at this index any more.
    After(u64),
}

/// What becomes known when both sides have answered.
struct Place {
    rules: Rules,
    source_datacenter: String,
    status_key: String,
    lock_key: String,
}

impl Flow {
    /// Runs to its end.
    pub(crate) fn run(&self) -> FlowEnd {
        let mut failures = 0;
        let end = loop {
            let round = self.round(&mut failures);
            self.meters.active.store(false, Relaxed);
            self.meters.pass_keys.store(0, Relaxed);
            if self.is_stopped() {
                break FlowEnd::Stopped;
            }
            let error = match round {
                Ok(end) => break end,
                Err(error) => error,
            };
            if let FlowError::Pass(PassError::Write(WriteError::LostLock(why))) = &error {
                self.say(Level::Warn, &format!("the lock was lost: {why}"));
                // Standing in line again is not a failure; a refused line pauses by itself.
                self.pause(STOP_LOOK);
                continue;
            }
            failures += 1;
            self.meters.errors.fetch_add(1, Relaxed);
            let is_over = self.settings.retry.is_over(failures);
            if is_over || matches!(error, FlowError::Never(_)) {
                break FlowEnd::Failed(error.to_string());
            }
            let pause = self.settings.retry.pause(failures);
            let text = format!("{error}; trying again in {} ms", pause.as_millis());
            self.say(Level::Warn, &text);
            self.pause(pause);
        };
        if let FlowEnd::Failed(why) = &end {
            self.say(Level::Error, why);
        }
        end
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn say(&self, level: Level, text: &str) {
        (self.log)(level, &format!("{}: {text}", self.meters.name()));
    }

    fn pause(&self, length: Duration) {
        let start = host::now();
        while !self.is_stopped() && start.elapsed() < length {
            host::sleep(STOP_LOOK.min(length));
        }
    }

    fn source_query(&self) -> QueryOptions {
        QueryOptions {
            datacenter: self.mirror.from.datacenter.clone(),
            ..QueryOptions::default()
        }
    }

    fn destination_query(&self) -> QueryOptions {
        QueryOptions {
            datacenter: self.destination.datacenter.clone(),
            ..QueryOptions::default()
        }
    }

    /// From asking for the lock to the first failure, or the end.
    fn round(&self, failures: &mut u32) -> Result<FlowEnd, FlowError> {
        let place = self.resolve()?;
        let query = self.destination_query();
        let held = self.holder.acquire(
            &self.clients.destination,
            &place.lock_key,
            &self.meters.name(),
            &|| self.is_stopped(),
            &self.log,
        )?;
        let Some(session) = held else {
            return Ok(FlowEnd::Stopped);
        };
        self.meters.active.store(true, Relaxed);
        let guard = Guard {
            key: place.lock_key.clone(),
            session,
        };
        let lead = self.lead(&place, &query, &guard, failures);
        if let Err(FlowError::Pass(PassError::Write(WriteError::LostLock(_)))) = &lead {
            self.holder.forget(&guard.session);
        }
        lead
    }

    /// Asks both sides who they are.
    fn resolve(&self) -> Result<Place, FlowError> {
        let datacenter = |client: &Client, given: &str, doing| match given {
            "" => match client.agent_self() {
                Ok(agent) => Ok(agent.config_text("Datacenter").to_owned()),
                // Its token may not ask; the name only serves to tell places apart.
                Err(e) if e.status() == Some(403) => Ok(String::new()),
                Err(source) => Err(FlowError::Call { doing, source }),
            },
            given => Ok(given.to_owned()),
        };
        let from = &self.mirror.from;
        let source_datacenter = datacenter(
            &self.source.client,
            &from.datacenter,
            "source: cannot ask the agent",
        )?;
        let there = datacenter(
            &self.clients.destination,
            &self.destination.datacenter,
            "destination: cannot ask the agent",
        )?;
        let (source, destination) = (&self.mirror.source, &self.mirror.destination);
        if source_datacenter == there
            && rules::overlap(source, destination)
            && self.is_one_cluster(source == destination)
        {
            return Err(FlowError::Never(format!(
                "source {source:?} and destination {destination:?} overlap within one datacenter"
            )));
        }
        let name = status::digest(destination);
        let status_key = format!("{}/{name}", self.settings.status_dir);
        Ok(Place {
            rules: Rules {
                source: source.clone(),
                destination: destination.clone(),
                excludes: self.settings.excludes.clone(),
                exclude_matches: self.settings.exclude_matches.clone(),
                status_dir: self.settings.status_dir.clone(),
            },
            source_datacenter,
            lock_key: format!("{status_key}/.lock"),
            status_key,
        })
    }

    /// Whether both sides, of one datacenter's name, are one cluster. Agents at different addresses are compared by
    /// their leaders' address, unless that is one that many machines have, or the copy would be harmless.
    fn is_one_cluster(&self, is_same_prefix: bool) -> bool {
        if self.mirror.from.config.address == self.destination.config.address {
            return true;
        }
        if is_same_prefix {
            return false;
        }
        let leader = |client: &Client, query: &QueryOptions| -> Option<String> {
            let request = Request::new("GET", "/v1/status/leader").write_options(query);
            let leader: String = client.query(request).ok()?.0;
            Some(leader).filter(|text| !text.is_empty() && !text.starts_with("127."))
        };
        let from = leader(&self.source.client, &self.source_query());
        from.is_some() && from == leader(&self.clients.destination, &self.destination_query())
    }

    /// Passes while the lock is held.
    fn lead(
        &self,
        place: &Place,
        query: &QueryOptions,
        guard: &Guard,
        failures: &mut u32,
    ) -> Result<FlowEnd, FlowError> {
        let mut known = self.read_status(place, query)?;
        if let Some(status) = &known {
            self.meters.keys_expected.store(status.keys, Relaxed);
        }
        self.say(Level::Info, "active");
        let (mut index, mut alone) = (0, false);
        loop {
            if self.is_stopped() {
                return Ok(FlowEnd::Stopped);
            }
            let answer = match self.look(index, alone)? {
                Seen::Listing(answer) => answer,
                Seen::Nothing { early } => {
                    if early {
                        // Servers let go of those who wait when their state is replaced by a restored one, and may answer
                        // with what was there before. The next look compares all.
                        self.pause(EARLY_PAUSE);
                        index = 0;
                    }
                    continue;
                }
            };
            let (seen, behind) = (answer.index, answer.behind.clone());
            let last = known.as_ref().map_or(0, |status| status.last_replicated);
            if seen < last {
                let text =
                    format!("the source's index went back from {last} to {seen}, starting over");
                self.say(Level::Info, &text);
            }
            let outcome = self.pass(place, answer, query, guard, known.as_ref());
            alone = behind.is_some_and(|behind| behind.load(Relaxed));
            if alone && let Err(FlowError::Pass(PassError::Listing { side: SOURCE, .. })) = &outcome
            {
                let text = "slower than the other destinations, reading the source by itself";
                self.say(Level::Info, text);
                index = 0;
                continue;
            }
            let outcome = outcome?;
            if let Pass::Complete { keys } = outcome {
                known = Some(self.write_status(place, query, guard, seen, keys)?);
            }
            match self.settle(&outcome, seen, failures) {
                Next::End(end) => return Ok(end),
                Next::Now => index = 0,
                Next::After(there) => {
                    index = there;
                    self.pause(self.settings.wait);
                }
            }
        }
    }

    /// Waits for a listing unlike the one of `index` (0: any), with the other flows of this prefix unless `alone`.
    fn look(&self, index: u64, alone: bool) -> Result<Seen, FlowError> {
        let shared = { self.seat.as_ref() }.filter(|_| !alone);
        if let Some(seen) = shared.and_then(|seat| seat.look(index, &self.stop)) {
            return Ok(seen.map_err(PassError::AskSource)?);
        }
        let asked = host::now();
        let answer = self.source.ask(index).map_err(PassError::AskSource)?;
        if index == 0 || answer.index != index {
            return Ok(Seen::Listing(answer));
        }
        let early = asked.elapsed() < POLL;
        Ok(Seen::Nothing { early })
    }

    /// Tells what came of a pass, and decides how to go on.
    fn settle(&self, outcome: &Pass, seen: u64, failures: &mut u32) -> Next {
        let (text, index) = match outcome {
            Pass::Complete { .. } => {
                *failures = 0;
                return match self.settings.once {
                    true => Next::End(FlowEnd::Done),
                    false => Next::After(seen),
                };
            }
            Pass::Again => return Next::Now,
            Pass::Refused(refused) => {
                for (key, why) in &refused.examples {
                    let text = format!("the destination refuses {key:?}: {}", why.trim());
                    self.say(Level::Warn, &text);
                }
                let text = format!("{} keys were refused, deletions wait", refused.count);
                (text, 0)
            }
            Pass::Withheld(kept) => {
                let text = format!(
                    "the source has no key, but nothing shows that keys were removed there: {kept} keys are kept \
                     (-allow-empty deletes them)"
                );
                (text, seen)
            }
            Pass::Hidden(kept) => {
                let text = format!(
                    "the source's token may not read {kept} keys that the destination has: they are kept"
                );
                (text, seen)
            }
        };
        self.say(Level::Warn, &text);
        if self.settings.once {
            return Next::End(FlowEnd::Incomplete);
        }
        if matches!(outcome, Pass::Refused(_)) {
            // Another pass without news would be refused just so.
            *failures = failures.saturating_add(1);
            self.pause(self.settings.retry.pause(*failures));
        }
        Next::After(index)
    }

    fn pass(
        &self,
        place: &Place,
        answer: source::Answer,
        query: &QueryOptions,
        guard: &Guard,
        known: Option<&Status>,
    ) -> Result<Pass, FlowError> {
        let seen = answer.index;
        let before = self.meters.counts();
        let start = host::now();
        let target = Target {
            clients: &self.clients.writers,
            query,
            guard,
            meters: &self.meters,
        };
        let judge = Doubt {
            flow: self,
            known,
            seen,
        };
        let outcome = pass::run(
            &place.rules,
            answer,
            &self.clients.destination,
            &target,
            &self.stop,
            &judge,
        );
        self.meters.pass_keys.store(0, Relaxed);
        let outcome = outcome?;
        let after = self.meters.counts();
        let (written, deleted) = (
            after.written - before.written,
            after.deleted - before.deleted,
        );
        let level = if written + deleted > 0 {
            Level::Info
        } else {
            Level::Debug
        };
        let text = format!(
            "index {seen}: {written} keys written, {deleted} deleted, {} were equal, {} ms",
            after.same - before.same,
            start.elapsed().as_millis()
        );
        self.say(level, &text);
        Ok(outcome)
    }

    fn read_status(
        &self,
        place: &Place,
        query: &QueryOptions,
    ) -> Result<Option<Status>, FlowError> {
        let (pair, _) = self
            .clients
            .destination
            .kv_get(&place.status_key, query)
            .map_err(|source| FlowError::Call {
                doing: "destination: cannot read the status key",
                source,
            })?;
        let Some(pair) = pair else { return Ok(None) };
        let status = Status::read(pair.bytes());
        if status.is_none() {
            let text = format!(
                "the status key {} is unreadable and ignored",
                place.status_key
            );
            self.say(Level::Warn, &text);
        }
        Ok(status.filter(|status| status.is_of(&place.rules.source, &place.source_datacenter)))
    }

    fn write_status(
        &self,
        place: &Place,
        query: &QueryOptions,
        guard: &Guard,
        index: u64,
        keys: u64,
    ) -> Result<Status, FlowError> {
        let status = Status {
            last_replicated: index,
            source: place.rules.source.clone(),
            datacenter: place.source_datacenter.clone(),
            destination: place.rules.destination.clone(),
            keys,
        };
        let set = KvOperation {
            verb: "set",
            key: place.status_key.clone(),
            value: STANDARD.encode(status.render()),
            ..KvOperation::default()
        };
        let written = self
            .clients
            .destination
            .kv_txn(&[guard.check(), set], query)
            .map_err(|source| FlowError::Call {
                doing: "destination: cannot write the status key",
                source,
            })?;
        if let Err(problems) = written {
            let why = problems.into_iter().next().unwrap_or_default();
            return Err(match why.op_index {
                0 => PassError::Write(WriteError::LostLock(why.what)).into(),
                _ => FlowError::Never(format!("cannot write the status key: {}", why.what)),
            });
        }
        let meters = &self.meters;
        meters.passes.fetch_add(1, Relaxed);
        meters.source_index.store(index, Relaxed);
        meters.keys_expected.store(keys, Relaxed);
        meters.last_success.store(host::unix_secs(), Relaxed);
        Ok(status)
    }
}

/// What a flow knows when a pass asks whether to delete.
struct Doubt<'a> {
    flow: &'a Flow,
    known: Option<&'a Status>,
    /// Index of the listing.
    seen: u64,
}

impl Judge for Doubt<'_> {
    fn believes_in_nothing(&self) -> Result<bool, AskError> {
        if self.flow.settings.allow_empty {
            return Ok(true);
        }
        if !status::emptiness_is_news(self.known, self.seen) {
            return Ok(false);
        }
        // A second look, this time confirmed by a majority of the source's servers.
        let options = QueryOptions {
            consistent: true,
            ..self.flow.source_query()
        };
        let client = &self.flow.source.client;
        let again = source::list(client, &self.flow.mirror.source, &options)?;
        Ok(again.body.is_none() && again.index >= self.seen)
    }

    fn can_see(&self, keys: &[String]) -> Result<Option<Vec<bool>>, AskError> {
        source::may_read(&self.flow.source.client, keys, &self.flow.source_query())
    }
}
