//! Gossip encryption keys by pool.

use std::collections::BTreeMap;

use tribune_types::keyring::KeyringResponse;
use tribune_types::text::Text;

use super::write::{boolean, field, int, list, object, raw, string};

/// What the members of each pool answered, in the order given.
pub fn keyring(out: &mut Vec<u8>, responses: &[KeyringResponse]) {
    list(out, responses, |out, response| {
        raw(out, b"{\"WAN\":");
        boolean(out, response.wan);
        field(out, b",\"Datacenter\":", &response.datacenter);
        field(out, b",\"Segment\":", &response.segment);
        if !response.messages.is_empty() {
            raw(out, b",\"Messages\":");
            object(out, &response.messages, |out, text| string(out, text));
        }
        raw(out, b",\"Keys\":");
        counts(out, &response.keys);
        raw(out, b",\"PrimaryKeys\":");
        counts(out, &response.primary_keys);
        raw(out, b",\"NumNodes\":");
        int(out, response.num_nodes);
        if !response.error.is_empty() {
            field(out, b",\"Error\":", &response.error);
        }
        out.push(b'}');
    });
}

fn counts(out: &mut Vec<u8>, counts: &BTreeMap<Text, i64>) {
    object(out, counts, |out, count| int(out, *count));
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn pools_are_shown_with_what_there_is_to_show() {
        let wan = KeyringResponse {
            wan: true,
            datacenter: text("dc1"),
            keys: [(text("a="), 1), (text("b="), 1)].into_iter().collect(),
            primary_keys: [(text("a="), 1)].into_iter().collect(),
            num_nodes: 1,
            ..KeyringResponse::default()
        };
        let lan = KeyringResponse {
            datacenter: text("dc1"),
            messages: [(text("n"), text("m"))].into_iter().collect(),
            num_nodes: 2,
            error: text("e"),
            ..KeyringResponse::default()
        };
        let mut out = Vec::new();
        keyring(&mut out, &[wan, lan]);
        // The first as captured from Consul 1.8.7.
        assert_eq!(
            String::from_utf8_lossy(&out),
            concat!(
                r#"[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"a=":1,"b=":1},"PrimaryKeys":{"a=":1},"#,
                r#""NumNodes":1},{"WAN":false,"Datacenter":"dc1","Segment":"","Messages":{"n":"m"},"Keys":{},"#,
                r#""PrimaryKeys":{},"NumNodes":2,"Error":"e"}]"#
            )
        );
    }
}
