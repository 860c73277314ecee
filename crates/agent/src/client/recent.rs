//! Replies that come again: many requests for the same thing get the same bytes from a server, which are decoded, and
//! rendered by the fronts, once.
//!
//! In: a query and the bytes of its reply. Out: the answer; the same one for the same bytes. Bytes are compared, so
//! nothing depends on what a server means by an index.
//!
//! Memory: at most [`BODIES_MAX`] of replies with what was made from them, until they were not wanted for [`IDLE_MAX`] and
//! another is taken in.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tribune_types::query::Query;
use tribune_types::time::Mono;
use tribune_wire::rpc;

use super::read::answer;
use crate::Answer;

/// Bytes of the replies that are kept.
const BODIES_MAX: usize = 512 << 10;
/// The largest of them.
const BODY_MAX: usize = 64 << 10;
/// Replies at the same time.
const REPLIES_MAX: usize = 64;
/// After which a reply that did not come again is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The last replies to queries that are often asked.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Query, Kept>>);

struct Kept {
    body: Vec<u8>,
    answer: Answer,
    used: Mono,
}

impl Recent {
    /// Decodes the reply to `query`, unless the last one was the same.
    ///
    /// # Errors
    /// As [`rpc::decode_reply`].
    pub(super) fn decode(
        &self,
        now: Mono,
        query: &Query,
        body: Vec<u8>,
    ) -> Result<Answer, rpc::Error> {
        if !is_worth_it(query) || body.len() > BODY_MAX {
            return decode(query, &body);
        }
        if let Some(kept) = self.0.lock().get_mut(query)
            && kept.body == body
        {
            kept.used = now;
            return Ok(kept.answer.clone());
        }
        let answer = decode(query, &body)?;
        let kept = Kept {
            body,
            answer: answer.clone(),
            used: now,
        };
        let mut replies = self.0.lock();
        replies.remove(query);
        make_room(&mut replies, now, kept.body.len());
        replies.insert(query.clone(), kept);
        Ok(answer)
    }
}

/// Forgets what was not wanted for long, and then what was not wanted for longest, until there is room for another.
fn make_room(replies: &mut HashMap<Query, Kept>, now: Mono, len: usize) {
    replies.retain(|_, kept| now.since(kept.used) <= IDLE_MAX);
    while replies.len() >= REPLIES_MAX || len + total(replies) > BODIES_MAX {
        let oldest = { replies.iter() }
            .min_by_key(|(_, kept)| kept.used)
            .map(|(query, _)| query.clone());
        match oldest {
            Some(query) => replies.remove(&query),
            None => return,
        };
    }
}

fn total(replies: &HashMap<Query, Kept>) -> usize {
    replies.values().map(|kept| kept.body.len()).sum()
}

/// True for lists, which cost much to decode and to render, and which many ask for.
fn is_worth_it(query: &Query) -> bool {
    matches!(
        query,
        Query::ServiceHealth { .. }
            | Query::ServiceNodes(_)
            | Query::Services { .. }
            | Query::NodeServices { .. }
            | Query::Nodes(_)
            | Query::ServiceChecks { .. }
            | Query::NodeChecks { .. }
            | Query::ChecksInState { .. }
            | Query::NodeDump { .. }
            | Query::ServiceDump { .. }
    )
}

fn decode(query: &Query, body: &[u8]) -> Result<Answer, rpc::Error> {
    let (reply, meta) = rpc::decode_reply(query, body)?;
    Ok(answer(reply, meta))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tribune_types::id::Index;
    use tribune_types::query::{ListOptions, QueryMeta, Reply};
    use tribune_types::text::{TextMap, text};

    use super::*;

    fn body(names: &[&str], index: u64) -> Vec<u8> {
        let services = names.iter().map(|name| (text(name), Vec::new())).collect();
        let meta = QueryMeta {
            index: Index(index),
            ..QueryMeta::default()
        };
        let mut out = Vec::new();
        let reply = Reply::Services(services);
        rpc::encode_reply("Catalog.ListServices", &query(""), &reply, &meta, &mut out)
            .expect("a reply of that query");
        out
    }

    fn query(key: &str) -> Query {
        let mut node_meta = TextMap::default();
        if !key.is_empty() {
            node_meta.insert(text(key), text("v"));
        }
        Query::Services { node_meta }
    }

    fn at(secs: u64) -> Mono {
        Mono(secs * 1_000_000_000)
    }

    #[test]
    fn the_same_bytes_give_the_same_answer_and_others_another() {
        let recent = Recent::default();
        let decode = |query: &Query, body| recent.decode(at(1), query, body).expect("decodes");
        let one = decode(&query("a"), body(&["web"], 5));
        assert!(Arc::ptr_eq(
            &one.shared,
            &decode(&query("a"), body(&["web"], 5)).shared
        ));
        // Another query with the same bytes; the same index with other data; the same data with another index.
        for (query, body, index) in [
            (query("b"), body(&["web"], 5), 5),
            (query("a"), body(&["api"], 5), 5),
            (query("a"), body(&["api"], 6), 6),
        ] {
            let other = decode(&query, body);
            assert!(!Arc::ptr_eq(&one.shared, &other.shared));
            assert_eq!(other.meta.index, Index(index));
        }
        assert!(recent.decode(at(1), &query("a"), vec![0xc1]).is_err());
    }

    #[test]
    fn what_is_kept_is_bounded_and_ends_when_it_is_not_wanted() {
        let recent = Recent::default();
        let long = "x".repeat(BODY_MAX);
        recent
            .decode(at(1), &query("long"), body(&[&long], 5))
            .expect("decodes");
        assert!(recent.0.lock().is_empty());
        let half = "x".repeat(BODY_MAX / 2);
        for n in 0..200 {
            let query = query(&n.to_string());
            recent
                .decode(at(1), &query, body(&[&half], 5))
                .expect("decodes");
            let kept = recent.0.lock();
            assert!(total(&kept) <= BODIES_MAX && kept.contains_key(&query));
        }
        for n in 0..200 {
            let query = query(&n.to_string());
            recent
                .decode(at(2), &query, body(&["s"], 5))
                .expect("decodes");
        }
        assert_eq!(recent.0.lock().len(), REPLIES_MAX);
        recent
            .decode(at(90), &query("new"), body(&["s"], 5))
            .expect("decodes");
        assert_eq!(recent.0.lock().len(), 1);
        let nodes = Query::Nodes(ListOptions::default());
        assert!(is_worth_it(&nodes) && !is_worth_it(&Query::Sessions));
    }
}
