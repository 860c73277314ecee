//! Headers of calls: `{Seq, ServiceMethod}` and `{Error, Seq, ServiceMethod}`.
//!
//! A server that passes a call on to its leader says so with one more key, `PassedOn`. The original skips keys that it does
//! not know, and only servers of our kind are ever the leader that a call is passed on to.

use serde::Deserialize;

use crate::msgpack::encode::{put_bool, put_map, put_str, put_uint};
use crate::msgpack::{self, Str};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct RequestHeader<'a> {
    /// Echoed in the response.
    #[serde(rename = "Seq")]
    pub seq: u64,
    /// `Service.Method`.
    #[serde(rename = "ServiceMethod")]
    pub method: Str<'a>,
    /// Another server of the datacenter took it for its leader and passed the call on: it must not be passed on again.
    #[serde(rename = "PassedOn")]
    pub passed_on: bool,
}

impl<'a> RequestHeader<'a> {
    /// Decodes a header that is complete. Unknown keys are skipped.
    ///
    /// # Errors
    /// Not a map, or a key of the wrong type. The connection is of no more use.
    pub fn decode(bytes: &'a [u8]) -> Result<RequestHeader<'a>, msgpack::Error> {
        msgpack::from_slice(bytes)
    }
}

/// The header of a response.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct ResponseHeader<'a> {
    /// Empty on success.
    #[serde(rename = "Error")]
    pub error: Str<'a>,
    /// That of the request.
    #[serde(rename = "Seq")]
    pub seq: u64,
}

impl<'a> ResponseHeader<'a> {
    /// Decodes a header that is complete. Unknown keys are skipped.
    ///
    /// # Errors
    /// Not a map, or a key of the wrong type. The connection is of no more use.
    pub fn decode(bytes: &'a [u8]) -> Result<ResponseHeader<'a>, msgpack::Error> {
        msgpack::from_slice(bytes)
    }
}

/// Appends a request header.
pub fn write_request_header(out: &mut Vec<u8>, seq: u64, method: &str) {
    put_map(out, 2);
    put_seq_and_method(out, seq, method);
}

/// Appends the header of a request that is passed on to the leader.
pub fn write_passed_on_header(out: &mut Vec<u8>, seq: u64, method: &str) {
    put_map(out, 3);
    put_str(out, "PassedOn");
    put_bool(out, true);
    put_seq_and_method(out, seq, method);
}

fn put_seq_and_method(out: &mut Vec<u8>, seq: u64, method: &str) {
    put_str(out, "Seq");
    put_uint(out, seq);
    put_str(out, "ServiceMethod");
    put_str(out, method);
}

/// Appends a response header; `error` is empty on success.
pub fn write_response_header(out: &mut Vec<u8>, seq: u64, method: &str, error: &str) {
    put_map(out, 3);
    put_str(out, "Error");
    put_str(out, error);
    put_str(out, "Seq");
    put_uint(out, seq);
    put_str(out, "ServiceMethod");
    put_str(out, method);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_decode_in_any_key_order_and_skip_what_is_unknown() {
        let mut bytes = Vec::new();
        put_map(&mut bytes, 3);
        put_str(&mut bytes, "ServiceMethod");
        put_str(&mut bytes, "Status.Ping");
        put_str(&mut bytes, "Later");
        bytes.extend([0x92, 0x01, 0xc0]);
        put_str(&mut bytes, "Seq");
        put_uint(&mut bytes, 70_000);
        let header = RequestHeader::decode(&bytes).unwrap();
        assert_eq!((header.seq, &*header.method), (70_000, "Status.Ping"));
    }

    #[test]
    fn only_calls_that_are_passed_on_say_so() {
        let mut bytes = Vec::new();
        write_request_header(&mut bytes, 7, "KVS.Apply");
        assert!(!RequestHeader::decode(&bytes).unwrap().passed_on);
        bytes.clear();
        write_passed_on_header(&mut bytes, 7, "KVS.Apply");
        let header = RequestHeader::decode(&bytes).unwrap();
        assert_eq!(
            (header.seq, &*header.method, header.passed_on),
            (7, "KVS.Apply", true)
        );
    }

    #[test]
    fn truncated_and_foreign_headers_are_errors() {
        let mut bytes = Vec::new();
        write_response_header(&mut bytes, 7, "Catalog.Register", "no");
        for cut in 0..bytes.len() {
            assert!(RequestHeader::decode(&bytes[..cut]).is_err());
        }
        assert!(RequestHeader::decode(&[0x01]).is_err());
    }
}
