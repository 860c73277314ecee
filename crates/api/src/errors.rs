//! Errors as answers: status and text of everything that can go wrong (spec http-api.md section 1.3).
//!
//! Clients match on the texts.

use std::borrow::Cow;

use tribune_types::error::{RpcError, StateError};
use tribune_types::keyring::KeyringResponse;

/// Status and plain text of an error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Body; may be empty.
    pub text: Cow<'static, str>,
}

impl ApiError {
    /// An error with a status of its own.
    pub fn new(status: u16, text: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError {
            status,
            text: text.into(),
        }
    }

    /// 400 with the text as it is.
    pub fn bad(text: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(400, text)
    }

    /// 400 `Bad request: …`.
    pub fn bad_request(reason: impl std::fmt::Display) -> ApiError {
        ApiError::new(400, format!("Bad request: {reason}"))
    }

    /// 404.
    pub fn not_found(text: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(404, text)
    }

    /// An error by its text alone: refusals of the authoriser are 403, the rate limit is an empty 429, all else 500.
    pub fn from_text(text: impl Into<Cow<'static, str>>) -> ApiError {
        let text = text.into();
        if text.contains("Permission denied") || text.contains("ACL not found") {
            ApiError::new(403, text)
        } else if text.contains("RPC rate limit exceeded") {
            ApiError::new(429, "")
        } else if text == "Rate limit reached, try again later" {
            ApiError::new(429, text)
        } else {
            ApiError::new(500, text)
        }
    }

    /// A body that cannot be decoded.
    pub fn decode(why: impl std::fmt::Display) -> ApiError {
        ApiError::new(400, format!("Request decode failed: {why}"))
    }

    /// ACLs are off and the request is about them.
    pub fn acl_disabled() -> ApiError {
        ApiError::new(401, ACL_DISABLED)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.status)
    }
}

impl std::error::Error for ApiError {}

impl From<RpcError> for ApiError {
    fn from(error: RpcError) -> ApiError {
        match &error {
            RpcError::AclDisabled => ApiError::acl_disabled(),
            RpcError::CoordinatesDisabled => ApiError::new(401, error.to_string()),
            RpcError::RateLimited => ApiError::new(429, ""),
            RpcError::PermissionDenied(_) | RpcError::AclNotFound => {
                ApiError::new(403, error.to_string())
            }
            RpcError::NotFound(_) => ApiError::new(404, error.to_string()),
            _ if error.is_query_not_found() => ApiError::not_found(error.to_string()),
            // Validation by the servers surfaces as 500.
            RpcError::State(StateError::Other(text))
            | RpcError::Invalid(text)
            | RpcError::Remote(text) => ApiError::from_text(text.clone()),
            _ => ApiError::new(500, error.to_string()),
        }
    }
}

/// ACLs are off.
pub const ACL_DISABLED: &str = "ACL support disabled";
/// The mesh is off.
pub const CONNECT_DISABLED: &str = "Connect must be enabled in order to use this endpoint";
/// What is appended to decode errors about a `Namespace` field.
pub const NAMESPACES_ENTERPRISE: &str = " - Namespaces are a Consul Enterprise feature";
/// `http_config.block_endpoints`.
pub const ENDPOINT_BLOCKED: &str = "Endpoint is blocked by agent configuration";
/// `http_config.allow_write_http_from`.
pub const WRITE_RESTRICTED: &str = "Access is restricted";

/// 413 of a body over a configurable limit; `option` names it in the documentation.
pub fn body_too_large(size: u64, max: u64, option: &str) -> ApiError {
    ApiError::new(
        413,
        format!(
            "Request body({size} bytes) too large, max size: {max} bytes. See https://www.consul.io/docs/agent/options.html#{option}."
        ),
    )
}

/// The text of a number that Go's `strconv.ParseUint` refuses.
pub fn parse_uint(given: &str) -> Result<u64, String> {
    let digits = !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit());
    given.parse().ok().filter(|_| digits).ok_or_else(|| {
        let why = if digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!(
            "strconv.ParseUint: parsing {}: {why}",
            crate::json::go_quote(given)
        )
    })
}

/// A decimal integer as Go's `strconv.Atoi` reads it, or the text of its refusal.
pub fn parse_int(given: &str) -> Result<i64, String> {
    let digits = given.strip_prefix(['+', '-']).unwrap_or(given);
    let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    given.parse().ok().filter(|_| well_formed).ok_or_else(|| {
        let why = if well_formed {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!(
            "strconv.Atoi: parsing {}: {why}",
            crate::json::go_quote(given)
        )
    })
}

/// Several errors as one text, as Consul lists them; `None` if there are none.
pub fn listed<'a>(errors: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let errors: Vec<&str> = errors.into_iter().collect();
    let mut text = match errors.len() {
        0 => return None,
        1 => "1 error occurred:\n".to_owned(),
        count => format!("{count} errors occurred:\n"),
    };
    for error in errors {
        text.push_str("\t* ");
        text.push_str(error);
        text.push('\n');
    }
    text.push('\n');
    Some(text)
}

