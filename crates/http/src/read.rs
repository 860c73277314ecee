//! Queries: run one, at once if possible, and turn its reply into an answer.
//!
//! Equal queries share one reply and the bytes rendered from it; this is where the sharing happens.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AGE, CONTENT_TYPE, HeaderName, HeaderValue};
use tribune_agent::{Answer, Cached, Form, Freshness};
use tribune_api::errors::ApiError;
use tribune_api::render::{self, Addresses, View};
use tribune_types::caller::Caller;
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};

use crate::body::Body;
use crate::cx::Cx;
use crate::gzip;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Outcome, Planned, Step, Work};

/// What servers say where nobody leads, whatever hops stand before it.
const NO_LEADER: &str = "No cluster leader";

/// A query and what to make of its reply.
pub(crate) struct ReadPlan {
    query: Query,
    options: ReadOptions,
    caller: Caller,
    finish: Finish,
    /// `?cached` was asked for and is allowed.
    cached: Option<Freshness>,
    /// Without a leader an old answer will do.
    stale_without_leader: bool,
}

/// What to make of a reply.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    shape: Shape,
    pretty: bool,
    gzip: bool,
    addresses: Addresses,
    headers: Headers,
}

/// Which form the answer takes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// JSON, kept with the reply. Only for the one form that belongs to the query.
    Json(View),
    /// JSON of another form of the same reply, rendered each time.
    Other(View),
    /// As `Json`, or 404 if the reply is empty.
    Found(View),
    /// The value of a key, or 404.
    RawValue,
    /// None: 400 with this text, once there is a reply.
    Refused(&'static str),
    /// Key names; 404 if there are none unless the prefix is empty.
    Keys {
        /// The prefix is empty.
        all: bool,
    },
}

/// Which headers an answer carries.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Headers {
    /// None about the query.
    None,
    /// Index, leader, age; not on errors.
    Success,
    /// Index, leader, age; on errors too.
    Always,
    /// As `Always`, and the guarantee in effect.
    Consistency,
}

impl Headers {
    /// An error that servers gave instead of an answer.
    pub(crate) fn failed(self, error: ApiError) -> Outcome {
        match self {
            Headers::None | Headers::Success => Err(error),
            Headers::Always | Headers::Consistency => Ok(response::query_error(error)),
        }
    }
}

impl ReadPlan {
    /// A query with the request's caller and rendering.
    pub(crate) fn new(
        cx: &Cx,
        req: &Req<'_>,
        query: Query,
        options: ReadOptions,
        shape: Shape,
        headers: Headers,
    ) -> ReadPlan {
        let remote = cx.options.translate_wan_addrs && options.datacenter.is_some();
        let finish = Finish {
            shape,
            pretty: req.pretty,
            gzip: req.gzip,
            addresses: if remote {
                Addresses::Wan
            } else {
                Addresses::Lan
            },
            headers,
        };
        ReadPlan {
            query,
            options,
            caller: req.caller.clone(),
            finish,
            cached: None,
            stale_without_leader: false,
        }
    }

    /// The plan as a step.
    pub(crate) fn step(self) -> Planned {
        Ok(Step::Read(Box::new(self)))
    }

    /// Addresses are shown as they are, even if `translate_wan_addrs` is on: the UI's endpoints.
    pub(crate) fn untranslated(mut self) -> ReadPlan {
        self.finish.addresses = Addresses::Lan;
        self
    }

    /// What any server has will do if there is no leader: the UI's endpoints, so that one sees something at all.
    pub(crate) fn stale_without_leader(mut self) -> ReadPlan {
        self.stale_without_leader = self.options.consistency == Consistency::Default;
        self
    }

    /// Whatever the reply is, the request is refused with 400 and this text.
    pub(crate) fn refused(mut self, text: &'static str) -> ReadPlan {
        self.finish.shape = Shape::Refused(text);
        self
    }

    /// The endpoint may be served from the agent's cache: it is when the client asked.
    pub(crate) fn cacheable(mut self, cx: &Cx, req: &Req<'_>) -> Result<ReadPlan, ApiError> {
        let control = req.cache_control()?;
        self.cached = (cx.options.use_cache && req.params.has("cached")).then_some(Freshness {
            max_age: control.max_age,
            stale_if_error: control.stale_if_error,
        });
        Ok(self)
    }

    /// Runs the query: either the outcome, or the work that will give it.
    pub(crate) fn run(self, cx: &Arc<Cx>) -> Result<Outcome, Work> {
        if let Some(freshness) = self.cached {
            return self.run_cached(cx, freshness);
        }
        if self.options.min_index.0 == 0
            && let Some(done) = cx.handle.read_now(&self.caller, &self.query, &self.options)
        {
            return Ok(Ok(self.finish.outcome(done.map_err(ApiError::from))));
        }
        let cx = Arc::clone(cx);
        let ReadPlan {
            query,
            options,
            caller,
            finish,
            stale_without_leader,
            ..
        } = self;
        if stale_without_leader {
            return Err(Box::pin(async move {
                let mut done = cx.handle.read(&caller, query.clone(), &options).await;
                if let Err(err) = &done
                    && err.to_string().contains(NO_LEADER)
                {
                    let stale = ReadOptions {
                        consistency: Consistency::Stale,
                        ..options
                    };
                    done = cx.handle.read(&caller, query, &stale).await;
                }
                Ok(finish.outcome(done.map_err(ApiError::from)))
            }));
        }
        Err(Box::pin(async move {
            let done = cx.handle.read(&caller, query, &options).await;
            Ok(finish.outcome(done.map_err(ApiError::from)))
        }))
    }

