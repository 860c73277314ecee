//! Sessions.

use tribune_types::id::{Index, SessionId};
use tribune_types::session as domain;

use super::{RecordError, mirror, strs, texts, uuid_opt, uuid_text};
use crate::msgpack::{Dur, Str};

mirror! {
    /// `structs.Session`.
    Session<'a> {
        "Behavior" behavior: Str<'a>,
        "Checks" checks: Option<Vec<Str<'a>>>,
        "CreateIndex" create_index: u64,
        "ID" id: Str<'a>,
        "LockDelay" lock_delay: Dur,
        "ModifyIndex" modify_index: u64,
        "Name" name: Str<'a>,
        "Node" node: Str<'a>,
        "NodeChecks" node_checks: Option<Vec<Str<'a>>>,
        "ServiceChecks" service_checks: Option<Vec<ServiceCheck<'a>>>,
        "TTL" ttl: Str<'a>,
    }

    /// `structs.ServiceCheck`.
    ServiceCheck<'a> {
        "ID" id: Str<'a>,
        "Namespace" namespace: Str<'a>,
    }

    /// `structs.SessionRequest`.
    SessionRequest<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Op" op: Str<'a>,
        "Session" session: Session<'a>,
        "Token" token: Str<'a>,
    }
}

impl Session<'_> {
    /// A session of which only the identity is given.
    pub fn of(id: SessionId) -> Session<'static> {
        Session {
            id: uuid_text(Some(id)),
            ..Session::default()
        }
    }

    /// The identity; nil if there is none.
    pub fn session_id(&self) -> Result<SessionId, RecordError> {
        Ok(uuid_opt("session ID", &self.id)?.unwrap_or_default())
    }
}

impl<'a> From<&'a domain::Session> for Session<'a> {
    fn from(s: &'a domain::Session) -> Self {
        let check = |c: &'a domain::ServiceCheckRef| ServiceCheck {
            id: (&c.id).into(),
            namespace: (&c.namespace).into(),
        };
        Session {
            behavior: s.behavior.as_str().into(),
            checks: s.checks.as_deref().map(strs),
            create_index: s.create.0,
            id: uuid_text((!s.id.is_nil()).then_some(s.id)),
            lock_delay: s.lock_delay.into(),
            modify_index: s.modify.0,
            name: (&s.name).into(),
            node: (&s.node).into(),
            node_checks: s.node_checks.as_deref().map(strs),
            service_checks: s
                .service_checks
                .as_ref()
                .map(|list| list.iter().map(check).collect()),
            ttl: (&s.ttl).into(),
        }
    }
}

impl TryFrom<Session<'_>> for domain::Session {
    type Error = RecordError;

    fn try_from(s: Session<'_>) -> Result<Self, RecordError> {
        let behavior = match &*s.behavior {
            "" | "release" => domain::Behavior::Release,
            "delete" => domain::Behavior::Delete,
            word => {
                return Err(RecordError::Word {
                    field: "session behavior",
                    word: word.to_owned(),
                });
            }
        };
        let check = |c: ServiceCheck<'_>| domain::ServiceCheckRef {
            id: c.id.into(),
            namespace: c.namespace.into(),
        };
        Ok(domain::Session {
            id: s.session_id()?,
            name: s.name.into(),
            node: s.node.into(),
            lock_delay: s.lock_delay.into(),
            behavior,
            ttl: s.ttl.into(),
            node_checks: s.node_checks.map(|list| texts(Some(list))),
            service_checks: s
                .service_checks
                .map(|list| list.into_iter().map(check).collect()),
            checks: s.checks.map(|list| texts(Some(list))),
            create: Index(s.create_index),
            modify: Index(s.modify_index),
        })
    }
}
