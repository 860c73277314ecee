//! User events known to this agent: checks of what is fired, filters of what is received, the last 256.
//!
//! Rules and sizes: spec agent.md section 6. The limits are those of the gossip message that carries an event, so that
//! an event means the same with and without gossip.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, warn};
use tribune_filter::Pattern;
use tribune_local::Registry;
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;

use crate::local_state::LocalAgent;

/// Events remembered.
const EVENTS_MAX: usize = 256;
/// Bytes of all of them: several times what they take if they were fired as [`validate`] wants it. Others, who can fire as
/// they like, shorten the memory and do not fill it.
const KEPT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of the gossip message of an event.
const SIZE_MAX: usize = 512;
/// Events of this name are the agents' own and are not shown.
const REMOTE_EXEC: &str = "_rexec";
/// Orders of remote execution that may wait. More are dropped.
const ORDERS_MAX: usize = 64;

/// The last events. Full, in number or bytes: the oldest goes.
#[derive(Debug, Default)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
    changed: Notify,
    /// Who carries out orders of remote execution; `None` where that is turned off.
    orders: Mutex<Option<mpsc::Sender<UserEvent>>>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<UserEvent>>,
    bytes: usize,
    clock: u64,
}

impl Events {
    /// The events, oldest first, and the index to wait for.
    pub(crate) fn list(&self) -> (Vec<Arc<UserEvent>>, u64) {
        let ring = self.ring.lock();
        (ring.events.iter().cloned().collect(), index(&ring))
    }

    /// Waits until the index differs from `old`. Cancel safe.
    pub(crate) async fn changed_from(&self, old: u64) {
        loop {
            let news = self.changed.notified();
            tokio::pin!(news);
            // Enabled before the look, so that no event falls between.
            news.as_mut().enable();
            if index(&self.ring.lock()) != old {
                return;
            }
            news.await;
        }
    }

    /// Orders of remote execution from now on.
    pub(crate) fn take_orders(&self) -> mpsc::Receiver<UserEvent> {
        let (tx, rx) = mpsc::channel(ORDERS_MAX);
        *self.orders.lock() = Some(tx);
        rx
    }

    fn order(&self, event: UserEvent) {
        match &*self.orders.lock() {
            None => debug!("remote execution is disabled, an order is ignored"),
            Some(orders) => {
                if orders.try_send(event).is_err() {
                    warn!("too many orders of remote execution, one is dropped");
                }
            }
        }
    }

    fn add(&self, mut event: UserEvent) {
        if weight(&event) > KEPT_BYTES_MAX / 8 {
            return;
        }
        {
            let mut ring = self.ring.lock();
            // An event that came by gossip brings its time; one fired here gets the next.
            if event.ltime == 0 {
                event.ltime = ring.clock + 1;
            }
            ring.clock = ring.clock.max(event.ltime);
            ring.bytes += weight(&event);
            ring.events.push_back(Arc::new(event));
            while ring.events.len() > EVENTS_MAX || ring.bytes > KEPT_BYTES_MAX {
                let gone = ring.events.pop_front();
                ring.bytes -= gone.map_or(ring.bytes, |gone| weight(&gone));
            }
        }
        self.changed.notify_waiters();
    }
}

fn weight(event: &UserEvent) -> usize {
    let filters = [&event.node_filter, &event.service_filter, &event.tag_filter];
    let filters: usize = filters.iter().map(|filter| filter.len()).sum();
    size_of::<UserEvent>() + event.name.len() + event.payload.len() + filters
}

fn index(ring: &Ring) -> u64 {
    ring.events.back().map_or(1, |event| event.index())
}

impl LocalAgent {
    /// Takes an event that is for all agents; keeps it if its filters name this one.
    pub(crate) fn receive_event(&self, event: UserEvent) {
        let node = self.look(|core| core.node().name.clone());
        if !self.look(|core| wanted(&event, &node, core)) {
            return;
        }
        match &*event.name {
            REMOTE_EXEC => self.events.order(event),
            _ => self.events.add(event),
        }
    }
}

/// Checks an event that is to be fired.
pub(crate) fn validate(event: &UserEvent) -> Result<(), RpcError> {
    let refuse = |text: String| Err(RpcError::Invalid(text));
    if event.name.is_empty() {
        return refuse("User event missing name".to_owned());
    }
    validate_filters(event)?;
    let inner = body_size(event);
    let name = event.name.len() + "consul:event:".len();
    let problem = if name + inner > SIZE_MAX {
        "user event exceeds configured limit of 512 bytes before encoding"
    } else if message_size(name, inner) > SIZE_MAX {
        "encoded user event exceeds configured limit of 512 bytes after encoding"
    } else {
        return Ok(());
    };
    refuse(broadcast_error(problem))
}

/// Checks the filters of an event: what the agent that is asked to fire it does before anybody else hears of it.
pub(crate) fn validate_filters(event: &UserEvent) -> Result<(), RpcError> {
    let refuse = |text: String| Err(RpcError::Invalid(text));
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return refuse("Cannot provide tag filter without service filter".to_owned());
    }
    for (what, filter) in [
        ("node", &event.node_filter),
        ("service", &event.service_filter),
        ("tag", &event.tag_filter),
    ] {
        if let Err(why) = Pattern::compile(filter) {
            return refuse(format!("Invalid {what} filter: {why}"));
        }
    }
    Ok(())
}

/// Why an event was not sent, in the words clients know.
pub(crate) fn broadcast_error(problem: &str) -> String {
    format!("1 error occurred:\n\t* error broadcasting event to segment \"\": {problem}\n\n")
}

