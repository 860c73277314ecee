//! `/v1/operator/keyring`: the keys that gossip is encrypted with (spec http-api.md section 3.8).
//!
//! `GET` lists, `POST` installs, `PUT` uses, `DELETE` removes. What failed on any member fails the request as a whole,
//! with one line per pool and member; keys that were installed elsewhere stay installed.

use std::sync::Arc;

use tribune_api::errors::{ApiError, keyring_errors, parse_int};
use tribune_api::json::go_quote;
use tribune_api::params::parse_bool;
use tribune_api::parse::{self, BodyError};
use tribune_api::render;
use tribune_types::keyring::{KeyringOperation, KeyringRequest};
use tribune_types::text::Text;

use crate::cx::Cx;
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body, work};

/// Most members to relay an answer through.
const RELAY_FACTOR_MAX: i64 = 5;

/// Keys of all pools.
pub(crate) fn list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let request = KeyringRequest {
        operation: KeyringOperation::List,
        key: Text::default(),
        relay_factor: relay_factor(req)?,
        local_only: local_only(req)?,
        forwarded: false,
    };
    let (cx, caller, pretty) = (Arc::clone(cx), req.caller.clone(), req.pretty);
    work(async move {
        let responses = cx.handle.keyring(&caller, request).await?;
        match keyring_errors(&responses) {
            Some(error) => Err(error),
            None => Ok(response::json_with(pretty, |out| {
                render::keyring(out, &responses)
            })),
        }
    })
}

/// Adds a key.
pub(crate) fn install(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    change(cx, req, KeyringOperation::Install)
}

/// Encrypts with a key.
pub(crate) fn use_key(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    change(cx, req, KeyringOperation::Use)
}

/// Removes a key.
pub(crate) fn remove(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    change(cx, req, KeyringOperation::Remove)
}

fn change(cx: &Arc<Cx>, req: &mut Req<'_>, operation: KeyringOperation) -> Planned {
    // The body comes first, so these are looked at only once it is there.
    let relay_factor = relay_factor(req);
    let local_only = local_only(req);
    let caller = req.caller.clone();
    with_body(cx, req, move |cx, body| async move {
        let key = parse::keyring_key(&body).map_err(|error| match error {
            BodyError::Refused(text) => ApiError::from_text(text),
            other => ApiError::bad_request(format_args!("Request decode failed: {other}")),
        })?;
        let relay_factor = relay_factor?;
        if local_only? {
            return Err(ApiError::bad_request(
                "Invalid use of local-only: local-only can only be set for list requests",
            ));
        }
        let request = KeyringRequest {
            operation,
            key,
            local_only: false,
            relay_factor,
            forwarded: false,
        };
        let responses = cx.handle.keyring(&caller, request).await?;
        match keyring_errors(&responses) {
            Some(error) => Err(error),
            None => Ok(response::empty()),
        }
    })
}

fn relay_factor(req: &Req<'_>) -> Result<u8, ApiError> {
    let given = req.params.text("relay-factor");
    if given.is_empty() {
        return Ok(0);
    }
    let number = parse_int(&given)
        .map_err(|why| ApiError::bad_request(format_args!("Error parsing relay factor: {why}")))?;
    u8::try_from(number)
        .ok()
        .filter(|_| number <= RELAY_FACTOR_MAX)
        .ok_or_else(|| {
            ApiError::bad_request("Invalid relay-factor: Relay factor must be in range: [0, 5]")
        })
}

fn local_only(req: &Req<'_>) -> Result<bool, ApiError> {
    let given = req.params.text("local-only");
    if given.is_empty() {
        return Ok(false);
    }
    parse_bool(&given).ok_or_else(|| {
        ApiError::bad_request(format_args!(
            "Error parsing local-only: strconv.ParseBool: parsing {}: invalid syntax",
            go_quote(&given)
        ))
    })
}
