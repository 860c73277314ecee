//! `/v1/query`: prepared queries (spec http-api.md section 3.9).

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{AGE, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use tribune_agent::{Cached, Freshness};
use tribune_api::errors::{ApiError, parse_int};
use tribune_api::json::go_quote;
use tribune_api::params::parse_bool;
use tribune_api::parse::{self, BodyError};
use tribune_api::render::{self, Addresses, View};
use tribune_types::error::{RpcError, StateError};
use tribune_types::prepared::{ExecuteQuery, ExecutedQuery, PreparedQuery, QueryOp, QuerySource};
use tribune_types::query::{Query, QueryMeta, ReadOptions};
use tribune_types::text::{Text, text};
use tribune_types::uuid::parse_query;
use tribune_types::write::{Write, WriteReply};

use super::mismatched;
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, Step, with_body, work};

const EXECUTE: &str = "execute";
const EXPLAIN: &str = "explain";
/// The node of this agent.
const AGENT: &str = "_agent";

/// The methods of a path below `/v1/query/`.
pub(crate) fn methods(arg: &[u8]) -> &'static [&'static str] {
    let arg = String::from_utf8_lossy(arg);
    if action(&arg, EXECUTE).is_some() || action(&arg, EXPLAIN).is_some() {
        &["GET"]
    } else {
        &["GET", "PUT", "DELETE"]
    }
}

/// The query that is named before an action. The action alone names a query of that name.
fn action<'a>(arg: &'a str, action: &str) -> Option<&'a str> {
    if arg == action {
        return Some(arg);
    }
    arg.strip_suffix(action)?.strip_suffix('/')
}

/// Stores a new query.
pub(crate) fn create(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let query = parse::prepared_query(&body).map_err(BodyError::into_api)?;
        let write = Write::PreparedQuery(QueryOp::Create, Box::new(query));
        match cx.handle.write(&caller, dc.as_deref(), write).await? {
            WriteReply::PreparedQuery(id) => Ok(response::json_with(pretty, |out| {
                render::query_created(out, &id);
            })),
            _ => Err(mismatched()),
        }
    })
}

/// Replaces the query of an ID. A request without a body is an empty query.
pub(crate) fn update(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, dc, id) = (
        req.caller.clone(),
        req.datacenter(cx),
        text(&req.arg_text()),
    );
    let has_body =
        req.headers.contains_key(TRANSFER_ENCODING) || { req.headers.get(CONTENT_LENGTH) }
            .is_some_and(|size| *size != "0");
    with_body(cx, req, move |cx, body| async move {
        let query = if has_body {
            parse::prepared_query(&body).map_err(BodyError::into_api)?
        } else {
            PreparedQuery::default()
        };
        let query = Box::new(PreparedQuery { id, ..query });
        let write = Write::PreparedQuery(QueryOp::Update, query);
        cx.handle.write(&caller, dc.as_deref(), write).await?;
        Ok(response::empty())
    })
}

/// Forgets the query of an ID.
pub(crate) fn delete(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (cx, caller, dc) = (Arc::clone(cx), req.caller.clone(), req.datacenter(cx));
    let query = Box::new(PreparedQuery {
        id: text(&req.arg_text()),
        ..PreparedQuery::default()
    });
    work(async move {
        let write = Write::PreparedQuery(QueryOp::Delete, query);
        cx.handle.write(&caller, dc.as_deref(), write).await?;
        Ok(response::empty())
    })
}

/// All queries.
pub(crate) fn list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    plan(cx, req, Query::PreparedQueries, options).step()
}

/// One query, or what it finds, or what it renders to.
pub(crate) fn get(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let arg = req.arg_text();
    if let Some(name) = action(&arg, EXECUTE) {
        return execute(cx, req, name);
    }
    if let Some(name) = action(&arg, EXPLAIN) {
        return explain(cx, req, name);
    }
    let options = req.read_options(cx)?;
    let text = match parse_query(&arg) {
        Ok(Some(id)) => return plan(cx, req, Query::PreparedQuery { id }, options).step(),
        Ok(None) => StateError::QueryNotFound.to_string(),
        Err(why) => why,
    };
    let cx = Arc::clone(cx);
    work(async move {
        // The servers say this in Consul: it comes behind the headers.
        let refusal = { &cx.handle }.refusal(options.datacenter.as_deref(), text);
        let text = refusal.await.to_string();
        Ok(response::query_error(RpcError::Remote(text).into()))
    })
}

fn plan(cx: &Arc<Cx>, req: &Req<'_>, query: Query, options: ReadOptions) -> ReadPlan {
    let shape = Shape::Json(View::Plain);
    ReadPlan::new(cx, req, query, options, shape, Headers::Consistency)
}

