//! A request on its way through the wrapper and a handler.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderName};
use tribune_api::errors::{ApiError, NAMESPACES_ENTERPRISE};
use tribune_api::params::{CacheControl, Params, parse_cache_control};
use tribune_types::caller::{Caller, Token};
use tribune_types::query::{ListOptions, ReadOptions};
use tribune_types::text::{Text, text};

use crate::body::BodyLimit;
use crate::cx::Cx;
use crate::path;

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-consul-namespace");

/// What a handler sees. Borrowed: futures take what they need out of it.
pub(crate) struct Req<'r> {
    /// The path behind the route's pattern, decoded.
    pub(crate) arg: &'r [u8],
    /// The query string.
    pub(crate) params: &'r Params<'r>,
    /// Headers.
    pub(crate) headers: &'r HeaderMap,
    /// Whose request it is.
    pub(crate) caller: Caller,
    /// Indent JSON.
    pub(crate) pretty: bool,
    /// The client takes gzip.
    pub(crate) gzip: bool,
    body: Option<Incoming>,
}

impl<'r> Req<'r> {
    /// Assembled by the wrapper.
    pub(crate) fn new(
        arg: &'r [u8],
        params: &'r Params<'r>,
        headers: &'r HeaderMap,
        caller: Caller,
        pretty: bool,
        gzip: bool,
        body: Incoming,
    ) -> Req<'r> {
        Req {
            arg,
            params,
            headers,
            caller,
            pretty,
            gzip,
            body: Some(body),
        }
    }

    /// The argument as text.
    pub(crate) fn arg_text(&self) -> Cow<'r, str> {
        path::text(self.arg)
    }

    /// The argument, which must not be empty.
    pub(crate) fn required(&self, missing: &'static str) -> Result<Text, ApiError> {
        if self.arg.is_empty() {
            Err(ApiError::bad(missing))
        } else {
            Ok(text(&self.arg_text()))
        }
    }

    /// The body; once.
    pub(crate) fn take_body(&mut self) -> Result<Incoming, ApiError> {
        self.body
            .take()
            .ok_or_else(|| ApiError::new(500, "the request body was taken twice"))
    }

    /// The datacenter, if not the own one.
    pub(crate) fn datacenter(&self, cx: &Cx) -> Option<Text> {
        self.params.datacenter(&cx.datacenter)
    }

    /// How to read.
    pub(crate) fn read_options(&self, cx: &Cx) -> Result<ReadOptions, ApiError> {
        let options = self
            .params
            .read_options(&cx.datacenter, std::time::Duration::ZERO)?;
        self.cache_control()?;
        Ok(options)
    }

    /// How to read on catalog and health endpoints.
    pub(crate) fn discovery_options(&self, cx: &Cx) -> Result<ReadOptions, ApiError> {
        let options = self
            .params
            .read_options(&cx.datacenter, cx.discovery_max_stale())?;
        self.cache_control()?;
        Ok(options)
    }

    /// How to narrow and sort a list. Distances from a node are known in its datacenter, which is taken to be the agent's:
    /// answers from elsewhere are not sorted.
    pub(crate) fn list_options(&self, cx: &Cx) -> ListOptions {
        let mut options = self.params.list_options(&cx.node);
        if self.datacenter(cx).is_some() {
            options.near = Text::default();
        }
        options
    }

    /// What the client accepts from a cache.
    pub(crate) fn cache_control(&self) -> Result<CacheControl, ApiError> {
        match self
            .headers
            .get(CACHE_CONTROL)
            .and_then(|value| value.to_str().ok())
        {
            Some(header) => parse_cache_control(header),
            None => Ok(CacheControl::default()),
        }
    }

    /// Refuses namespaces, which only the enterprise product knows.
    pub(crate) fn refuse_namespace(&self) -> Result<(), ApiError> {
        self.params.refuse_namespace()?;
        match self.headers.get(NAMESPACE) {
            Some(value) if !value.is_empty() => Err(ApiError::bad_request(format_args!(
                "Invalid header: \"X-Consul-Namespace\"{NAMESPACES_ENTERPRISE}"
            ))),
            _ => Ok(()),
        }
    }

    /// True if a header starts with a text.
    pub(crate) fn accepts(&self, what: &str) -> bool {
        self.headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains(what))
    }

    /// The limit of bodies without one of their own.
    pub(crate) fn body_limit(cx: &Cx) -> BodyLimit {
        let limits = &cx.options.limits;
        BodyLimit {
            size_max: limits.body_size_max,
            option: "",
            stall: limits.slow_client_timeout,
        }
    }
}

/// The token of a request: parameter, header, bearer; empty without any.
pub(crate) fn token(params: &Params<'_>, headers: &HeaderMap) -> Token {
    if let Some(token) = params.get("token").filter(|token| !token.is_empty()) {
        return Token::new(text(&token));
    }
    if let Some(token) = headers
        .get(TOKEN)
        .and_then(|value| value.to_str().ok())
        .filter(|token| !token.is_empty())
    {
        return Token::new(text(token));
    }
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let mut words = value.split_ascii_whitespace();
            words
                .next()
                .filter(|scheme| scheme.eq_ignore_ascii_case("bearer"))?;
            words.next()
        });
    bearer.map_or_else(Token::default, |token| Token::new(text(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_comes_from_the_first_place_that_has_one() {
        // (query, X-Consul-Token, Authorization, token)
        for (query, header, authorization, want) in [
            ("", "", "", ""),
            ("token=a", "b", "Bearer c", "a"),
            ("token=", "b", "Bearer c", "b"),
            ("", "", "bEaReR c d", "c"),
            ("", "", "Basic c", ""),
            ("", "", "Bearer", ""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TOKEN, header.parse().unwrap());
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
            assert_eq!(
                token(&Params::parse(query).unwrap(), &headers).secret(),
                want
            );
        }
    }
}
