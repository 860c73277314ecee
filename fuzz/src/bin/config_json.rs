//! Configuration in JSON.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_config::{Format, check_source};

tribune_fuzz::target! { memory: 32, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    if let Err(error) = check_source(&String::from_utf8_lossy(bytes), Format::Json) {
        let _ = error.to_string();
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"node_name":"n","performance":{"raft_multiplier":1},"bootstrap":true,"server":true,"segments":null,
        "log_level":"debug","bind_addr":"127.0.0.1","addresses":{},"ports":{"dns":10000,"http":-1,"server":10005},
        "acl":{"tokens":{}},"connect":{"enabled":true,"ca_config":{"cluster_id":"1"}}}"#,
        r#"{"service":[{"name":"a","port":1,"checks":[{"ttl":"1s","header":{"a":["b"]}}],"proxy":{"config":{"x":[1,{"y":null}]}}}]}"#,
        r#"{"services":{"name":"\u00e9\ud83d\ude00\n"},"check":{"http":"x","interval":"1s"},"watches":[{"type":"key"}]}"#,
        r#"{"dns_config":{"service_ttl":{"*":"5s"},"max_stale":"1h","soa":{"min_ttl":1}},"recursors":["1.1.1.1"],
        "limits":{"rpc_rate":1e9},"telemetry":{"prefix_filter":["+a","-b"]},"unknown":{"a":1.5e-3}}"#,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
