//! What a handler decides: answer, query, or work that waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::EXPECT;
use tribune_api::errors::ApiError;

use crate::body::{self, BodyLimit};
use crate::cx::Cx;
use crate::read::ReadPlan;
use crate::request::Req;
use crate::response::Response;

/// The outcome of a handler.
pub(crate) type Outcome = Result<Response, ApiError>;

/// Work that waits; it owns all it needs.
pub(crate) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What comes after a handler.
pub(crate) enum Step {
    /// The answer.
    Done(Response),
    /// A query to run and render.
    Read(Box<ReadPlan>),
    /// Work to wait for.
    Work(Work),
}

/// What a handler gives.
pub(crate) type Planned = Result<Step, ApiError>;

/// Work to wait for.
pub(crate) fn work(future: impl Future<Output = Outcome> + Send + 'static) -> Planned {
    Ok(Step::Work(Box::pin(future)))
}

/// Reads the body under the limit of ordinary bodies, then goes on with `then`.
pub(crate) fn with_body<F, W>(cx: &Arc<Cx>, req: &mut Req<'_>, then: F) -> Planned
where
    F: FnOnce(Arc<Cx>, Bytes) -> W + Send + 'static,
    W: Future<Output = Outcome> + Send,
{
    let limit = Req::body_limit(cx);
    with_limited_body(cx, req, limit, then)
}

/// Reads the body under `limit`, then goes on with `then`.
pub(crate) fn with_limited_body<F, W>(
    cx: &Arc<Cx>,
    req: &mut Req<'_>,
    limit: BodyLimit,
    then: F,
) -> Planned
where
    F: FnOnce(Arc<Cx>, Bytes) -> W + Send + 'static,
    W: Future<Output = Outcome> + Send,
{
    let incoming = req.take_body()?;
    // A client that asks before it sends is told at once; others are heard out first.
    if req.headers.contains_key(EXPECT) {
        limit.check_announced(&incoming)?;
    }
    let cx = Arc::clone(cx);
    work(async move {
        let bytes = body::read(&cx.env, incoming, limit).await?;
        then(cx, bytes).await
    })
}