fn execute(cx: &Arc<Cx>, req: &Req<'_>, name: &str) -> Planned {
    let options = req.read_options(cx)?;
    let mut request = request(cx, req, name)?;
    if let Some(given) = req.params.get("connect").filter(|given| !given.is_empty()) {
        request.connect = parse_bool(&given).ok_or_else(|| {
            let quoted = go_quote(&given);
            ApiError::new(
                500,
                format!(
                    "Error parsing 'connect' value: strconv.ParseBool: parsing {quoted}: invalid syntax"
                ),
            )
        })?;
    }
    let pretty = req.pretty;
    let shown = move |cx: &Cx, done: Result<ExecutedQuery, RpcError>| match done {
        Ok(executed) => found(cx, &executed, pretty),
        Err(err) => response::query_error(err.into()),
    };
    let caller = req.caller.clone();
    if cx.options.use_cache && req.params.has("cached") {
        let control = req.cache_control()?;
        let freshness = Freshness {
            max_age: control.max_age,
            stale_if_error: control.stale_if_error,
        };
        let cx = Arc::clone(cx);
        return work(async move {
            let handle = &cx.handle;
            let cached = handle.execute_query_cached(&caller, &request, &options, freshness);
            Ok(match cached.await {
                Ok(cached) => from_cache(&cx, &cached, &options, pretty),
                // Nobody looks there whether the query exists: every error is one of the server.
                Err(err) => response::query_error(ApiError {
                    status: 500,
                    ..err.into()
                }),
            })
        });
    }
    if let Some(done) = { &cx.handle }.execute_query_now(&caller, &request, &options) {
        return Ok(Step::Done(shown(cx, done)));
    }
    let cx = Arc::clone(cx);
    work(async move {
        let done = cx.handle.execute_query(&caller, &request, &options).await;
        Ok(shown(&cx, done))
    })
}

/// An outcome from the cache. It came from any server, and shows the guarantee that was asked for.
fn from_cache(
    cx: &Cx,
    cached: &Cached<Arc<ExecutedQuery>>,
    options: &ReadOptions,
    pretty: bool,
) -> Response {
    let mut executed = ExecutedQuery::clone(&cached.value);
    executed.meta.consistency = options.consistency;
    let mut response = found(cx, &executed, pretty);
    let headers = response.headers_mut();
    let word = if cached.hit { "HIT" } else { "MISS" };
    headers.insert(response::CACHE, HeaderValue::from_static(word));
    if cached.hit {
        headers.insert(AGE, HeaderValue::from(cached.age.as_secs()));
    }
    response
}

fn found(cx: &Cx, executed: &ExecutedQuery, pretty: bool) -> Response {
    // Wherever the query was sent: what counts is where its instances are.
    let translated = cx.options.translate_wan_addrs && executed.datacenter != cx.datacenter;
    let addresses = if translated {
        Addresses::Wan
    } else {
        Addresses::Lan
    };
    let mut response = response::json_with(pretty, |out| {
        render::query_executed(out, executed, addresses);
    });
    set_headers(&mut response, &executed.meta);
    response
}

fn set_headers(response: &mut Response, meta: &QueryMeta) {
    response::set_meta(response, meta);
    response::set_consistency(response, meta);
}

fn explain(cx: &Arc<Cx>, req: &Req<'_>, name: &str) -> Planned {
    let options = req.read_options(cx)?;
    let request = request(cx, req, name)?;
    let (cx, caller, pretty) = (Arc::clone(cx), req.caller.clone(), req.pretty);
    work(async move {
        let explained = cx.handle.explain_query(&caller, &request, &options).await;
        Ok(match explained {
            Ok(explained) => {
                let mut response = response::json_with(pretty, |out| {
                    render::query_explained(out, &explained);
                });
                set_headers(&mut response, &explained.meta);
                response
            }
            Err(err) => response::query_error(err.into()),
        })
    })
}

fn request(cx: &Cx, req: &Req<'_>, name: &str) -> Result<ExecuteQuery, ApiError> {
    let limit = match req.params.get("limit").filter(|given| !given.is_empty()) {
        Some(given) => {
            parse_int(&given).map_err(|why| ApiError::new(500, format!("Bad limit: {why}")))?
        }
        None => 0,
    };
    let near = req.params.text("near");
    let source = QuerySource {
        datacenter: req.datacenter(cx).unwrap_or_else(|| cx.datacenter.clone()),
        ip: client_address(req),
        node: if near == AGENT {
            cx.node.clone()
        } else {
            text(&near)
        },
        segment: Text::default(),
    };
    Ok(ExecuteQuery {
        name: text(name),
        limit,
        connect: false,
        agent: QuerySource {
            datacenter: cx.datacenter.clone(),
            node: cx.node.clone(),
            ..QuerySource::default()
        },
        source,
    })
}

/// The address of the client, as the first proxy saw it if there were any; empty if it did not come over IP.
fn client_address(req: &Req<'_>) -> Text {
    let forwarded = req.headers.get("x-forwarded-for");
    let first = forwarded.and_then(|hosts| hosts.to_str().ok()?.split(',').next());
    let first = first.and_then(|host| host.trim().parse::<IpAddr>().ok());
    match first.or(req.caller.addr) {
        Some(addr) => text(&addr.to_canonical().to_string()),
        None => Text::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_path_is_an_action() {
        for (arg, execute, explain) in [
            ("q/execute", Some("q"), None),
            ("q/explain", None, Some("q")),
            ("a/b/execute", Some("a/b"), None),
            ("execute", Some("execute"), None),
            ("explain/execute", Some("explain"), None),
            ("/execute", Some(""), None),
            ("qexecute", None, None),
            ("q/execute/", None, None),
            ("", None, None),
        ] {
            assert_eq!(action(arg, EXECUTE), execute, "{arg}");
            assert_eq!(action(arg, EXPLAIN), explain, "{arg}");
        }
    }
}
