//! Calls on the KV store.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Client, Error, Payload, QueryMeta, QueryOptions, Request, Response};

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvPair {
    /// Key, without a leading slash.
    pub key: String,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
    /// Times it was locked.
    pub lock_index: u64,
    /// A number of the writer's.
    pub flags: u64,
    /// Value; absent is the same as empty.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub value: Option<Vec<u8>>,
    /// Session that holds it; empty for none.
    pub session: String,
}

impl KvPair {
    /// The value, empty when absent.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }
}

fn to_base64<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    value
        .as_ref()
        .map(|v| STANDARD.encode(v))
        .serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|t| STANDARD.decode(t).map_err(D::Error::custom))
        .transpose()
}

/// How a value is to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvWrite {
    /// A number kept with the value.
    pub flags: u64,
    /// Only if the key's ModifyIndex is this; 0: only if it does not exist.
    pub cas: Option<u64>,
    /// Take the lock for this session.
    pub acquire: String,
    /// Give the lock of this session back.
    pub release: String,
}

impl Client {
    fn kv_read(
        &self,
        key: &str,
        params: &[(&str, &str)],
        options: &QueryOptions,
    ) -> Result<Option<Response>, Error> {
        let path = format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key));
        let request = params
            .iter()
            .fold(Request::new("GET", &path), |r, (k, v)| r.param(k, *v))
            .options(options);
        let response = self.send(request)?;
        match response.status {
            200 | 404 => Ok(Some(response)),
            status => Err(Error::BareStatus { status }),
        }
    }

    /// One entry, if it exists.
    pub fn kv_get(
        &self,
        key: &str,
        options: &QueryOptions,
    ) -> Result<(Option<KvPair>, QueryMeta), Error> {
        let Some(mut response) = self.kv_read(key, &[], options)? else {
            return Ok((None, QueryMeta::default()));
        };
        let meta = response.meta();
        if response.status == 404 {
            drain(&mut response);
            return Ok((None, meta));
        }
        let list: Vec<KvPair> = response.json()?;
        Ok((list.into_iter().next(), meta))
    }

    /// All entries whose key starts with `prefix`; `None` when there are none.
    pub fn kv_list(
        &self,
        prefix: &str,
        options: &QueryOptions,
    ) -> Result<(Option<Vec<KvPair>>, QueryMeta), Error> {
        let Some(mut response) = self.kv_read(prefix, &[("recurse", "")], options)? else {
            return Ok((None, QueryMeta::default()));
        };
        let meta = response.meta();
        if response.status == 404 {
            drain(&mut response);
            return Ok((None, meta));
        }
        Ok((Some(response.json()?), meta))
    }

    /// Names below `prefix`, cut after the first `separator` that follows it.
    pub fn kv_keys(
        &self,
        prefix: &str,
        separator: &str,
        options: &QueryOptions,
    ) -> Result<Vec<String>, Error> {
        let mut params = vec![("keys", "")];
        if !separator.is_empty() {
            params.push(("separator", separator));
        }
        let Some(mut response) = self.kv_read(prefix, &params, options)? else {
            return Ok(Vec::new());
        };
        if response.status == 404 {
            drain(&mut response);
            return Ok(Vec::new());
        }
        response.json()
    }

    /// Writes a value; `false` when the condition in `how` did not hold.
    pub fn kv_put(
        &self,
        key: &str,
        value: Vec<u8>,
        how: &KvWrite,
        options: &QueryOptions,
    ) -> Result<bool, Error> {
        if key.starts_with('/') {
            return Err(Error::LeadingSlash(key.to_owned()));
        }
        let mut request = Request::new("PUT", &format!("/v1/kv/{key}"))
            .write_options(options)
            .param_if("acquire", &how.acquire)
            .param_if("release", &how.release);
        if how.flags != 0 {
            request = request.param("flags", how.flags.to_string());
        }
        if let Some(index) = how.cas {
            request = request.param("cas", index.to_string());
        }
        self.send_bool(request.body(Payload::Bytes(value)))
    }

    /// Deletes a key; with `cas` only if its ModifyIndex is that.
    pub fn kv_delete(
        &self,
        key: &str,
        cas: Option<u64>,
        options: &QueryOptions,
    ) -> Result<bool, Error> {
        let path = format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key));
        let mut request = Request::new("DELETE", &path).write_options(options);
        if let Some(index) = cas {
            request = request.param("cas", index.to_string());
        }
        self.send_bool(request)
    }

    /// Deletes every key that starts with `prefix`.
    pub fn kv_delete_tree(&self, prefix: &str, options: &QueryOptions) -> Result<bool, Error> {
        let path = format!("/v1/kv/{}", prefix.strip_prefix('/').unwrap_or(prefix));
        let request = Request::new("DELETE", &path)
            .write_options(options)
            .param("recurse", "");
        self.send_bool(request)
    }

    /// Sends and reads `true` or `false`.
    pub(super) fn send_bool(&self, request: Request) -> Result<bool, Error> {
        Ok(self.send_ok(request)?.text_limited()?.contains("true"))
    }
}

/// Reads a short body to its end, so that the connection can be kept.
pub(super) fn drain(response: &mut Response) {
    // Failing only means that the connection is not kept.
    let _ = std::io::copy(
        &mut std::io::Read::take(response, 64 << 10),
        &mut std::io::sink(),
    );
}
