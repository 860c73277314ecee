//! The end of a world: what clients, watchers and registrars saw is checked against what is there, and all agents end.

use std::sync::Arc;
use std::time::Duration;

use tribune_types::query::{Consistency, ReadOptions};

use super::node::SHUTDOWN_LIMIT;
use super::{Bug, CLIENTS, PATIENCE, Report, World, clients, watchers};

impl World {
    /// Checks what clients, watchers and registrars saw against what is there now.
    ///
    /// # Errors
    /// What must not be.
    pub fn check_clients(&mut self) -> Result<Report, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let mut report = Report {
            faults: self.faults,
            moved: self.offices.counts().0,
            kept: self.offices.counts().1,
            ..Report::default()
        };
        for dc in 0..self.dcs.len() {
            let of_dc = self.check_clients_of(dc);
            report.add(&of_dc.map_err(|what| format!("in {}: {what}", self.dcs[dc].name))?);
        }
        report.virtual_ms = self.now_ms();
        Ok(report)
    }

    fn check_clients_of(&mut self, dc: usize) -> Result<Report, String> {
        self.read_all(dc)?;
        let history = Arc::clone(&self.dcs[dc].outside.history);
        let ops = history.ops();
        let summary = crate::linear::check(&ops).map_err(|violation| violation.to_string())?;
        history.check_stale()?;
        self.watchers_have_seen_all(dc)?;
        let dc = &self.dcs[dc];
        for (number, node) in self.nodes[dc.machines.clone()].iter().enumerate() {
            if let Some(live) = node.slot.live() {
                dc.registrations.check(number, &live.handle)?;
            }
        }
        let answers = { dc.watchers.iter() }.map(|watcher| watcher.known.lock().answers);
        Ok(Report {
            ops: ops.len(),
            answered: ops
                .iter()
                .filter(|op| op.answer != crate::linear::Answer::Unknown)
                .count(),
            undecided: summary.undecided.len(),
            failed: history.failed_count(),
            watched: answers.sum(),
            terms: dc.seen.terms(),
            states: dc.seen.states(),
            ..Report::default()
        })
    }

    /// A last read of every key: what was acknowledged is there.
    fn read_all(&mut self, dc: usize) -> Result<(), String> {
        for key in clients::keys() {
            let mut agent = 0;
            let outside = Arc::clone(&self.dcs[dc].outside);
            let wanted = key.clone();
            self.until_async(&format!("an answer for {key}"), || {
                agent = (agent + 1) % outside.slots.len();
                let (outside, key) = (Arc::clone(&outside), wanted.clone());
                async move { outside.read_last(CLIENTS, agent, &key).await }
            })?;
        }
        Ok(())
    }

    /// Waits until every watcher shows what is there.
    fn watchers_have_seen_all(&mut self, dc: usize) -> Result<(), String> {
        for watcher in self.dcs[dc].watchers.clone() {
            let outside = Arc::clone(&self.dcs[dc].outside);
            let seen = Arc::clone(&watcher);
            let what = format!("{} sees the last change", watcher.name);
            self.until_async(&what, || {
                let (outside, watcher) = (Arc::clone(&outside), Arc::clone(&seen));
                async move {
                    let options = ReadOptions {
                        consistency: Consistency::Consistent,
                        ..ReadOptions::default()
                    };
                    let read = outside.read(0, watcher.what.query(), options, PATIENCE);
                    let Some((answer, _)) = read.await else {
                        return false;
                    };
                    let there = watchers::content(answer.reply());
                    watcher.known.lock().content == there
                }
            })?;
        }
        Ok(())
    }

    /// Tries again until it works, for half a minute.
    pub(super) fn until_async<F: Future<Output = bool>>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), String> {
        for _ in 0..300 {
            if self.runtime.block_on(attempt()) {
                return Ok(());
            }
            for _ in 0..5 {
                self.step()?;
            }
        }
        let state = self.describe();
        Err(format!("never: {what}\n{state}"))
    }

    /// Ends all agents in order.
    ///
    /// # Errors
    /// A task that outlives its agent.
    pub fn shutdown(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        // Clients and servers at once, as when a whole datacenter is turned off.
        let ends = self.nodes.iter_mut().map(|node| node.shutdown(false));
        let ends: Vec<_> = ends.collect();
        if self.bug == Some(Bug::LeakedTask)
            && let Some(live) = self.nodes.first().and_then(|node| node.slot.live())
        {
            live.env.spawn("leak", std::future::pending::<()>());
        }
        let env = self.env.clone();
        let all = self.runtime.block_on(env.timeout(SHUTDOWN_LIMIT, async {
            for end in ends.into_iter().flatten() {
                // A process that ended otherwise is as good.
                let _ = end.await;
            }
        }));
        all.map_err(|_| "agents do not end".to_owned())?;
        // What ends with the agents needs a turn or two. Requests belong to the clients: with other datacenters gone, too,
        // they end when nobody there is left to be asked.
        self.runtime.block_on(env.sleep(Duration::from_secs(1)));
        for _ in 0..30 {
            if self.wan.is_none() || self.nodes.iter().all(|node| node.task_names().is_empty()) {
                break;
            }
            self.runtime.block_on(env.sleep(Duration::from_secs(1)));
        }
        for node in &self.nodes {
            let left = node.task_names();
            if !left.is_empty() {
                return Err(format!("tasks of {} outlive it: {left:?}", node.label()));
            }
        }
        Ok(())
    }
}
