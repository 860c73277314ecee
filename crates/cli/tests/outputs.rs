//! What commands print and how they end, against a server that gives prepared answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use support::{Done, cli};

/// Answers by request line: the first entry whose key the line starts with.
struct Server {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &'static [(&'static str, u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let mut reader = BufReader::new(stream);
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let mut length = 0;
                    loop {
                        let mut header = String::new();
                        if reader.read_line(&mut header).unwrap() <= 2 {
                            break;
                        }
                        let lower = header.to_ascii_lowercase();
                        if let Some(n) = lower.strip_prefix("content-length:") {
                            length = n.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let request = line.trim_end_matches(" HTTP/1.1\r\n");
                    let text = String::from_utf8_lossy(&body);
                    log.lock().unwrap().push(format!("{request} {text}").trim_end().to_owned());
                    let found = answers.iter().find(|(key, ..)| request.starts_with(key));
                    let (status, answer) = found.map_or((404, ""), |(_, status, answer)| (*status, *answer));
                    write!(
                        reader.get_mut(),
                        "HTTP/1.1 {status} x\r\nX-Consul-Index: 7\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                        answer.len()
                    )
                    .unwrap();
                }
            })
            .unwrap();
        Self { addr, seen }
    }

    fn run(&self, args: &[&str]) -> Done {
        cli(
            args,
            &[("CONSUL_HTTP_ADDR", &self.addr.to_string())],
            b"from stdin",
        )
    }
}

fn done(out: &str, err: &str, code: i32) -> Done {
    Done {
        out: out.to_owned(),
        err: err.to_owned(),
        code,
    }
}

