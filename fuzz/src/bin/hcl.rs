//! Configuration in HCL.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_config::{Format, check_source};

tribune_fuzz::target! { memory: 32, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    if let Err(error) = check_source(&String::from_utf8_lossy(bytes), Format::Hcl) {
        let _ = error.to_string();
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"service {
  id = "web1" name = "web" kind = "connect-proxy" tags = ["a"] port = 80 enable_tag_override = true
  meta { k = "v" } weights { passing = 5 } tagged_addresses { wan { address = "9.9.9.9" port = 1 } }
  check { name = "c0" ttl = "15s" status = "passing" }
  checks = [{ http = "http://x" interval = "10s" header { "X-A.b" = ["1", "2"] } }]
  proxy {
    destination_service_name = "w" upstreams { destination_name = "db" local_bind_port = 9 }
    expose { checks = true paths { path = "/h" listener_port = 1 protocol = "http" } } mesh_gateway { mode = "local" }
  }
  connect { native = false sidecar_service { port = 99 } }
}"#,
        "# one\n// two\n/* three\n */\nserver = true\nbootstrap_expect = 3\nretry_join = [\"a\", \"b\",]\n",
        "ports { dns = 8600, http = -1, grpc = 0x1F }\naddresses { http = \"unix:///tmp/x\" }\nraft_protocol = 1.5e3\n",
        "node_meta = { \"a\" = \"\\u00e9\\n\\\"\\x41\\101\" b : 1 }\nlog_level = <<EOF\nline\nEOF\n",
        "data_dir = <<-EOF\n    indented\n  less\n  EOF\nbind_addr = \"{{ GetPrivateIP }}\"\n",
        "acl { enabled = true tokens { agent = \"x\" } }\nacl \"tokens\" { default = \"y\" }\nconnect { ca_config { a = [1, { b = 2 }] } }",
        "watches = [{ type = \"key\" key = \"a\" handler_type = \"script\" args = [\"x\"] }]\nlimits { rpc_rate = 1e9 }\nx = \"${var \"a}\"}\"",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
