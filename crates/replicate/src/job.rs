//! A run of all flows: started together, told to stop together, ended when the last one has.
//!
//! In: [`Settings`]. Out: lines for the log, counters, and [`Ended`]. A reload is a job that is stopped and another that
//! is started. Shutdown: the stop ends every wait within a quarter of a second; a transaction under way is answered
//! first; then the sessions are destroyed, so that another replicator takes over at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tribune_api::client::{Client, ClientConfig, Patience, QueryOptions};

use crate::{
    feed::Feed,
    flow::{Clients, DESTINATION_SILENCE_MAX, Flow, FlowEnd, SOURCE_SILENCE_MAX},
    holder::Holder,
    host::{self, JoinHandle},
    meters::Meters,
    settings::{Endpoint, Log, Mirror, Settings, SettingsError},
    source::Question,
    writers::WRITERS,
};

/// Longest silence that the session's own calls bear: shorter than its time to live.
const SESSION_SILENCE_MAX: Duration = Duration::from_secs(8);

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every destination equals its source; only of single runs.
    Complete,
    /// As `Complete`, but for keys that were refused, or kept because an empty source was not believed.
    Incomplete,
    /// It was told to stop.
    Stopped,
    /// At least one flow was given up, for these reasons.
    Failed(Vec<String>),
}

/// Why a job did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An agent cannot be spoken to as the settings say: files of certificates, for instance.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running job. Dropping it lets its threads run until they notice the stop.
pub struct Job {
    flows: Vec<JoinHandle<()>>,
    holders: Vec<Arc<Holder>>,
    ends: Receiver<FlowEnd>,
    seen: Vec<FlowEnd>,
    stop: Arc<AtomicBool>,
    meters: Vec<Arc<Meters>>,
}

impl Job {
    /// Starts one flow per prefix and destination.
    pub fn start(settings: Settings, log: &Log) -> Result<Self, StartError> {
        let settings = Arc::new(settings);
        let stop = Arc::new(AtomicBool::new(false));
        let (tx, ends) = mpsc::channel();
        let mut job = Self {
            flows: Vec::new(),
            holders: Vec::new(),
            ends,
            seen: Vec::new(),
            stop: stop.clone(),
            meters: Vec::new(),
        };
        let question = |mirror: &Mirror| -> Result<Question, SettingsError> {
            Ok(Question {
                client: client("source", &mirror.from, SOURCE_SILENCE_MAX, Some(&stop))?,
                prefix: mirror.source.clone(),
                datacenter: mirror.from.datacenter.clone(),
                max_stale: settings.max_stale,
            })
        };
        let mut feeds = Vec::new();
        if settings.destinations.len() > 1 {
            for mirror in &settings.mirrors {
                feeds.push((Feed::new(), question(mirror)?));
            }
        }
        let mut ready = Vec::new();
        for destination in &settings.destinations {
            let patient = client("destination", destination, SESSION_SILENCE_MAX, None)?;
            let query = QueryOptions {
                datacenter: destination.datacenter.clone(),
                ..QueryOptions::default()
            };
            let holder = Arc::new(Holder::new(patient, query));
            job.holders.push(holder.clone());
            for (at, mirror) in settings.mirrors.iter().enumerate() {
                let there = || {
                    client(
                        "destination",
                        destination,
                        DESTINATION_SILENCE_MAX,
                        Some(&stop),
                    )
                };
                let clients = Clients {
                    destination: there()?,
                    writers: (0..WRITERS).map(|_| there()).collect::<Result<_, _>>()?,
                };
                let meters = Arc::new(Meters {
                    labels: [
                        mirror.source.clone(),
                        place(&mirror.from),
                        mirror.destination.clone(),
                        place(destination),
                    ],
                    ..Meters::default()
                });
                job.meters.push(meters.clone());
                ready.push(Flow {
                    mirror: mirror.clone(),
                    destination: destination.clone(),
                    settings: settings.clone(),
                    clients,
                    source: question(mirror)?,
                    seat: feeds.get(at).map(|(feed, _)| feed.seat()),
                    holder: holder.clone(),
                    meters,
                    stop: stop.clone(),
                    log: log.clone(),
                });
            }
        }
        for (feed, question) in feeds {
            let stop = stop.clone();
            let thread = host::spawn("feed", move || {
                feed.run(|index| question.ask(index), &stop);
            });
            match thread {
                // It ends with its flows.
                Ok(handle) => drop(handle),
                Err(e) => {
                    job.stop();
                    return Err(e.into());
                }
            }
        }
        for flow in ready {
            let tx = tx.clone();
            let thread = host::spawn("flow", move || {
                // Nobody listens any more only when the job was dropped.
                let _ = tx.send(flow.run());
            });
            match thread {
                Ok(handle) => job.flows.push(handle),
                Err(e) => {
                    job.stop();
                    return Err(e.into());
                }
            }
        }
        Ok(job)
    }

