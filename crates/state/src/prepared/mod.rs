//! Prepared queries: what may be stored, how names find them, and how one is carried out on a version of the state
//! (spec agent.md section 8).
//!
//! A query is found by its ID, by its name in any letter case, or as the template with the longest prefix of the name.
//! Names of queries are unique, templates included; a query that is bound to a session goes with it.
//!
//! Where to look when nothing is left, the order of equals and limits are not decided here.

mod format;
mod run;
mod template;

use std::ops::Bound;
use std::sync::Arc;

use tribune_types::error::StateError;
use tribune_types::id::{SessionId, Uuid};
use tribune_types::prepared::PreparedQuery;
use tribune_types::text::Text;
use tribune_types::uuid::parse_session;

use crate::change::Change;
use crate::intern::{folded, folded_str};
use crate::tables::Tables;
use crate::watch::WatchKey;

pub(crate) use run::{instances, node_with_address};
pub(crate) use template::Template;

/// A query as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredQuery {
    pub(crate) query: Arc<PreparedQuery>,
    /// Of a template; `None` also for one out of an archive that does not compile.
    pub(crate) template: Option<Arc<Template>>,
}

fn refused<T>(text: impl Into<String>) -> Result<T, StateError> {
    Err(StateError::Other(text.into()))
}

impl Change<'_> {
    /// Stores a query in the place of that with the same ID.
    pub(crate) fn query_set(&mut self, mut query: PreparedQuery) -> Result<(), StateError> {
        let Ok(id) = Uuid::parse(&query.id) else {
            return refused("Missing Query ID");
        };
        let old = self.tables.queries.get(&id).map(|old| old.query.clone());
        query.create = old.as_ref().map_or(self.index, |old| old.create);
        query.modify = self.index;
        self.check_name(id, &query)?;
        if !query.session.is_empty() {
            let session = parse_session(&query.session).map_err(|why| {
                let why = why.trim_start_matches("failed session lookup: ");
                StateError::Other(format!("invalid session: {why}"))
            })?;
            if session.is_none_or(|id| !self.tables.sessions.contains_key(&id)) {
                return refused(format!("invalid session {:?}", query.session));
            }
        }
        let template = compile(&query)
            .map_err(|why| StateError::Other(format!("failed compiling template: {why}")))?;
        self.tables.place_query(id, query, template, self.index);
        self.touch(WatchKey::PreparedQueries);
        Ok(())
    }

    fn check_name(&self, id: Uuid, query: &PreparedQuery) -> Result<(), StateError> {
        let other = |found: Option<&Uuid>| found.is_some_and(|found| *found != id);
        if query.name.is_empty() {
            if query.is_template() && other(self.tables.query_templates.get("")) {
                return refused("a query template with an empty name already exists");
            }
            return Ok(());
        }
        let name = folded(&query.name);
        if other(self.tables.query_names.get(&name)) {
            return refused(format!(
                "name '{}' aliases an existing query name",
                query.name
            ));
        }
        if Uuid::parse(&query.name).is_ok_and(|named| self.tables.queries.contains_key(&named)) {
            return refused(format!(
                "name '{}' aliases an existing query ID",
                query.name
            ));
        }
        Ok(())
    }

    /// Forgets a query; an unknown one is fine.
    pub(crate) fn query_delete(&mut self, id: &Uuid) {
        if self.tables.remove_query(id, self.index).is_some() {
            self.touch(WatchKey::PreparedQueries);
        }
    }

    /// Forgets the queries that are bound to a session.
    pub(crate) fn delete_queries_of_session(&mut self, session: &SessionId) {
        let ids: Vec<Uuid> = self
            .tables
            .query_sessions
            .range((*session, Uuid::default())..)
            .take_while(|(bound, _)| bound == session)
            .map(|(_, id)| *id)
            .collect();
        for id in &ids {
            self.query_delete(id);
        }
    }
}

/// The template of a query that is one.
fn compile(query: &PreparedQuery) -> Result<Option<Arc<Template>>, String> {
    if !query.is_template() {
        return Ok(None);
    }
    Template::compile(query).map(|template| Some(Arc::new(template)))
}

/// Places a query out of an archive, whatever it refers to.
pub(crate) fn restore(tables: &mut Tables, query: PreparedQuery) {
    // An archive holds what was stored, which has an ID.
    let Ok(id) = Uuid::parse(&query.id) else {
        return;
    };
    let template = compile(&query).unwrap_or_default();
    let at = query.modify;
    tables.place_query(id, query, template, at);
}

/// The folded name of a query, if it has one, and the session it is bound to.
pub(crate) fn bonds(query: &PreparedQuery) -> (Option<Text>, Option<SessionId>) {
    let name = (!query.name.is_empty()).then(|| folded(&query.name));
    let session = parse_session(&query.session).ok().flatten();
    (name, session)
}

/// The query that an ID or a name stands for, rendered if it is a template; `None` if there is none.
///
/// # Errors
/// The ID is that of a template, which has no meaning without a name.
pub(crate) fn resolve(
    tables: &Tables,
    given: &str,
    segment: &str,
) -> Result<Option<Arc<PreparedQuery>>, StateError> {
    if let Ok(id) = Uuid::parse(given)
        && let Some(stored) = tables.queries.get(&id)
    {
        if stored.query.is_template() {
            return refused("prepared query templates can only be resolved up by name, not by ID");
        }
        return Ok(Some(stored.query.clone()));
    }
    let name = folded_str(given);
    let id = match tables.query_names.get(&name) {
        Some(id) => Some(id),
        None => longest_prefix(tables, &name),
    };
    let Some(stored) = id.and_then(|id| tables.queries.get(id)) else {
        return Ok(None);
    };
    if !stored.query.is_template() {
        return Ok(Some(stored.query.clone()));
    }
    let Some(template) = &stored.template else {
        return refused("the template of the prepared query does not compile");
    };
    match template.render(&stored.query, given, segment) {
        Ok(rendered) => Ok(Some(Arc::new(rendered))),
        Err(why) => refused(why),
    }
}

/// The template with the longest prefix of a folded name. A few lookups, each of which shortens the name.
fn longest_prefix<'a>(tables: &'a Tables, name: &str) -> Option<&'a Uuid> {
    let mut left = name;
    loop {
        let range = (Bound::Unbounded, Bound::Included(left));
        let (prefix, id) = tables.query_templates.range::<_, str>(range).next_back()?;
        if left.starts_with(&**prefix) {
            return Some(id);
        }
        // Whatever is a prefix of the name stands before this one, and is a prefix of what both share.
        let shared = left
            .char_indices()
            .zip(prefix.chars())
            .find(|((_, a), b)| a != b)
            .map_or(left.len().min(prefix.len()), |((at, _), _)| at);
        left = &left[..shared];
    }
}