/// What went wrong in any pool, as one answer; `None` if nothing did.
pub fn keyring_errors(responses: &[KeyringResponse]) -> Option<ApiError> {
    let mut errors = Vec::new();
    for response in responses.iter().filter(|r| !r.error.is_empty()) {
        errors.push(if response.wan {
            format!("WAN error: {}", response.error)
        } else {
            format!("{} (LAN) error: {}", response.datacenter, response.error)
        });
        let messages = response.messages.iter();
        errors.extend(messages.map(|(node, message)| format!("{node}: {message}")));
    }
    listed(errors.iter().map(String::as_str)).map(|text| ApiError::new(500, text))
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn integers_are_read_and_refused_as_in_go() {
        for (given, want) in [
            ("5", Ok(5)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("x", Err("invalid syntax")),
            ("", Err("invalid syntax")),
            ("-", Err("invalid syntax")),
            ("1.0", Err("invalid syntax")),
            (" 1", Err("invalid syntax")),
            ("99999999999999999999999", Err("value out of range")),
        ] {
            let want = want.map_err(|why| format!("strconv.Atoi: parsing {given:?}: {why}"));
            assert_eq!(parse_int(given), want);
        }
    }

    #[test]
    fn failures_of_pools_are_listed_with_what_their_members_said() {
        let pool = |wan, nodes: &[(&str, &str)], error: &str| KeyringResponse {
            wan,
            datacenter: text("dc1"),
            messages: nodes.iter().map(|(n, m)| (text(n), text(m))).collect(),
            error: text(error),
            ..KeyringResponse::default()
        };
        let failed = "1/1 nodes reported failure";
        // (responses, text); captured from Consul 1.8.7.
        for (responses, want) in [
            (vec![], None),
            (vec![pool(true, &[("n", "hint")], "")], None),
            (
                vec![
                    pool(true, &[], ""),
                    pool(false, &[], "1/2 nodes reported success"),
                ],
                Some("1 error occurred:\n\t* dc1 (LAN) error: 1/2 nodes reported success\n\n"),
            ),
            (
                vec![
                    pool(true, &[("ra.dc1", "no")], failed),
                    pool(false, &[("rb", "no"), ("ra", "no")], failed),
                ],
                Some(
                    "5 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* ra.dc1: no\n\t* dc1 (LAN) \
                     error: 1/1 nodes reported failure\n\t* ra: no\n\t* rb: no\n\n",
                ),
            ),
        ] {
            let found = keyring_errors(&responses);
            let want = want.map(|text| ApiError::new(500, text));
            assert_eq!(found, want);
        }
    }

    #[test]
    fn the_kind_of_an_error_gives_its_status() {
        for (error, status, text) in [
            (RpcError::NoLeader, 500, "No cluster leader"),
            (RpcError::PermissionDenied(None), 403, "Permission denied"),
            (
                RpcError::PermissionDenied(Some("Missing service:write on web".into())),
                403,
                "Permission denied: Missing service:write on web",
            ),
            (RpcError::AclNotFound, 403, "ACL not found"),
            (RpcError::AclDisabled, 401, "ACL support disabled"),
            (
                RpcError::CoordinatesDisabled,
                401,
                "Coordinate support disabled",
            ),
            (RpcError::RateLimited, 429, ""),
            (
                RpcError::Invalid("Must provide node".into()),
                500,
                "Must provide node",
            ),
            (
                RpcError::Invalid("rpc error making call: Permission denied".into()),
                403,
                "rpc error making call: Permission denied",
            ),
            (
                RpcError::State(StateError::QueryNotFound),
                404,
                "Query not found",
            ),
            (
                RpcError::Remote("rpc error making call: Query not found".into()),
                404,
                "rpc error making call: Query not found",
            ),
            (
                RpcError::State(StateError::MissingNode),
                500,
                "Missing node registration",
            ),
        ] {
            assert_eq!(ApiError::from(error), ApiError::new(status, text));
        }
    }

    #[test]
    fn numbers_are_refused_in_gos_words() {
        for (given, want) in [
            ("0", Ok(0)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("", Err("strconv.ParseUint: parsing \"\": invalid syntax")),
            (
                "-1",
                Err("strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ),
            (
                "+1",
                Err("strconv.ParseUint: parsing \"+1\": invalid syntax"),
            ),
            (
                "18446744073709551616",
                Err("strconv.ParseUint: parsing \"18446744073709551616\": value out of range"),
            ),
        ] {
            assert_eq!(parse_uint(given), want.map_err(str::to_owned), "{given}");
        }
    }
}