    fn run_cached(self, cx: &Arc<Cx>, freshness: Freshness) -> Result<Outcome, Work> {
        let ReadPlan {
            query,
            options,
            caller,
            finish,
            ..
        } = self;
        let handle = &cx.handle;
        if let Some(hit) = handle.read_cached_now(&caller, &query, &options, freshness) {
            return Ok(Ok(finish.cached(hit, &options)));
        }
        let cx = Arc::clone(cx);
        Err(Box::pin(async move {
            let handle = &cx.handle;
            let read = handle.read_cached(&caller, &query, &options, freshness);
            Ok(match read.await {
                Ok(cached) => finish.cached(cached, &options),
                Err(err) => finish.outcome(Err(err.into())),
            })
        }))
    }
}

impl Finish {
    fn outcome(self, done: Result<Answer, ApiError>) -> Response {
        match done {
            Ok(answer) => self.answer(&answer),
            Err(error) => self.headers.failed(error).unwrap_or_else(response::error),
        }
    }

    fn answer(self, answer: &Answer) -> Response {
        let reply = answer.reply();
        let mut response = match self.shape {
            Shape::Json(view) => self.shared(answer, view),
            Shape::Other(view) => {
                response::json(render::reply(reply, view, self.addresses), self.pretty)
            }
            Shape::Found(_) | Shape::RawValue | Shape::Keys { all: false } if is_empty(reply) => {
                response::status(StatusCode::NOT_FOUND)
            }
            Shape::Found(view) => self.shared(answer, view),
            Shape::Keys { .. } => self.shared(answer, View::Plain),
            Shape::RawValue => raw_value(reply),
            // Without the headers of an answer.
            Shape::Refused(text) => return response::error(ApiError::bad(text)),
        };
        let missing = response.status() == StatusCode::NOT_FOUND;
        match self.headers {
            // Only keys that do not exist have an index to wait for.
            Headers::Always if missing => {}
            Headers::None => {}
            Headers::Success | Headers::Always => response::set_meta(&mut response, &answer.meta),
            Headers::Consistency => {
                response::set_meta(&mut response, &answer.meta);
                response::set_consistency(&mut response, &answer.meta);
            }
        }
        response
    }

    /// An answer from the cache. It was fetched from any server, and shows the guarantee that was asked for.
    fn cached(self, cached: Cached, options: &ReadOptions) -> Response {
        let mut answer = cached.value;
        answer.meta.consistency = options.consistency;
        let mut response = self.answer(&answer);
        if matches!(self.shape, Shape::Refused(_)) {
            return response;
        }
        let found = HeaderValue::from_static(if cached.hit { "HIT" } else { "MISS" });
        response.headers_mut().insert(response::CACHE, found);
        if cached.hit {
            response
                .headers_mut()
                .insert(AGE, HeaderValue::from(cached.age.as_secs()));
        }
        response
    }

    /// The bytes that all requests with this reply share.
    fn shared(self, answer: &Answer, view: View) -> Response {
        let addresses = self.addresses;
        let shared = &answer.shared;
        let plain = |reply: &Reply| Bytes::from(render::reply(reply, view, addresses));
        let compact = || shared.rendered(Form::Json, plain);
        let pretty = || shared.rendered(Form::Pretty, |_| Bytes::from(render::pretty(&compact())));
        let bytes = match (self.pretty, self.gzip) {
            (false, false) => compact(),
            (true, false) => pretty(),
            (false, true) => shared.rendered(Form::JsonGzip, |_| gzip::compress(&compact())),
            (true, true) => shared.rendered(Form::PrettyGzip, |_| gzip::compress(&pretty())),
        };
        let mut response = response::json_bytes(bytes);
        if self.gzip {
            response::mark_gzip(&mut response);
        }
        response
    }
}

fn is_empty(reply: &Reply) -> bool {
    match reply {
        Reply::Kv(entries) => entries.is_empty(),
        Reply::Keys(keys) => keys.is_empty(),
        Reply::NodeDump(dumps) => dumps.is_empty(),
        Reply::Coordinates(entries) => entries.is_empty(),
        Reply::Autopilot(config) => config.is_none(),
        _ => false,
    }
}

fn raw_value(reply: &Reply) -> Response {
    let value = match reply {
        Reply::Kv(entries) => entries
            .first()
            .map(|entry| Bytes::copy_from_slice(&entry.value)),
        _ => None,
    };
    let mut response = Response::new(Body::whole(value.unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("sandbox"),
    );
    response
}
