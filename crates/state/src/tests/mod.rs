//! Tests over the public interface: commands in, outcomes, replies, indexes and touched keys out.

mod catalog;
mod keys;
mod prepared;
mod property;
mod sessions;
mod snapshot;
mod transactions;

use tribune_types::catalog::{Check, Deregister, Register, Service, Status};
use tribune_types::command::{Command, Outcome};
use tribune_types::id::{Index, NodeId, SessionId, Uuid};
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, Reply, ServiceQuery};
use tribune_types::session::Session;
use tribune_types::text::{Text, text};

use crate::{Applied, ReadContext, State, WatchKeys};

/// A state that counts indexes by itself.
#[derive(Default)]
struct Bench {
    state: State,
    index: u64,
}

impl Bench {
    fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.state.apply(Index(self.index), command)
    }

    /// Applies a command that must not be refused.
    #[track_caller]
    fn done(&mut self, command: Command) -> Applied {
        let applied = self.apply(command);
        assert!(
            !matches!(applied.outcome, Outcome::Refused(_)),
            "{:?}",
            applied.outcome
        );
        applied
    }

    /// Applies a command that must be refused, and gives the text.
    #[track_caller]
    fn refused(&mut self, command: Command) -> String {
        let before = self.state.version().digest();
        let applied = self.apply(command);
        assert_eq!(
            self.state.version().digest(),
            before,
            "a refused command changed something"
        );
        assert!(applied.touched.is_empty() && applied.effects.is_empty());
        match applied.outcome {
            Outcome::Refused(error) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn read(&self, query: &Query) -> (Reply, Index) {
        self.state
            .version()
            .read(query, &ReadContext::default(), &mut WatchKeys::new())
            .unwrap()
    }

    fn verdict(&mut self, op: KvOp, entry: KvEntry) -> bool {
        match self.done(Command::Kv(op, entry)).outcome {
            Outcome::Verdict(verdict) => verdict,
            other => panic!("no verdict: {other:?}"),
        }
    }
}

fn uuid(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn pair(key: &str, value: &str) -> KvEntry {
    KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        ..KvEntry::default()
    }
}

fn set(key: &str, value: &str) -> Command {
    Command::Kv(KvOp::Set, pair(key, value))
}

fn node(name: &str) -> Register {
    Register {
        node: text(name),
        address: text("10.0.0.1"),
        datacenter: text("dc1"),
        ..Register::default()
    }
}

fn node_with_id(name: &str, id: NodeId) -> Register {
    Register {
        id: Some(id),
        ..node(name)
    }
}

fn service(id: &str, name: &str) -> Service {
    Service {
        id: text(id),
        name: text(name),
        ..Service::default()
    }
}

fn check(id: &str, service: &str, status: Status) -> Check {
    Check {
        id: text(id),
        name: text(id),
        service_id: text(service),
        status,
        ..Check::default()
    }
}

fn register(register: Register) -> Command {
    Command::Register(Box::new(register))
}

fn with_service(name: &str, service: Service) -> Command {
    register(Register {
        service: Some(service),
        ..node(name)
    })
}

fn with_check(name: &str, check: Check) -> Command {
    register(Register {
        checks: vec![check],
        ..node(name)
    })
}

fn deregister(name: &str, service: &str, check: &str) -> Command {
    Command::Deregister(Deregister {
        node: text(name),
        service_id: text(service),
        check_id: text(check),
        ..Deregister::default()
    })
}

fn session(id: SessionId, on: &str) -> Session {
    Session {
        id,
        node: text(on),
        ..Session::default()
    }
}

fn health(name: &str) -> Query {
    Query::ServiceHealth {
        service: ServiceQuery {
            name: text(name),
            ..ServiceQuery::default()
        },
        passing_only: false,
    }
}

fn names(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|t| &**t).collect()
}