#[test]
fn kv_commands_print_what_scripts_expect() {
    let server = Server::start(&[
        (
            "GET /v1/kv/foo",
            200,
            r#"[{"Key":"foo","Value":"YmFy","Flags":3,"CreateIndex":1,"ModifyIndex":2,"LockIndex":0}]"#,
        ),
        (
            "GET /v1/kv/a/?keys=&separator=%2F",
            200,
            r#"["a/b","a/c/"]"#,
        ),
        (
            "GET /v1/kv/a/?recurse=",
            200,
            r#"[{"Key":"a/b","Value":"MQ=="},{"Key":"a/c","Value":null}]"#,
        ),
        ("GET /v1/kv/denied", 403, "Permission denied"),
        ("PUT /v1/kv/cas?cas=9", 200, "false"),
        ("PUT /v1/kv/", 200, "true"),
        ("DELETE /v1/kv/", 200, "true"),
    ]);
    for (args, want) in [
        (&["kv", "get", "foo"][..], done("bar\n", "", 0)),
        (&["kv", "get", "/foo"], done("bar\n", "", 0)),
        (&["kv", "get", "-base64", "foo"], done("YmFy\n", "", 0)),
        (
            &["kv", "get", "none"],
            done("", "Error! No key exists at: none\n", 1),
        ),
        (&["kv", "get", "-recurse", "none"], done("", "", 0)),
        (
            &["kv", "get", "-recurse", "a/"],
            done("a/b:1\na/c:\n", "", 0),
        ),
        (&["kv", "get", "-keys", "a/"], done("a/b\na/c/\n", "", 0)),
        (
            &["kv", "get", "denied"],
            done(
                "",
                "Error querying Consul agent: Unexpected response code: 403\n",
                1,
            ),
        ),
        (
            &["kv", "get", "-detailed", "foo"],
            done(
                "CreateIndex      1\nFlags            3\nKey              foo\nLockIndex        0\nModifyIndex      2\nSession          -\nValue            bar\n",
                "",
                0,
            ),
        ),
        (
            &["kv", "put", "a", "b"],
            done("Success! Data written to: a\n", "", 0),
        ),
        (
            &["kv", "put", "-cas", "-modify-index=9", "cas", "b"],
            done("", "Error! Did not write to cas: CAS failed\n", 1),
        ),
        (
            &["kv", "put", "-acquire", "-session=s", "a"],
            done("Success! Lock acquired on: a\n", "", 0),
        ),
        (
            &["kv", "put", "-release", "-session=s", "a"],
            done("Success! Lock released on: a\n", "", 0),
        ),
        (
            &["kv", "delete", "-recurse", "a"],
            done("Success! Deleted keys with prefix: a\n", "", 0),
        ),
        (
            &["kv", "export", "a/"],
            done(
                "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"MQ==\"\n\t},\n\t{\n\t\t\"key\": \"a/c\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n",
                "",
                0,
            ),
        ),
        (&["kv", "export", "none"], done("[]\n", "", 0)),
        (
            &["kv", "import", r#"[{"key":"x","flags":1,"value":"YQ=="}]"#],
            done("Imported: x\n", "", 0),
        ),
    ] {
        assert_eq!(server.run(args), want, "{args:?}");
    }
}

#[test]
fn requests_carry_what_the_flags_say() {
    let server = Server::start(&[("PUT /", 200, "true"), ("GET /", 200, "[]")]);
    for (args, want) in [
        (
            &["kv", "put", "-flags=12", "a", "-2"][..],
            "PUT /v1/kv/a?flags=12 -2",
        ),
        (&["kv", "put", "a", "-"], "PUT /v1/kv/a from stdin"),
        (
            &["kv", "put", "-base64", "a", "aGVsbG8="],
            "PUT /v1/kv/a hello",
        ),
        (
            &["kv", "put", "-datacenter=dc2", "a", ""],
            "PUT /v1/kv/a?dc=dc2",
        ),
        (
            &[
                "catalog",
                "nodes",
                "-stale",
                "-node-meta",
                "a=b",
                "-node-meta=c=d",
                "-near=n",
            ],
            "GET /v1/catalog/nodes?near=n&node-meta=a%3Ab&node-meta=c%3Ad&stale=",
        ),
        (
            &["force-leave", "-prune", "a/b"],
            "PUT /v1/agent/force-leave/a%2Fb?prune=1",
        ),
        (&["maint", "-x"], ""),
        (
            &[
                "services",
                "register",
                "-name=web",
                "-tagged-address",
                "v6=[2001:db8::12]:1234",
            ],
            "PUT /v1/agent/service/register {\"Address\":\"\",\"ID\":\"\",\"Meta\":{},\"Name\":\"web\",\"Port\":0,\"TaggedAddresses\":{\"v6\":{\"Address\":\"2001:db8::12\",\"Port\":1234}},\"Tags\":[]}",
        ),
    ] {
        server.seen.lock().unwrap().clear();
        server.run(args);
        let seen = server
            .seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default();
        assert_eq!(seen, want, "{args:?}");
    }
}

#[test]
fn tables_and_empty_results() {
    let server = Server::start(&[
        ("GET /v1/catalog/nodes?filter", 200, "[]"),
        (
            "GET /v1/catalog/nodes",
            200,
            r#"[{"ID":"0123456789","Node":"a|b","Address":"1.1.1.1","Datacenter":"dc1","Meta":null}]"#,
        ),
        (
            "GET /v1/catalog/services",
            200,
            r#"{"web":["b","a"],"consul":[]}"#,
        ),
        (
            "GET /v1/agent/members",
            200,
            r#"[{"Name":"s","Addr":"::1","Port":1,"Status":1,"Tags":{"role":"consul","build":"1.8.7:x","dc":"dc1","vsn":"2"}},{"Name":"c","Addr":"1.1.1.1","Port":2,"Status":4,"Tags":{"role":"node"}}]"#,
        ),
        (
            "GET /v1/operator/raft/configuration",
            200,
            r#"{"Servers":[{"ID":"i","Node":"n","Address":"a:1","Leader":true,"Voter":true,"ProtocolVersion":"3"}]}"#,
        ),
    ]);
    for (args, want) in [
        (
            &["catalog", "nodes"][..],
            done(
                "Node  ID        Address  DC\na|b   01234567  1.1.1.1  dc1\n",
                "",
                0,
            ),
        ),
        (
            &["catalog", "nodes", "-filter", "x"],
            done(
                "",
                "No nodes match the given query - try expanding your search.\n",
                0,
            ),
        ),
        (&["catalog", "services"], done("consul\nweb\n", "", 0)),
        (
            &["catalog", "services", "-tags"],
            done("consul      \nweb         a,b\n", "", 0),
        ),
        (
            &["members"],
            done(
                "Node  Address    Status  Type    Build  Protocol  DC   Segment\nc     1.1.1.1:2  failed  client  < 0.3                 <default>\ns     [::1]:1    alive   server  1.8.7  2         dc1  <all>\n",
                "",
                0,
            ),
        ),
        (&["members", "-status", "zork"], done("", "", 2)),
        (
            &["operator", "raft", "list-peers"],
            done(
                "Node  ID  Address  State   Voter  RaftProtocol\nn     i   a:1      leader  true   3\n",
                "",
                0,
            ),
        ),
    ] {
        assert_eq!(server.run(args), want, "{args:?}");
    }
}

#[test]
fn a_lock_runs_its_child_and_tells_how_it_ended() {
    let server = Server::start(&[
        ("GET /v1/agent/self", 200, r#"{"Config":{"NodeName":"n"}}"#),
        ("PUT /v1/session/create", 200, r#"{"ID":"s"}"#),
        (
            "GET /v1/kv/p/.lock",
            200,
            r#"[{"Key":"p/.lock","Flags":3304740253564472344,"Session":"s"}]"#,
        ),
        ("PUT /", 200, "true"),
    ]);
    let failed = server.run(&["lock", "-child-exit-code", "p", "exit", "4"]);
    assert_eq!(
        failed,
        done("", "Error running handler: exit status 4\n", 2)
    );
    let ignored = server.run(&["lock", "p", "exit", "4"]);
    assert_eq!(ignored.code, 0);
    let verbose = server.run(&[
        "lock",
        "-verbose",
        "p",
        "test",
        "$CONSUL_LOCK_HELD",
        "=",
        "true",
    ]);
    // This server never lets go of the key, so it cannot be cleaned away.
    let want = "Setting up lock at path: p/.lock\nAttempting lock acquisition\nStarting handler\nChild terminated, releasing lock\nCleanup aborted, lock in use\n";
    assert_eq!(verbose, done(want, "", 0));
    let seen = server.seen.lock().unwrap().clone();
    assert!(
        seen.iter().any(|r| r.starts_with("PUT /v1/session/create")
            && r.contains("Consul lock for 'exit 4' at 'p'")),
        "{seen:?}"
    );
}

#[test]
fn the_frame_around_commands_ends_as_documented() {
    let run = |args: &[&str]| cli(args, &[], b"");
    assert_eq!(run(&[]).code, 127);
    assert_eq!(run(&["zork"]).code, 127);
    assert!(
        run(&[])
            .err
            .starts_with("Usage: consul [--version] [--help] <command> [<args>]")
    );
    assert_eq!(run(&["acl"]).code, 1);
    for args in [
        &["-h"][..],
        &["kv", "-h"],
        &["kv", "get", "a", "--help"],
        &["acl", "token", "create", "-help"],
    ] {
        let got = run(args);
        assert_eq!((got.code, got.err.as_str()), (0, ""), "{args:?}");
        assert!(got.out.starts_with("Usage: consul"), "{args:?}");
    }
    assert_eq!(run(&["agent", "-dev", "-x"]).code, 42);
    assert_eq!(run(&["agent", "-h"]).out, "Usage: consul agent [options]\n");
    assert_eq!(
        run(&["acl", "bootstrap"]),
        done("", "acl bootstrap is not built yet\n", 1)
    );
    let version = run(&["--version"]).out;
    assert!(
        version.starts_with("Consul v1.8.7\nRevision tribune-test\nProtocol 2 spoken"),
        "{version}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&run(&["version", "-format=json"]).out).unwrap();
    assert_eq!(json["Version"], "1.8.7");
    let unknown = run(&["kv", "get", "-x"]);
    assert!(
        unknown
            .err
            .starts_with("flag provided but not defined: -x\nUsage:\n"),
        "{unknown:?}"
    );
    assert_eq!(unknown.code, 1);
    let key = run(&["keygen"]).out;
    assert_eq!(key.trim().len(), 44);
    assert_ne!(key, run(&["keygen"]).out);
}

#[test]
fn tokens_come_from_flag_then_file_then_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let path = file.to_str().unwrap();
    // Each run asks a server that answers with nothing; what counts is the header, seen by a bare listener.
    for (args, vars, want) in [
        (
            &["-token=flag"][..],
            &[("CONSUL_HTTP_TOKEN", "env")][..],
            "flag",
        ),
        (
            &["-token-file", path],
            &[("CONSUL_HTTP_TOKEN", "env")],
            "from-file",
        ),
        (
            &[],
            &[
                ("CONSUL_HTTP_TOKEN", "env"),
                ("CONSUL_HTTP_TOKEN_FILE", path),
            ],
            "env",
        ),
        (&[], &[("CONSUL_HTTP_TOKEN_FILE", path)], "from-file"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let seen = std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !text.ends_with("\r\n\r\n") {
                    reader.read_line(&mut text).unwrap();
                }
                stream
                    .write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
                text
            })
            .unwrap();
        let mut line = vec!["kv", "get", "-http-addr", &addr];
        line.extend(args);
        line.push("a");
        cli(&line, vars, b"");
        let seen = seen.join().unwrap();
        assert!(
            seen.contains(&format!("X-Consul-Token: {want}\r\n")),
            "{seen}"
        );
    }
    let missing = cli(&["kv", "get", "-token-file=/nope", "a"], &[], b"");
    assert_eq!(
        missing.err,
        "Error connecting to Consul agent: Error loading token file: open /nope: no such file or directory\n"
    );
}

#[test]
fn bad_arguments_are_refused_before_any_request() {
    for (args, want) in [
        (&["kv", "put"][..], "Error! Missing KEY argument"),
        (
            &["kv", "put", "-cas", "a"],
            "Must specify -modify-index with -cas!",
        ),
        (
            &["kv", "put", "-acquire", "a"],
            "Error! Missing -session (required with -acquire and -release)",
        ),
        (
            &["kv", "delete", "-cas", "-recurse", "-modify-index=1", "a"],
            "Cannot specify both -cas and -recurse!",
        ),
        (
            &["kv", "import", "zork"],
            "Cannot unmarshal data: invalid character 'z' looking for beginning of value",
        ),
        (
            &["kv", "put", "a", "@/nope"],
            "Error! Failed to read file: open /nope: no such file or directory",
        ),
        (
            &["members", "-status", "("],
            "Failed to compile status regexp: error parsing regexp: missing closing ): `(`",
        ),
        (&["watch", "-type=nope"], "Unsupported watch type: nope"),
        (
            &["watch", "-type=connect_leaf"],
            "Type connect_leaf is not supported in the CLI tool",
        ),
        (
            &["lock", "-n=0", "p", "true"],
            "Lock holder limit must be positive",
        ),
        (
            &["lock", "-try=-10s", "p", "true"],
            "Timeout must be positive",
        ),
        (
            &["lock", "-monitor-retry=-5", "p", "true"],
            "Number for 'monitor-retry' must be >= 0",
        ),
        (&["snapshot", "save"], "Missing FILE argument"),
        (
            &["snapshot", "inspect", "a", "b"],
            "Too many arguments (expected 1, got 2)",
        ),
        (
            &["services", "register"],
            "Service registration requires at least one argument or flags.",
        ),
        (
            &["services", "deregister", "-id=a", "f"],
            "Service deregistration requires arguments or -id, not both.",
        ),
        (
            &["keyring", "-list", "-relay-factor=6"],
            "Error parsing relay factor: Relay factor must be in range: [0, 5]",
        ),
        (
            &["tls", "cert", "create", "-client", "-node", "a"],
            "-node requires -server",
        ),
        (
            &["operator", "raft", "remove-peer"],
            "Error removing peer: an address or id is required for the peer to remove",
        ),
        (
            &["rtt", "-wan", "a"],
            "Node names must be specified as <node name>.<datacenter> with -wan",
        ),
        (&["version", "-format=zz"], "Unknown format: zz"),
        (
            &["validate"],
            "Must specify at least one config file or directory",
        ),
        (
            &["debug", "a"],
            "==> debug: Too many arguments provided, expected 0",
        ),
    ] {
        assert_eq!(
            cli(args, &[], b""),
            done("", &format!("{want}\n"), 1),
            "{args:?}"
        );
    }
}
