//! `Session.*`: the owners of locks.

use std::sync::Arc;

use tribune_types::id::{SessionId, Uuid};
use tribune_types::query::{Query, Reply};
use tribune_types::session as domain;
use tribune_types::uuid::parse_session;
use tribune_types::write::Write;

use super::Error;
use super::catalog::NodeSpecificRequest;
use super::fields::{Empty, Fields};
use crate::msgpack::{self, Str};
use crate::records::{RecordError, Session, SessionRequest, mirror};

mirror! {
    /// `structs.SessionSpecificRequest`: older callers fill `Session` only.
    SessionSpecificRequest<'a> {
        "Session" session: Str<'a>,
        "SessionID" session_id: Str<'a>,
    }

    /// `structs.IndexedSessions`.
    IndexedSessions<'a> {
        "Sessions" sessions: Option<Vec<Session<'a>>>,
    }
}

/// The session of that ID; of IDs that no session can have, the nil one, which no session has.
pub(super) fn lookup(id: &str) -> Result<SessionId, Error> {
    let id = parse_session(id).map_err(Error::Refused)?;
    Ok(id.unwrap_or_default())
}

fn specific(body: &[u8]) -> Result<SessionId, Error> {
    let request: SessionSpecificRequest<'_> = msgpack::from_slice(body)?;
    if request.session_id.is_empty() {
        lookup(&request.session)
    } else {
        lookup(&request.session_id)
    }
}

pub(super) fn decode(method: &str, body: &[u8]) -> Result<Option<Query>, Error> {
    Ok(Some(match method {
        "Session.Get" => Query::SessionGet {
            id: specific(body)?,
        },
        "Session.List" => Query::Sessions,
        "Session.NodeSessions" => {
            let request: NodeSpecificRequest<'_> = msgpack::from_slice(body)?;
            Query::SessionsOfNode {
                node: request.node.into(),
            }
        }
        _ => return Ok(None),
    }))
}

/// Decodes `Session.Renew`.
pub(super) fn renew(body: &[u8]) -> Result<Write, Error> {
    Ok(Write::SessionRenew(specific(body)?))
}

/// Decodes `Session.Apply`.
pub(super) fn apply(body: &[u8]) -> Result<Write, Error> {
    let request: SessionRequest<'_> = msgpack::from_slice(body)?;
    match &*request.op {
        "create" => {
            let mut session = request.session;
            // The servers choose the ID, whatever the caller proposes.
            session.id = Str::default();
            match domain::Session::try_from(session) {
                Err(RecordError::Word { word, .. }) => {
                    Err(Error::Refused(format!("Invalid Behavior setting '{word}'")))
                }
                session => Ok(Write::SessionCreate(Box::new(session?))),
            }
        }
        "destroy" if request.session.id.is_empty() => Err(Error::refused("Must provide ID")),
        "destroy" => Ok(Write::SessionDestroy(lookup(&request.session.id)?)),
        word => Err(Error::Refused(format!(
            "Invalid Session operation '{word}'"
        ))),
    }
}

pub(super) fn put_create<'a>(session: &'a domain::Session, fields: &mut Fields<'a>) {
    fields.str("Op", "create");
    fields.put("Session", Session::from(session));
}

pub(super) fn put_destroy(id: SessionId, fields: &mut Fields<'_>) {
    fields.str("Op", "destroy");
    fields.put("Session", Session::of(id));
}

/// Adds the session that is asked for, under both names.
pub(super) fn put_specific(id: SessionId, fields: &mut Fields<'_>) {
    fields.put("Session", id.to_string());
    fields.put("SessionID", id.to_string());
}

pub(super) fn put_sessions<'a>(sessions: &'a [Arc<domain::Session>], fields: &mut Fields<'a>) {
    fields.list("Sessions", sessions, Empty::Nil, |s| Session::from(&**s));
}

pub(super) fn sessions(body: &[u8]) -> Result<Vec<Arc<domain::Session>>, Error> {
    let reply: IndexedSessions<'_> = msgpack::from_slice(body)?;
    let sessions = reply.sessions.unwrap_or_default().into_iter();
    let sessions = sessions.map(|s| domain::Session::try_from(s).map(Arc::new));
    Ok(sessions.collect::<Result<_, _>>()?)
}

pub(super) fn reply(body: &[u8]) -> Result<Reply, Error> {
    sessions(body).map(Reply::Sessions)
}

/// Decodes the ID in the reply of `Session.Apply`.
pub(super) fn created(body: &[u8]) -> Result<SessionId, Error> {
    let id: Str<'_> = msgpack::from_slice(body)?;
    Uuid::parse(&id).map_err(|source| {
        Error::Record(RecordError::Uuid {
            field: "session ID",
            text: id.to_string(),
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;
    use crate::msgpack::to_vec;

    #[test]
    fn the_older_name_of_the_session_field_is_understood() {
        let id = Uuid([7; 16]);
        for request in [
            SessionSpecificRequest {
                session: id.to_string().into(),
                ..SessionSpecificRequest::default()
            },
            SessionSpecificRequest {
                session_id: id.to_string().into(),
                ..SessionSpecificRequest::default()
            },
        ] {
            let body = to_vec(&request).unwrap();
            assert_eq!(
                decode("Session.Get", &body),
                Ok(Some(Query::SessionGet { id }))
            );
        }
    }

    #[test]
    fn sessions_are_not_created_under_an_id_of_the_caller() {
        let request = SessionRequest {
            op: "create".into(),
            session: Session {
                id: "mine".into(),
                node: "n".into(),
                ..Session::default()
            },
            ..SessionRequest::default()
        };
        let Write::SessionCreate(session) = apply(&to_vec(&request).unwrap()).unwrap() else {
            panic!("not a creation");
        };
        assert_eq!((session.id, &session.node), (Uuid::default(), &text("n")));
    }
}
