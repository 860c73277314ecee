//! The log store as the consensus library sees it.

use std::io;

use openraft::storage::{LogState, RaftLogStorage};
use tokio::sync::oneshot;

use super::index::Cached;
use super::{Done, LogReader, LogStore, Op};
use crate::codec;
use crate::types::{Entry, IoFlushed, LogId, TypeConfig, Vote};
use crate::wal::{Item, Spot};

impl LogStore {
    /// Forgets everything up to `spot`; returns when that is durable.
    pub(crate) async fn forget(&self, spot: Spot) -> io::Result<()> {
        self.0.state.lock().index.purge(spot);
        self.persist(vec![Item::Purge(spot)]).await
    }

    /// Queues `items` and waits until they are durable.
    async fn persist(&self, items: Vec<Item>) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        let refused = {
            let mut state = self.0.state.lock();
            let op = Op {
                items,
                done: Done::Oneshot(tx),
            };
            self.0
                .submit(&mut state, op)
                .map(|done| (done, self.0.outcome(&state)))
        };
        match refused {
            Some((done, outcome)) => done.complete(&outcome),
            None => self.0.wake(),
        }
        rx.await.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the log writer is gone",
            ))
        })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.0.state.lock();
        Ok(LogState {
            last_purged_log_id: state.index.facts().purged.map(codec::log_id_from_spot),
            last_log_id: state.index.last().map(codec::log_id_from_spot),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(self.0.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let record = codec::vote_to_record(vote);
        self.persist(vec![Item::Vote(record)]).await?;
        self.0.state.lock().index.facts_mut().vote = Some(record);
        Ok(())
    }

    /// Never synced for its own sake: it only shortens what is held back at the next start.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut state = self.0.state.lock();
        state.index.facts_mut().committed = committed.map(|id| codec::log_id_to_spot(&id));
        state.committed_to_write = true;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.0.state.lock();
        // It may be older than what was cut and rewritten since, never newer than the log.
        let last = state.index.last();
        let committed = state.index.facts().committed;
        Ok(committed
            .filter(|spot| last.is_some_and(|last| spot.index <= last.index))
            .map(codec::log_id_from_spot))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter();
        let mut items = Vec::with_capacity(entries.size_hint().0);
        for entry in entries {
            let (index, term, kind, payload) = codec::entry_into_parts(entry);
            items.push(Item::Entry {
                index,
                term,
                kind,
                payload,
            });
        }
        let refused = {
            let mut state = self.0.state.lock();
            for item in &items {
                let Item::Entry {
                    index,
                    term,
                    kind,
                    payload,
                } = item
                else {
                    continue;
                };
                let cached = Cached {
                    term: *term,
                    kind: *kind,
                    payload: payload.clone(),
                };
                if !state.index.push(*index, cached) {
                    let next = state.index.next();
                    return Err(io::Error::other(format!(
                        "entry {index} does not follow: the next is {next}"
                    )));
                }
            }
            let op = Op {
                items,
                done: Done::Callback(callback),
            };
            self.0
                .submit(&mut state, op)
                .map(|done| (done, self.0.outcome(&state)))
        };
        match refused {
            Some((done, outcome)) => done.complete(&outcome),
            None => self.0.wake(),
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let next = last_log_id.map_or(0, |id| id.index + 1);
        self.0.state.lock().index.truncate(next);
        self.persist(vec![Item::Truncate { next }]).await
    }

    /// Returns before it is durable: a purge that is lost is done again.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let spot = codec::log_id_to_spot(&log_id);
        let queued = {
            let mut state = self.0.state.lock();
            state.index.purge(spot);
            let op = Op {
                items: vec![Item::Purge(spot)],
                done: Done::Nobody,
            };
            self.0.submit(&mut state, op).is_none()
        };
        if queued {
            self.0.wake();
        }
        Ok(())
    }
}
