//! Leaving, and declaring others as left (gossip.md sections 7.4 and 6.10).
//!
//! ```text
//! here --leave--> intent --told or 5 s--> death --told or 5 s--> propagating --3 s--> over
//!                    \ nobody else alive    \ nobody else alive
//!                     `--> death             `--> over
//! ```
//! The intent goes first: a death without it looks like a failure. Until the end the node answers probes as ever. A
//! broadcast that takes too long does not stop the leave (1.8.7 gives up there; later versions go on).

use tribune_swim::{Queue, Ticket};
use tribune_types::member::MemberStatus;
use tribune_types::text::text;
use tribune_types::time::Mono;

use crate::action::Action;
use crate::serf::Serf;

/// How far the own leave has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Not begun.
    Here,
    /// The intent is being told.
    Intent(Ticket, Mono),
    /// The own death is being told.
    Death(Ticket, Mono),
    /// All is told once; the pool tells one another.
    Propagating(Mono),
    /// The node may stop.
    Over,
}

impl Leaving {
    /// True from the wish to leave on.
    pub(crate) fn has_begun(self) -> bool {
        self != Leaving::Here
    }

    /// True when leaving is complete.
    pub(crate) fn is_over(self) -> bool {
        self == Leaving::Over
    }

    fn deadline(self) -> Option<Mono> {
        match self {
            Leaving::Intent(_, at) | Leaving::Death(_, at) | Leaving::Propagating(at) => Some(at),
            Leaving::Here | Leaving::Over => None,
        }
    }
}

impl Serf {
    /// Begins to leave; ends with [`Action::Left`]. Again: does nothing while leaving, and repeats the end after it.
    pub fn leave(&mut self, now: Mono, out: &mut Vec<Action>) {
        match self.leaving {
            Leaving::Here => {}
            Leaving::Over => {
                out.push(Action::Left);
                return;
            }
            _ => return,
        }
        let ticket = self.swim.new_ticket();
        self.leaving = Leaving::Intent(ticket, now + self.options.broadcast_timeout);
        self.ledger.leave(out);
        let name = self.swim.name().clone();
        let message = self.make_leave(now, name, false, out);
        if self.others_alive() {
            self.spread(Queue::Intents, &message, Some(ticket));
        } else {
            self.announce_death(now, out);
        }
    }

    /// Declares a failed member as left, and forgets it with `prune`. The ticket ends with [`Action::Sent`], or after
    /// `broadcast_timeout` with [`Action::Unsent`]; `None` if nobody else is alive.
    pub fn force_leave(
        &mut self,
        now: Mono,
        node: &str,
        prune: bool,
        out: &mut Vec<Action>,
    ) -> Option<Ticket> {
        let message = self.make_leave(now, text(node), prune, out);
        if !self.others_alive() {
            return None;
        }
        let ticket = self.swim.new_ticket();
        self.spread(Queue::Intents, &message, Some(ticket));
        self.await_ticket(now, ticket);
        Some(ticket)
    }

    /// Promises [`Action::Sent`] for a ticket, or [`Action::Unsent`] after the broadcast timeout.
    pub(crate) fn await_ticket(&mut self, now: Mono, ticket: Ticket) {
        let deadline = now + self.options.broadcast_timeout;
        self.awaited.push((ticket, deadline));
    }

    /// The layer below told something often enough.
    pub(crate) fn on_sent(&mut self, now: Mono, ticket: Ticket, out: &mut Vec<Action>) {
        match self.leaving {
            Leaving::Intent(told, _) if told == ticket => self.announce_death(now, out),
            Leaving::Death(told, _) if told == ticket => self.propagate(now),
            _ => {
                let before = self.awaited.len();
                self.awaited.retain(|(awaited, _)| *awaited != ticket);
                if self.awaited.len() < before {
                    out.push(Action::Sent(ticket));
                }
            }
        }
    }

    /// Goes on when something took too long.
    pub(crate) fn leave_on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.awaited.retain(|(ticket, deadline)| {
            let over = now >= *deadline;
            if over {
                out.push(Action::Unsent(*ticket));
            }
            !over
        });
        if self.leaving.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.leaving {
            Leaving::Intent(..) => self.announce_death(now, out),
            Leaving::Death(..) => self.propagate(now),
            Leaving::Propagating(_) => self.finish_leave(out),
            Leaving::Here | Leaving::Over => {}
        }
    }

    /// When `leave_on_time` has something to do.
    pub(crate) fn leave_next_wake(&self) -> Option<Mono> {
        let awaited = self.awaited.iter().map(|(_, deadline)| *deadline);
        awaited.chain(self.leaving.deadline()).min()
    }

    fn announce_death(&mut self, now: Mono, out: &mut Vec<Action>) {
        let others = self.others_alive();
        // Before the call: what it reports of the intent's broadcast is of no interest any more.
        self.propagate(now);
        let told = self.with_swim(now, out, |swim, low| swim.leave(now, low));
        match told {
            Some(ticket) => {
                self.leaving = Leaving::Death(ticket, now + self.options.broadcast_timeout);
            }
            // The layer below sees nobody; if this one does, somebody may have heard the intent and probes us.
            None if others => {}
            None => self.finish_leave(out),
        }
    }

    fn propagate(&mut self, now: Mono) {
        self.leaving = Leaving::Propagating(now + self.options.leave_propagate_delay);
    }

    fn finish_leave(&mut self, out: &mut Vec<Action>) {
        self.leaving = Leaving::Over;
        out.push(Action::Left);
    }

    /// True if a member other than this node is alive.
    fn others_alive(&self) -> bool {
        let own = self.members.find(self.swim.name());
        let counted = own.is_some_and(|row| self.members.status(row) == MemberStatus::Alive);
        self.members.alive_count() > usize::from(counted)
    }
}