    /// The counters of all flows, in the order of destinations and prefixes.
    pub fn meters(&self) -> Vec<Arc<Meters>> {
        self.meters.clone()
    }

    /// Asks all flows to stop. [`Job::wait`] tells when they have.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Waits for the end, at most this long. At the end the locks are given back. To be called until it says so.
    pub fn wait(&mut self, longest: Duration) -> Option<Ended> {
        let start = host::now();
        while self.seen.len() < self.flows.len() {
            match self
                .ends
                .recv_timeout(longest.saturating_sub(start.elapsed()))
            {
                Ok(end) => self.seen.push(end),
                Err(RecvTimeoutError::Timeout) => return None,
                // A flow panicked; what the others said counts.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for flow in self.flows.drain(..) {
            if flow.join().is_err() {
                self.seen.push(FlowEnd::Failed(
                    "a flow ended by a fault of the program".to_owned(),
                ));
            }
        }
        for holder in &self.holders {
            holder.end();
        }
        Some(summary(&self.seen))
    }
}

fn summary(ends: &[FlowEnd]) -> Ended {
    let failures: Vec<String> = ends
        .iter()
        .filter_map(|end| match end {
            FlowEnd::Failed(why) => Some(why.clone()),
            _ => None,
        })
        .collect();
    if !failures.is_empty() {
        Ended::Failed(failures)
    } else if ends.contains(&FlowEnd::Stopped) {
        Ended::Stopped
    } else if ends.contains(&FlowEnd::Incomplete) {
        Ended::Incomplete
    } else {
        Ended::Complete
    }
}

/// The datacenter if one is named, else the agent's address.
fn place(endpoint: &Endpoint) -> String {
    match endpoint.datacenter.as_str() {
        "" => endpoint.describe(),
        dc => dc.to_owned(),
    }
}

fn client(
    what: &'static str,
    endpoint: &Endpoint,
    silence_max: Duration,
    stop: Option<&Arc<AtomicBool>>,
) -> Result<Client, SettingsError> {
    let config = ClientConfig {
        patience: Patience {
            silence_max: Some(silence_max),
            stop: stop.cloned(),
        },
        ..endpoint.config.clone()
    };
    Client::new(config).map_err(|source| SettingsError::Address {
        what,
        address: endpoint.describe(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_end_of_a_flow_is_the_end_of_the_job() {
        let failed = || FlowEnd::Failed("x".to_owned());
        for (ends, want) in [
            (vec![FlowEnd::Done, FlowEnd::Done], Ended::Complete),
            (vec![FlowEnd::Done, FlowEnd::Incomplete], Ended::Incomplete),
            (vec![FlowEnd::Incomplete, FlowEnd::Stopped], Ended::Stopped),
            (
                vec![FlowEnd::Stopped, failed()],
                Ended::Failed(vec!["x".to_owned()]),
            ),
        ] {
            assert_eq!(summary(&ends), want);
        }
    }
}
