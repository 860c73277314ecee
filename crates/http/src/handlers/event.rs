//! `/v1/event` (spec http-api.md section 3.7, agent.md section 6).

use std::sync::Arc;

use hyper::header::HeaderValue;
use tribune_api::errors::ApiError;
use tribune_api::render;
use tribune_types::event::UserEvent;
use tribune_types::id::Uuid;
use tribune_types::text::{Text, text};
use tribune_types::write::Write;

use crate::cx::Cx;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, with_body, work};

/// Version of the format.
const VERSION: u32 = 1;
/// Index while there is no event.
const NO_EVENT: u64 = 1;

/// Sends an event.
pub(crate) fn fire(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let name = req.required("Missing name")?;
    let param = |name: &str| text(&req.params.text(name));
    let mut event = UserEvent {
        name,
        node_filter: param("node"),
        service_filter: param("service"),
        tag_filter: param("tag"),
        version: VERSION,
        ..UserEvent::default()
    };
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(ApiError::new(
            500,
            "Cannot provide tag filter without service filter",
        ));
    }
    let mut random = [0; 16];
    cx.env.fill_random(&mut random);
    event.id = Uuid::from_random(random);
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        event.payload = (&*body).into();
        let shown = response::json_with(pretty, |out| render::user_event(out, &event));
        cx.handle
            .write(&caller, dc.as_deref(), Write::EventFire(Box::new(event)))
            .await?;
        Ok(shown)
    })
}

/// The events known to this agent; blocks while the newest of the asked ones is the one of the index.
pub(crate) fn list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let name = text(&req.params.text("name"));
    let wait = cx.wait(req.params.wait()?);
    let index = req.params.index()?;
    let (cx, pretty) = (Arc::clone(cx), req.pretty);
    work(async move {
        let deadline = cx.env.mono() + wait;
        loop {
            let (events, global) = cx.handle.events();
            let matching: Vec<&UserEvent> = events
                .iter()
                .map(|event| &**event)
                .filter(|event| matches(event, &name))
                .collect();
            let newest = matching.last().map_or(NO_EVENT, |event| event.index());
            let now = cx.env.mono();
            if index == 0 || newest != index || now >= deadline {
                return Ok(answer(&matching, newest, pretty));
            }
            cx.handle.events_changed(global, deadline.since(now)).await;
        }
    })
}

fn matches(event: &UserEvent, name: &Text) -> bool {
    name.is_empty() || event.name == *name
}

fn answer(events: &[&UserEvent], index: u64, pretty: bool) -> Response {
    let mut response =
        response::json_with(pretty, |out| render::events(out, events.iter().copied()));
    response
        .headers_mut()
        .insert(response::INDEX, HeaderValue::from(index));
    response
}
