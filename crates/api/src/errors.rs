//! Errors as answers: status and text of everything that can go wrong (spec http-api.md section 1.3).
//!
//! Clients match on the texts.

use std::borrow::Cow;

use tribune_types::error::{RpcError, StateError};

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
            // Validation by the servers surfaces as 500.
            RpcError::State(StateError::Other(text)) | RpcError::Invalid(text) => {
                ApiError::from_text(text.clone())
            }
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
/// No such prepared query.
pub const QUERY_NOT_FOUND: &str = "Query not found";
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

#[cfg(test)]
mod tests {
    use super::*;

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
