//! Registrations through agents: what an agent acknowledged survives its restarts and arrives in the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_agent::Handle;
use tribune_types::caller::Caller;
use tribune_types::definition::ServiceDefinition;
use tribune_types::text::text;

use super::clients::{Outside, Sent};
use super::watchers::SERVICE;

/// How long a registration may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is known of an instance on one agent: its port, or that it is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    settled: Option<i64>,
    /// What was asked since, without an answer.
    tried: Vec<Option<i64>>,
}

/// What registrars know, by agent and instance.
#[derive(Debug, Default)]
pub(super) struct Registrations(Mutex<BTreeMap<(usize, String), Known>>);

impl Registrations {
    /// The machine of an agent was lost, with all that the agent had.
    pub(super) fn forget(&self, agent: usize) {
        self.0.lock().retain(|(of, _), _| *of != agent);
    }

    /// Compares with what agents have in the end.
    ///
    /// # Errors
    /// An instance that contradicts an acknowledgement.
    pub(super) fn check(&self, agent: usize, handle: &Handle) -> Result<(), String> {
        for ((of, id), known) in self.0.lock().iter() {
            if *of != agent {
                continue;
            }
            let found = handle.service(id).map(|found| found.service.port);
            if found != known.settled && !known.tried.contains(&found) {
                return Err(format!(
                    "agent {agent} has instance {id:?} with port {found:?}, known is {known:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Registers and deregisters instances, each with one agent, until the workload ends.
pub(super) async fn register(outside: Arc<Outside>, known: Arc<Registrations>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0x5e);
    let mut port = 1000;
    while !outside.stop.is_cancelled() {
        let agent = rng.random_range(0..outside.slots.len());
        let id = format!("web-{}", rng.random_range(0..2));
        port += 1;
        let wanted = rng.random_bool(0.75).then_some(port);
        let key = (agent, id.clone());
        known
            .0
            .lock()
            .entry(key.clone())
            .or_default()
            .tried
            .push(wanted);
        let sent = outside.ask(agent, PATIENCE, |handle| async move {
            let caller = Caller::internal();
            match wanted {
                Some(port) => {
                    let definition = ServiceDefinition {
                        id: text(&id),
                        name: text(SERVICE),
                        port,
                        ..ServiceDefinition::default()
                    };
                    handle.register_service(&caller, definition, false).await
                }
                None => handle.deregister_service(&caller, &id).await,
            }
        });
        match sent.await {
            Sent::Answered(Ok(()), _) => {
                known.0.lock().insert(
                    key,
                    Known {
                        settled: wanted,
                        tried: Vec::new(),
                    },
                );
            }
            Sent::Not => {
                if let Some(known) = known.0.lock().get_mut(&key) {
                    known.tried.pop();
                }
            }
            Sent::Answered(Err(_), _) | Sent::Lost => {}
        }
        let pause = Duration::from_millis(rng.random_range(100..800));
        outside.env.sleep(pause).await;
    }
}