/// Size of the packed event: a map of short keys with raw values.
fn body_size(event: &UserEvent) -> usize {
    let filters: usize = [&event.node_filter, &event.service_filter, &event.tag_filter]
        .into_iter()
        .filter(|filter| !filter.is_empty())
        .map(|filter| 3 + raw_size(filter.len()))
        .sum();
    let id = 3 + raw_size(36);
    1 + id + 2 + raw_size(event.name.len()) + 2 + raw_size(event.payload.len()) + filters + 3
}

/// Size of the gossip message around it: type, then a map of time, name, payload and a flag.
fn message_size(name: usize, body: usize) -> usize {
    (1 + 1 + 6) + (5 + raw_size(name)) + (8 + raw_size(body)) + (3 + 1)
}

fn raw_size(len: usize) -> usize {
    len + if len < 32 { 1 } else { 3 }
}

fn wanted(event: &UserEvent, node: &str, core: &Registry) -> bool {
    let matches = |filter: &str, value: &str| {
        filter.is_empty() || Pattern::compile(filter).is_ok_and(|regex| regex.is_match(value))
    };
    if !matches(&event.node_filter, node) {
        return false;
    }
    if event.service_filter.is_empty() {
        return true;
    }
    let (Ok(service), Ok(tag)) = (
        Pattern::compile(&event.service_filter),
        Pattern::compile(&event.tag_filter),
    ) else {
        return false;
    };
    core.services().any(|entry| {
        service.is_match(&entry.service.name)
            && (event.tag_filter.is_empty() || entry.service.tags.iter().any(|t| tag.is_match(t)))
    })
}

#[cfg(test)]
mod tests {
    use tribune_types::id::Uuid;
    use tribune_types::text::text;

    use super::*;

    fn event(name: &str, payload: usize) -> UserEvent {
        UserEvent {
            name: text(name),
            payload: vec![b'x'; payload].into(),
            version: 1,
            ..UserEvent::default()
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_in_number_and_in_bytes() {
        let events = Events::default();
        for _ in 0..300 {
            events.add(event("small", 400));
        }
        assert_eq!(events.list().0.len(), EVENTS_MAX);
        for _ in 0..300 {
            events.add(event("large", 60_000));
            assert!(events.ring.lock().bytes <= KEPT_BYTES_MAX);
        }
        assert_eq!(events.list().0.len(), 8);
        events.add(event("monstrous", KEPT_BYTES_MAX));
        assert_eq!(events.list().0.len(), 8, "is not kept");
    }

    #[test]
    fn a_monstrous_filter_matches_nothing() {
        assert!(Pattern::compile("^web-[0-9]+$").is_ok());
        assert!(Pattern::compile("((a{100}){100}){100}").is_err());
    }

    #[test]
    fn events_are_limited_as_their_gossip_message_is() {
        // The limits were found with a running Consul 1.8.7.
        let filtered = |payload| UserEvent {
            node_filter: text("abc"),
            service_filter: text("web"),
            tag_filter: text("t1"),
            ..event("dep", payload)
        };
        assert_eq!(validate(&event("dep", 410)), Ok(()));
        assert_eq!(validate(&filtered(390)), Ok(()));
        for too_long in [event("dep", 411), filtered(391)] {
            let text = validate(&too_long).unwrap_err().to_string();
            assert!(text.contains("after encoding"), "{text}");
        }
        let text = validate(&event("dep", 600)).unwrap_err().to_string();
        assert!(
            text.contains("user event exceeds configured limit of 512 bytes before encoding"),
            "{text}"
        );
    }

    #[test]
    fn wrong_filters_are_refused() {
        for (node, service, tag, want) in [
            (
                "",
                "",
                "t",
                "Cannot provide tag filter without service filter",
            ),
            (
                "(",
                "",
                "",
                "Invalid node filter: error parsing regexp: missing closing ): `(`",
            ),
            (
                "",
                "[",
                "",
                "Invalid service filter: error parsing regexp: missing closing ]: `[`",
            ),
            (
                "a**",
                "",
                "",
                "Invalid node filter: error parsing regexp: invalid nested repetition operator: `**`",
            ),
            (
                "",
                "x[b-a]",
                "",
                "Invalid service filter: error parsing regexp: invalid character class range: `b-a`",
            ),
            (
                "",
                "a",
                "(?=b)",
                "Invalid tag filter: error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
            ),
        ] {
            let event = UserEvent {
                node_filter: text(node),
                service_filter: text(service),
                tag_filter: text(tag),
                ..event("dep", 1)
            };
            assert_eq!(validate(&event).unwrap_err().to_string(), want);
        }
    }

    #[tokio::test]
    async fn the_ring_keeps_the_last_events_and_wakes_waiters() {
        let events = Events::default();
        assert_eq!(events.list(), (vec![], 1));
        let waiter = events.changed_from(1);
        tokio::pin!(waiter);
        assert!(futures_ready(waiter.as_mut()).is_none());
        for number in 0..300u64 {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&(number + 2).to_be_bytes());
            events.add(UserEvent {
                id: Uuid(id),
                ..event("dep", 1)
            });
        }
        waiter.await;
        let (list, index) = events.list();
        assert_eq!((list.len(), index), (EVENTS_MAX, 301));
        assert_eq!((list[0].ltime, list[EVENTS_MAX - 1].ltime), (45, 300));
    }

    /// Polls once.
    fn futures_ready<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
