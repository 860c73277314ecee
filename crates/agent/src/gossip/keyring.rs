//! Operations on the gossip keys of all members: asked by an operator of one server, carried out by a query, answered by
//! every member (spec gossip.md section 7.10).

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;
use tribune_serf::{Asked, KeyOperation, QueryId, Question};
use tribune_types::keyring::{KeyringOperation, KeyringResponse};
use tribune_types::text::{Text, text};
use tribune_wire::serf::keys::{self, KeyResponse};

use super::Pool;
use super::operator_key;
use super::turn::QueryNews;

/// Bytes of an answer.
const RESPONSE_SIZE_MAX: usize = 1024;

/// What the members of a pool answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyResult {
    /// Members asked.
    pub(crate) nodes: usize,
    /// Members that answered.
    pub(crate) responses: usize,
    /// Of these, the ones that failed.
    pub(crate) errors: usize,
    /// What single members had to say.
    pub(crate) messages: BTreeMap<Text, Text>,
    /// How many members hold each key.
    pub(crate) keys: BTreeMap<Text, i64>,
    /// How many members encrypt with each key.
    pub(crate) primary_keys: BTreeMap<Text, i64>,
    /// Why it failed as a whole.
    pub(crate) error: Option<String>,
}

impl KeyResult {
    /// As operators get it.
    pub(crate) fn response(self, wan: bool, datacenter: &Text) -> KeyringResponse {
        KeyringResponse {
            wan,
            datacenter: datacenter.clone(),
            segment: Text::default(),
            messages: self.messages,
            keys: self.keys,
            primary_keys: self.primary_keys,
            num_nodes: self.nodes as i64,
            error: text(&self.error.unwrap_or_default()),
        }
    }
}

impl Pool {
    /// Asks all members to carry out an operation; ends when all have answered or the time of the query is over.
    pub(crate) async fn keyring(
        &self,
        operation: KeyringOperation,
        key: &str,
        relay_factor: u8,
    ) -> KeyResult {
        let mut result = KeyResult::default();
        let bytes = match operation {
            KeyringOperation::List => Vec::new(),
            _ => match operator_key::decode(key) {
                Ok(bytes) => bytes,
                Err(problem) => {
                    result.error = Some(problem);
                    return result;
                }
            },
        };
        let name = match operation {
            KeyringOperation::List => "_serf_list-keys",
            KeyringOperation::Install => "_serf_install-key",
            KeyringOperation::Use => "_serf_use-key",
            KeyringOperation::Remove => "_serf_remove-key",
        };
        let question = Question {
            name: text(name),
            payload: keys::encode_request(&bytes),
            relay_factor,
            ..Question::default()
        };
        let mut asked = match self.ask(question).await {
            Ok(asked) => asked,
            Err(problem) => {
                result.error = Some(problem);
                return result;
            }
        };
        let nodes = asked.nodes;
        result.nodes = nodes;
        while let Some(QueryNews::Answer { from, payload }) = asked.rx.recv().await {
            result.add(from, &payload);
            if result.responses == nodes {
                self.close(asked.query).await;
                break;
            }
        }
        result.error = if result.errors > 0 {
            Some(format!(
                "{}/{} nodes reported failure",
                result.errors, nodes
            ))
        } else if result.responses != nodes {
            Some(format!(
                "{}/{} nodes reported success",
                result.responses, nodes
            ))
        } else {
            None
        };
        result
    }

    /// Carries out an operation that a member asked for, and answers.
    pub(super) async fn answer_key_query(&self, operation: KeyOperation, asked: Asked) {
        let request = keys::decode_request(&asked.payload);
        let answer = match (operation, request) {
            (_, Err(err)) => Answer::Plain(Err(format!("Failed to decode key request: {err}"))),
            (KeyOperation::List, Ok(_)) => match self.shared.keys.list() {
                Ok(list) => Answer::Keys(list),
                Err(problem) => Answer::Plain(Err(problem.to_owned())),
            },
            (_, Ok(key)) => {
                Answer::Plain(self.shared.keys.change(self.env(), operation, &key).await)
            }
        };
        if let Answer::Plain(Err(problem)) = &answer {
            warn!("serf: {problem}");
        }
        let Some(payload) = answer.encode(asked.query, self.name()) else {
            return;
        };
        let overhead = self.shared.keys.packet_overhead();
        self.with(move |turn| {
            turn.serf.set_packet_overhead(overhead);
            // Too late or too large: the asker counts it as not answered.
            let _ = turn.serf.respond(turn.now, asked.query, &payload, turn.out);
        })
        .await;
    }
}

/// What this member answers.
enum Answer {
    /// Done, or why not.
    Plain(Result<(), String>),
    /// The keys in base64, the primary one first.
    Keys(Vec<String>),
}

impl Answer {
    fn encode(&self, query: QueryId, own: &Text) -> Option<Arc<[u8]>> {
        let response = match self {
            Answer::Plain(Ok(())) => KeyResponse {
                result: true,
                ..KeyResponse::default()
            },
            Answer::Plain(Err(problem)) => KeyResponse {
                message: problem.clone(),
                ..KeyResponse::default()
            },
            Answer::Keys(list) => {
                let primary = list.first().map_or("", String::as_str);
                return keys::encode_key_list(list, primary, query, own, RESPONSE_SIZE_MAX);
            }
        };
        Some(keys::encode_response(&response))
    }
}

impl KeyResult {
    fn add(&mut self, from: Text, payload: &Arc<[u8]>) {
        self.responses += 1;
        let Ok(answer) = keys::decode_response(payload) else {
            self.errors += 1;
            self.messages
                .insert(from, text("Failed to decode key response"));
            return;
        };
        if !answer.result {
            self.errors += 1;
        }
        if !answer.message.is_empty() {
            self.messages.insert(from, text(&answer.message));
        }
        for key in answer.keys.iter().flatten() {
            *self.keys.entry(text(key)).or_default() += 1;
        }
        // Members without a primary key are counted under the empty one, as the original does.
        *self.primary_keys.entry(text(&answer.primary)).or_default() += 1;
    }
}
