//! Transactions on the KV store.
//!
//! All operations of one take effect, or none does. Limits of the servers (spec http-api.md section 3.5): 64 operations,
//! half a MiB of body.

use serde::{Deserialize, Serialize, ser::SerializeStruct as _};

use super::{Client, Error, QueryOptions, Request, kv::drain};

/// One operation. Fields that its verb does not look at stay empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KvOperation {
    /// `set`, `delete`, `check-session` and the like.
    pub verb: &'static str,
    /// Key.
    pub key: String,
    /// Value in base64, as listings show it, so that copying needs no decoding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// A number kept with the value.
    #[serde(skip_serializing_if = "is_zero")]
    pub flags: u64,
    /// ModifyIndex that `cas` and `check-index` look for.
    #[serde(skip_serializing_if = "is_zero")]
    pub index: u64,
    /// Session that `lock`, `unlock` and `check-session` look for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why a transaction was refused: one of its operations. Nothing of it took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnProblem {
    /// Place of the operation in the list, from 0.
    pub op_index: usize,
    /// What is wrong with it.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Refusal {
    errors: Option<Vec<TxnProblem>>,
}

/// As the API wants it: `{"KV":{...}}`.
struct Wrapped<'a>(&'a KvOperation);

impl Serialize for Wrapped<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outer = serializer.serialize_struct("Operation", 1)?;
        outer.serialize_field("KV", self.0)?;
        outer.end()
    }
}

impl Client {
    /// Carries out the operations together. The inner error lists what was refused; after an outer one that is no
    /// [`Error::Status`] it is unknown whether they took effect.
    pub fn kv_txn(
        &self,
        operations: &[KvOperation],
        options: &QueryOptions,
    ) -> Result<Result<(), Vec<TxnProblem>>, Error> {
        let list: Vec<Wrapped<'_>> = operations.iter().map(Wrapped).collect();
        let request = Request::new("PUT", "/v1/txn")
            .write_options(options)
            .json(&list);
        let mut response = self.send(request)?;
        match response.status {
            200 => {
                // What was written is known; reading it all keeps the connection.
                std::io::copy(&mut response, &mut std::io::sink()).map_err(Error::Read)?;
                Ok(Ok(()))
            }
            409 => {
                let refusal: Refusal = response.json()?;
                drain(&mut response);
                Ok(Err(refusal.errors.unwrap_or_default()))
            }
            status => {
                let body = response.text_limited()?;
                Err(Error::Status { status, body })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_names_only_what_its_verb_needs() {
        let set = KvOperation {
            verb: "set",
            key: "a\"b".to_owned(),
            value: "eA==".to_owned(),
            flags: 7,
            ..KvOperation::default()
        };
        let check = KvOperation {
            verb: "check-session",
            key: "l".to_owned(),
            session: "s".to_owned(),
            ..KvOperation::default()
        };
        let text = serde_json::to_string(&[Wrapped(&set), Wrapped(&check)]).unwrap();
        assert_eq!(
            text,
            r#"[{"KV":{"Verb":"set","Key":"a\"b","Value":"eA==","Flags":7}},{"KV":{"Verb":"check-session","Key":"l","Session":"s"}}]"#
        );
    }
}
