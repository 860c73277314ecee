//! Body decoders against what a real Consul 1.8.7 answered to the same bodies, and against hostile ones.

use std::time::Duration;

use tribune_api::parse::{self, BodyError};
use tribune_types::catalog::Status;
use tribune_types::coordinate::Coordinate;
use tribune_types::session::Behavior;
use tribune_types::text::text;
use tribune_types::txn::{CatalogVerb, KvVerb, TxnOp};
use tribune_types::value::Value;

fn error<T: std::fmt::Debug>(result: Result<T, BodyError>) -> String {
    match result {
        Ok(value) => format!("accepted: {value:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn service_definitions_are_refused_in_consuls_words() {
    for (body, want) in [
        ("", "EOF"),
        ("   \n", "EOF"),
        ("{", "unexpected EOF"),
        (r#"{"Name":"a"#, "unexpected EOF"),
        (
            r#"{"Name":5}"#,
            "json: cannot unmarshal number into Go struct field .Name of type string",
        ),
        (r#"{"Name":"a","Bogus":1}"#, "json: unknown field \"Bogus\""),
        (
            r#"{"Name":"a","Port":"80"}"#,
            "json: cannot unmarshal string into Go struct field .Port of type int",
        ),
        (
            r#"{"Name":"a","Port":80.5}"#,
            "json: cannot unmarshal number 80.5 into Go struct field .Port of type int",
        ),
        (
            r#"{"Name":"a","Port":1e2}"#,
            "json: cannot unmarshal number 1e2 into Go struct field .Port of type int",
        ),
        (
            r#"{"Name":"a","Port":99999999999999999999}"#,
            "json: cannot unmarshal number 99999999999999999999 into Go struct field .Port of type int",
        ),
        (
            r#"{"Name":"a","Tags":"x"}"#,
            "json: cannot unmarshal string into Go struct field .Tags of type []string",
        ),
        (
            r#"{"Name":"a","Tags":[1]}"#,
            "json: cannot unmarshal number into Go struct field .Tags of type string",
        ),
        (
            r#"{"Name":"a","Meta":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field .Meta of type string",
        ),
        (
            r#"{"Name":"a","Check":{"TTL":"x"}}"#,
            "time: invalid duration \"x\"",
        ),
        (
            r#"{"Name":"a","Check":{"TTL":"5s","Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","Checks":[{"ID":"x","TTL":"10s"}]}"#,
            "json: unknown field \"ID\"",
        ),
        (
            r#"{"Name":"a","Weights":{"Passing":1,"Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","Connect":{"SidecarService":{"Bogus":1}}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","Proxy":{"Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","Proxy":{"Upstreams":[{"Bogus":1}]}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","TaggedAddresses":{"x":{"Address":"1.1.1.1","Port":5,"Bogus":1}}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"a","Namespace":"x"}"#,
            "json: unknown field \"Namespace\"",
        ),
        (
            r#"{"NAME":"a","Check":{"ttl":"10s","check_id":"x"}}"#,
            "json: unknown field \"check_id\"",
        ),
        (
            r#"{"Name":"a","Check":{"Script":"x","Interval":"10s"}}"#,
            "json: unknown field \"Script\"",
        ),
        (
            r#"{"Name":"a","Check":{"TTL":"10s","Header":{"a":"b"}}}"#,
            "json: cannot unmarshal string into Go struct field .Check of type []string",
        ),
        (
            r#"{"Name":"a","Check":{"OutputMaxSize":"5","TTL":"10s"}}"#,
            "json: cannot unmarshal string into Go struct field .Check of type int",
        ),
        (
            r#"{"Name":"a","Check":{"Timeout":"x","TTL":"y"}}"#,
            "time: invalid duration \"x\"",
        ),
        (
            r#"{"Name":"a","Check":{"TTL":"10s","Status":"bogus"}}"#,
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            r#"{"Name":"a","EnableTagOverride":"true"}"#,
            "json: cannot unmarshal string into Go struct field .EnableTagOverride of type bool",
        ),
        (
            r#"{"Name":"a",}"#,
            "invalid character '}' looking for beginning of object key string",
        ),
        (
            "{'Name':'a'}",
            r"invalid character '\'' looking for beginning of object key string",
        ),
        (
            r#"{"Name":"a\x"}"#,
            "invalid character 'x' in string escape code",
        ),
        (
            r#"{"Name":tru}"#,
            "invalid character '}' in literal true (expecting 'e')",
        ),
        (
            r#"{"Name":01}"#,
            "invalid character '1' after object key:value pair",
        ),
        (
            "{\"Name\":\"a\tb\"}",
            r"invalid character '\t' in string literal",
        ),
        (
            "\0",
            r"invalid character '\x00' looking for beginning of value",
        ),
        (r#"{"Name" 1}"#, "invalid character '1' after object key"),
        ("[1 2]", "invalid character '2' after array element"),
        (r#"{"Name":-}"#, "invalid character '}' in numeric literal"),
        (
            r#"{"Name":1.}"#,
            "invalid character '}' after decimal point in numeric literal",
        ),
        (
            r#"{"Name":1e}"#,
            "invalid character '}' in exponent of numeric literal",
        ),
        (
            r#"{"Name":"\u12g4"}"#,
            r"invalid character 'g' in \u hexadecimal character escape",
        ),
    ] {
        assert_eq!(
            error(parse::service_definition(body.as_bytes())),
            want,
            "{body}"
        );
    }
}

#[test]
fn service_definitions_take_any_letter_case_aliases_and_trailing_data() {
    for body in [
        r#"{"Name":"a"}"#,
        r#"{"NAME":"a"} x"#,
        r#"{"name":"b","Name":"a"}"#,
        r#"{"Name":"a","Check":null,"Checks":null,"Proxy":null,"Connect":null,"Weights":null,"ID":null}"#,
        r#"{"Name":"a","Check":{}}"#,
        r#"{"Name":"a","Connect":{"Bogus":1}}"#,
        r#"{"Name":"a","Proxy":{}}"#,
    ] {
        let definition = parse::service_definition(body.as_bytes()).unwrap();
        assert_eq!(&*definition.name, "a", "{body}");
        assert!(
            definition.checks.is_empty() && definition.proxy.is_none(),
            "{body}"
        );
    }
    let definition = parse::service_definition(
        br#"{"name":"a","enable_tag_override":true,"EnableTagOverride":false,
            "tagged_addresses":{"lan":{"address":"1.2.3.4","port":80}},
            "check":{"ttl":5000000000,"deregister_critical_service_after":"90m","ServiceID":"ignored"},
            "checks":[{"args":["x"],"interval":"10s","interval":true,"tls_skip_verify":true,"status":"passing"}],
            "proxy":{"destination_service_name":"d","upstreams":[{"local_bind_port":1}],"config":{"a":{"b":[1,null]}}},
            "connect":{"sidecar_service":{"port":9}}}"#,
    )
    .unwrap();
    assert!(definition.enable_tag_override);
    assert_eq!(definition.tagged_addresses[0].1.port, 80);
    assert_eq!(definition.checks.len(), 2);
    assert_eq!(definition.checks[0].ttl, Duration::from_secs(5));
    assert_eq!(
        definition.checks[0].deregister_critical_service_after,
        Duration::from_secs(5400)
    );
    assert_eq!(definition.checks[1].script_args, [text("x")]);
    assert_eq!(definition.checks[1].status, Some(Status::Passing));
    assert!(definition.checks[1].tls_skip_verify);
    let proxy = definition.proxy.unwrap();
    assert_eq!(&*proxy.destination_service_name, "d");
    assert_eq!(proxy.upstreams.unwrap()[0].local_bind_port, 1);
    let config = proxy.config.unwrap();
    assert_eq!(
        config["a"],
        Value::Map([(text("b"), Value::List(vec![Value::Float(1.0), Value::Null]))].into())
    );
    assert_eq!(definition.sidecar.unwrap().port, 9);
}

#[test]
fn check_definitions_know_their_fields() {
    for (body, want) in [
        ("", "EOF"),
        (
            r#"{"Name":"x","TTL":"10s","Bogus":1}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Name":"x","TTL":"10s","CheckID":"cid"}"#,
            "json: unknown field \"CheckID\"",
        ),
        (
            r#"{"Name":"x","TTL":"10s","ID":"cid2","Status":"zz"}"#,
            "Bad check status",
        ),
        (
            r#"{"Name":"x","Interval":"z"}"#,
            "time: invalid duration \"z\"",
        ),
        (
            r#"{"Name":"x","TTL":"10s","Script":"z"}"#,
            "json: unknown field \"Script\"",
        ),
        (
            r#"{"Name":"x","TTL":"10s","Type":"z"}"#,
            "json: unknown field \"Type\"",
        ),
        (
            r#"{"Name":"x","TTL":"10s","Header":5}"#,
            "json: cannot unmarshal number into Go struct field .Header of type map[string][]string",
        ),
        (
            r#"{"Name":"x","TTL":"10s","args":5}"#,
            "json: cannot unmarshal number into Go struct field .args of type []string",
        ),
    ] {
        assert_eq!(
            error(parse::check_definition(body.as_bytes())),
            want,
            "{body}"
        );
    }
    let definition = parse::check_definition(
        br#"{"name":"x","ID":"i","HTTP":"z","Interval":"10s","docker_container_id":"x","service_id":"s","Token":"t"}"#,
    )
    .unwrap();
    assert_eq!(
        (
            &*definition.check.id,
            &*definition.service_id,
            &*definition.token
        ),
        ("i", "s", "t")
    );
    assert_eq!(definition.check.interval, Duration::from_secs(10));
}

#[test]
fn registrations_are_refused_in_consuls_words() {
    for (body, want) in [
        ("", "EOF"),
        (
            r#"{"Node":"a","Address":"1.1.1.1","Bogus":1}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Node":"a","Address":"1.1.1.1","Service":{"Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Node":"a","Address":"1.1.1.1","ID":"x"}"#,
            "Bad node ID: uuid string is wrong length",
        ),
        (
            r#"{"Node":"a","Address":"1.1.1.1","ID":"adf4238a-882b-9ddc-4a9d-5b6758e4159g"}"#,
            "Bad node ID: encoding/hex: invalid byte: U+0067 'g'",
        ),
        (
            r#"{"Node":"a","Address":"1.1.1.1","Check":{"Definition":{}}}"#,
            "failed inserting check: failed inserting check: object missing primary index on node \"a\"",
        ),
        (r#"{"ID":"x"}"#, "Must provide node"),
        (
            r#"{"ID":"x","Node":"a"}"#,
            "Must provide address if SkipNodeUpdate is not set",
        ),
        (
            r#"{"Node":"a","Address":"1.1.1.1","Check":{"Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"node":"a","address":"1.1.1.1","node_meta":{"a":"b"}}"#,
            "json: unknown field \"node_meta\"",
        ),
        (
            r#"{"Node":"a","WriteRequest":{"Token":"x"}}"#,
            "json: unknown field \"WriteRequest\"",
        ),
        (
            r#"{"Node":"a","Service":{"Service":"x","Port":"1"}}"#,
            "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
        ),
        (
            r#"{"Node":"a","Service":{"LocallyRegisteredAsSidecar":true}}"#,
            "json: unknown field \"LocallyRegisteredAsSidecar\"",
        ),
        (
            r#"{"Node":"a","Check":{"Name":"q","Definition":{"Interval":5,"TTL":"x"}}}"#,
            "time: invalid duration \"x\"",
        ),
        (
            r#"{"Node":"a","Namespace":"x"}"#,
            "json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            r#"{"Node":"a","Service":{"Service":"x","Namespace":"x"}}"#,
            "json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            r#"{"Node":5}"#,
            "json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string",
        ),
        (
            r#"{"Node":"a","Service":{"tagged_addresses":{}}}"#,
            "json: unknown field \"tagged_addresses\"",
        ),
        (
            r#"{"Node":"a","Checks":[{"check_id":"x"}]}"#,
            "json: unknown field \"check_id\"",
        ),
    ] {
        assert_eq!(error(parse::register(body.as_bytes())), want, "{body}");
    }
    let request = parse::register(
        br#"{"Node":"a","Address":"1.1.1.1","Check":{"Name":"q","Definition":{"Bogus":1,"TTL":"5s","Interval":5}},
            "Checks":[{"Name":"r","Status":"warning"}],"Service":{"Service":"x","CreateIndex":5,"Weights":{"Passing":1},
            "Connect":{"Native":true,"SidecarService":{"Name":"z"}}},"Token":"x"}"#,
    )
    .unwrap();
    let names: Vec<&str> = request.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["r", "q"]);
    assert_eq!(request.checks[1].status, Status::Critical);
    assert_eq!(
        request.checks[1].definition.as_ref().unwrap().ttl,
        Duration::from_secs(5)
    );
    let service = request.service.unwrap();
    assert!(service.connect_native);
    assert_eq!(
        service.weights.map(|w| (w.passing, w.warning)),
        Some((1, 0))
    );
}

#[test]
fn deregistrations_ignore_the_address_and_refuse_unknown_fields() {
    let request = parse::deregister(
        br#"{"Node":"a","ServiceID":"z","CheckID":"c","Address":"x","Datacenter":"dc1"}"#,
    )
    .unwrap();
    assert_eq!(
        (
            &*request.node,
            &*request.service_id,
            &*request.check_id,
            &*request.datacenter
        ),
        ("a", "z", "c", "dc1")
    );
    assert_eq!(
        error(parse::deregister(br#"{"Node":"a","Bogus":1}"#)),
        "json: unknown field \"Bogus\""
    );
    assert_eq!(
        error(parse::deregister(br#"{"node":"a","service_id":"z"}"#)),
        "json: unknown field \"service_id\""
    );
}

#[test]
fn sessions_have_consuls_defaults() {
    let session = |body: &str| parse::session(body.as_bytes(), &text("n1"));
    let names = |list: &Option<Vec<tribune_types::text::Text>>| {
        list.as_ref()
            .map(|l| l.iter().map(|t| t.to_string()).collect::<Vec<_>>())
    };
    // (body, lock delay in ns, node checks, older checks)
    let default = Some(vec!["serfHealth".to_owned()]);
    for (body, delay, node_checks, checks) in [
        ("", 15_000_000_000u64, default.clone(), None),
        ("null", 15_000_000_000, default.clone(), None),
        (
            r#"{"Bogus":1,"ID":"abc"} x"#,
            15_000_000_000,
            default.clone(),
            None,
        ),
        (r#"{"LockDelay":5}"#, 5_000_000_000, default.clone(), None),
        (
            r#"{"LockDelay":999}"#,
            999_000_000_000,
            default.clone(),
            None,
        ),
        (r#"{"LockDelay":1000}"#, 1000, default.clone(), None),
        (r#"{"LockDelay":1.5}"#, 1_000_000_000, default.clone(), None),
        (
            r#"{"LockDelay":"70s"}"#,
            70_000_000_000,
            default.clone(),
            None,
        ),
        (r#"{"LockDelay":true}"#, 0, default.clone(), None),
        (r#"{"LockDelay":-1}"#, 0, default.clone(), None),
        (r#"{"Checks":[]}"#, 15_000_000_000, Some(vec![]), None),
        (r#"{"Checks":null}"#, 15_000_000_000, Some(vec![]), None),
        (r#"{"NodeChecks":null}"#, 15_000_000_000, None, None),
        (r#"{"NodeChecks":[]}"#, 15_000_000_000, Some(vec![]), None),
        (
            r#"{"Checks":["serfHealth"],"NodeChecks":["serfHealth"]}"#,
            15_000_000_000,
            default.clone(),
            None,
        ),
        (
            r#"{"Checks":["script"]}"#,
            15_000_000_000,
            default.clone(),
            Some(vec!["script".to_owned()]),
        ),
    ] {
        let session = session(body).unwrap();
        assert_eq!(session.lock_delay, Duration::from_nanos(delay), "{body}");
        assert_eq!(names(&session.node_checks), node_checks, "{body}");
        assert_eq!(names(&session.checks), checks, "{body}");
        assert_eq!(&*session.node, "n1", "{body}");
    }
    let given = session(r#"{"Node":"x","Behavior":"delete","TTL":"15s","ServiceChecks":[{"ID":"c","Namespace":"z"}]}"#).unwrap();
    assert_eq!(
        (&*given.node, given.behavior, &*given.ttl),
        ("x", Behavior::Delete, "15s")
    );
    assert_eq!(&*given.service_checks.unwrap()[0].id, "c");
    for (body, want) in [
        ("{", "unexpected EOF"),
        (r#"{"LockDelay":"x"}"#, "time: invalid duration \"x\""),
        (r#"{"Behavior":"x"}"#, "Invalid Behavior setting 'x'"),
        (
            r#"{"Name":5}"#,
            "json: cannot unmarshal number into Go struct field .Name of type string",
        ),
        (
            r#"{"Checks":"x"}"#,
            "json: cannot unmarshal string into Go struct field .Checks of type []types.CheckID",
        ),
        (
            r#"{"TTL":5}"#,
            "json: cannot unmarshal number into Go struct field .TTL of type string",
        ),
        (
            r#"{"ServiceChecks":["x"]}"#,
            "json: cannot unmarshal string into Go struct field .ServiceChecks of type structs.ServiceCheck",
        ),
    ] {
        assert_eq!(error(session(body)), want, "{body}");
    }
}

#[test]
fn transactions_are_refused_in_consuls_words() {
    for (body, status, want) in [
        ("", 400, "Failed to parse body: EOF"),
        (
            "{}",
            400,
            "Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps",
        ),
        (
            "\0\0",
            400,
            r"Failed to parse body: invalid character '\x00' looking for beginning of value",
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"t","Value":"!!"}}]"#,
            400,
            "Failed to parse body: illegal base64 data at input byte 0",
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"k","Value":"QUE"}}]"#,
            400,
            "Failed to parse body: illegal base64 data at input byte 0",
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"t","Value":5}}]"#,
            400,
            "Failed to parse body: json: cannot unmarshal number into Go struct field KVTxnOp.KV.Value of type []uint8",
        ),
        (
            r#"[{"KV":{"Verb":"set","Bogus":1}}]"#,
            400,
            "Failed to parse body: json: unknown field \"Bogus\"",
        ),
        (
            r#"[{"Intention":{}}]"#,
            400,
            "Failed to parse body: json: unknown field \"Intention\"",
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"k","Flags":-1}}]"#,
            400,
            "Failed to parse body: json: cannot unmarshal number -1 into Go struct field KVTxnOp.KV.Flags of type uint64",
        ),
        (
            r#"[{"Check":{"Check":{"Definition":{"Interval":"z"}}}}]"#,
            400,
            "Failed to parse body: time: invalid duration \"z\"",
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"k","Value":"QUFBQUE="}}]"#,
            413,
            "Value for key \"k\" is too large (5 > 4 bytes)",
        ),
    ] {
        let error = parse::txn(body.as_bytes(), 4).unwrap_err();
        assert_eq!((error.status, &*error.text), (status, want), "{body}");
    }
    let many = format!(
        "[{}]",
        vec![r#"{"KV":{"Verb":"get","Key":"k"}}"#; 65].join(",")
    );
    let error = parse::txn(many.as_bytes(), 4).unwrap_err();
    assert_eq!(
        (error.status, &*error.text),
        (413, "Transaction contains too many operations (65 > 64)")
    );
}

#[test]
fn wrong_operations_are_reported_by_position() {
    // (body, writes, errors)
    for (body, writes, want) in [
        (
            r#"[{},{"KV":{"Verb":"zz","Key":"t"}},null]"#,
            false,
            vec![(0, "unknown KV verb \"zz\"")],
        ),
        (
            r#"[{"KV":{"Verb":"get","Key":"t"}},{"Node":{"Verb":"zz","Node":{"Node":"x"}}}]"#,
            true,
            vec![(1, "unknown Node verb \"zz\"")],
        ),
        (
            r#"[{"Service":{"Verb":"zz","Node":"x"}}]"#,
            true,
            vec![(0, "unknown Service verb \"zz\"")],
        ),
        (
            r#"[{"Check":{"Verb":"zz"}}]"#,
            true,
            vec![(0, "unknown Check verb \"zz\"")],
        ),
        (
            r#"[{"Node":{"Verb":"set","Node":{"Node":"t","ID":"x"}}}]"#,
            true,
            vec![(0, "Bad node ID: uuid string is wrong length")],
        ),
        (
            r#"[{"Check":{}},{"Service":{}},{"Node":{}},{"KV":{}}]"#,
            true,
            vec![(2, "Must provide node"), (3, "Must provide key")],
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":""}}]"#,
            true,
            vec![(0, "Must provide key")],
        ),
        (
            r#"[{"KV":{"Verb":"lock","Key":"t","Session":"x"}}]"#,
            true,
            vec![(
                0,
                "failed session lookup: index error: UUID must be 36 characters",
            )],
        ),
    ] {
        let request = parse::txn(body.as_bytes(), 1 << 20).unwrap();
        let errors: Vec<(usize, &str)> = request
            .errors
            .iter()
            .map(|e| (e.op_index, &*e.what))
            .collect();
        assert_eq!((request.writes, errors), (writes, want), "{body}");
    }
}

#[test]
fn transactions_carry_what_consuls_carry() {
    let request = parse::txn(
        br#"[{"kv":{"verb":"cas","key":"t","value":"aGk\n=","flags":5,"index":7,"Namespace":"x"}},
             {"Node":{"Verb":"get","Node":{"Node":"n"}}},
             {"Service":{"Verb":"set","Node":"n","Service":{"Service":"s","Kind":"connect-proxy","Tags":["q"],"Meta":{"a":"b"},
               "Proxy":{"DestinationServiceName":"z"},"Connect":{"Native":true},"Weights":{"Passing":1}}}},
             {"Check":{"Verb":"set","Check":{"Node":"n","CheckID":"c","Status":"passing","Type":"ttl","ServiceTags":["a"],
               "Definition":{"TCP":"t","TTL":"1s","IntervalDuration":"7s"}}}}] trailing"#,
        1 << 20,
    )
    .unwrap();
    assert!(request.writes && request.errors.is_empty());
    let [
        TxnOp::Kv(KvVerb::Cas, entry),
        TxnOp::Node(CatalogVerb::Get, node),
        TxnOp::Service(CatalogVerb::Set, on, service),
        TxnOp::Check(_, check),
    ] = &request.ops[..]
    else {
        panic!("{:?}", request.ops);
    };
    assert_eq!(
        (&*entry.key, &*entry.value, entry.flags, entry.modify.0),
        (&b"t"[..], &b"hi"[..], 5, 7)
    );
    assert_eq!((&*node.name, &**on, &*service.name), ("n", "n", "s"));
    assert!(
        service.proxy.is_none()
            && !service.connect_native
            && service.kind == tribune_types::catalog::ServiceKind::Typical
    );
    let detail = check.definition.as_ref().unwrap();
    assert_eq!(
        (&*detail.tcp, detail.interval, detail.ttl),
        ("t", Duration::from_secs(7), Duration::ZERO)
    );
    assert!(check.check_type.is_empty() && check.service_tags.is_empty());
    for empty in ["[]", "null", "[{}]", r#"[{"KV":null}]"#] {
        let request = parse::txn(empty.as_bytes(), 1).unwrap();
        assert!(request.ops.is_empty() && !request.writes, "{empty}");
    }
}

#[test]
fn small_bodies_are_strict() {
    assert_eq!(
        error(parse::check_update(br#"{"Status":"passing","Bogus":1}"#)),
        "json: unknown field \"Bogus\""
    );
    assert_eq!(
        &*parse::check_update(br#"{"status":"warning"}"#)
            .unwrap()
            .status,
        "warning"
    );
    assert_eq!(
        error(parse::token(br#"{"Token":"","Bogus":1}"#)),
        "json: unknown field \"Bogus\""
    );
    assert_eq!(&*parse::token(br#"{"token":"t"}"#).unwrap(), "t");
    for (body, want) in [
        (r#"{"Bogus":1}"#, "json: unknown field \"Bogus\""),
        (
            r#"{"LastContactThreshold":""}"#,
            "time: invalid duration \"\"",
        ),
        (
            r#"{"MaxTrailingLogs":-1}"#,
            "json: cannot unmarshal number -1 into Go struct field AutopilotConfiguration.MaxTrailingLogs of type uint64",
        ),
        (
            r#"{"MinQuorum":1.0}"#,
            "json: cannot unmarshal number 1.0 into Go struct field AutopilotConfiguration.MinQuorum of type uint",
        ),
        (
            r#"{"last_contact_threshold":"5s"}"#,
            "json: unknown field \"last_contact_threshold\"",
        ),
    ] {
        assert_eq!(error(parse::autopilot(body.as_bytes())), want, "{body}");
    }
    let config = parse::autopilot(
        br#"{"lastcontactthreshold":"5s","ServerStabilizationTime":7,"ModifyIndex":4}"#,
    )
    .unwrap();
    assert_eq!(
        (
            config.last_contact_threshold,
            config.server_stabilization_time
        ),
        (Duration::from_secs(5), Duration::from_nanos(7))
    );
    assert!(!config.cleanup_dead_servers);
}

#[test]
fn coordinates_without_a_position_are_nothing() {
    assert_eq!(parse::coordinate_update(br#"{"Node":"n1"}"#).unwrap(), None);
    assert_eq!(
        parse::coordinate_update(br#"{"Node":"n1","Coord":null}"#).unwrap(),
        None
    );
    let entry = parse::coordinate_update(
        br#"{"Node":"n1","Segment":"s","Coord":{"Vec":[1,2.5e0],"Height":1e-3}}"#,
    )
    .unwrap()
    .unwrap();
    assert_eq!(
        entry.coord,
        Coordinate {
            vec: vec![1.0, 2.5],
            error: 0.0,
            adjustment: 0.0,
            height: 0.001
        }
    );
    for (body, want) in [
        (
            r#"{"Node":"n1","Coord":{"Bogus":1}}"#,
            "json: unknown field \"Bogus\"",
        ),
        (
            r#"{"Node":"n1","Coord":{"Vec":[1e400]}}"#,
            "json: cannot unmarshal number 1e400 into Go struct field Coordinate.Coord.Vec of type float64",
        ),
        (
            r#"{"Node":"n1","Coord":{"Vec":"x"}}"#,
            "json: cannot unmarshal string into Go struct field Coordinate.Coord.Vec of type []float64",
        ),
    ] {
        assert_eq!(
            error(parse::coordinate_update(body.as_bytes())),
            want,
            "{body}"
        );
    }
}

/// Every decoder, for hostile inputs.
fn all(body: &[u8]) {
    let _ = parse::service_definition(body);
    let _ = parse::check_definition(body);
    let _ = parse::register(body);
    let _ = parse::deregister(body);
    let _ = parse::session(body, &text("n"));
    let _ = parse::txn(body, 100);
    let _ = parse::check_update(body);
    let _ = parse::token(body);
    let _ = parse::coordinate_update(body);
    let _ = parse::autopilot(body);
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"Name\":{}1{}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        )
    };
    for body in [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(10_000),
        deep("[{\"Proxy\":", "}]"),
    ] {
        let text = error(parse::service_definition(body.as_bytes()));
        assert!(text.ends_with("exceeded max depth"), "{text}");
        all(body.as_bytes());
    }
    // What every field that may nest does nest.
    let fair = format!(
        r#"{{"Name":"a","Proxy":{{"Config":{{"x":{}1{}}}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    assert!(parse::service_definition(fair.as_bytes()).is_ok());
}

#[test]
fn broken_text_becomes_replacement_characters() {
    let definition =
        parse::service_definition(b"{\"Name\":\"a\xff\\ud800\\ud83d\\ude00\xe2\x82\"}").unwrap();
    assert_eq!(
        &*definition.name,
        "a\u{fffd}\u{fffd}\u{1f600}\u{fffd}\u{fffd}"
    );
    let lone = parse::service_definition(br#"{"Name":"\ud800\u0041"}"#).unwrap();
    assert_eq!(&*lone.name, "\u{fffd}A");
}

#[test]
fn no_prefix_or_mutation_of_a_body_panics() {
    let bodies = [
        r#"{"Name":"a","Check":{"TTL":"10s","Header":{"a":["b"]}},"Proxy":{"Upstreams":[{"Config":{"x":[1,2,{}]}}]},"Connect":{"SidecarService":{"Port":1}}}"#,
        r#"{"Node":"a","Address":"é","ID":"adf4238a-882b-9ddc-4a9d-5b6758e4159e","Service":{"Service":"s","Weights":{"Passing":1}},"Checks":[{"Definition":{"TTL":"5s"}}]}"#,
        r#"[{"KV":{"Verb":"set","Key":"k","Value":"QUE=","Flags":1}},{"Check":{"Verb":"set","Check":{"Status":"passing"}}}]"#,
        r#"{"Node":"n1","Coord":{"Vec":[1,2,-3.5e-7],"Error":1,"Height":0.001}}"#,
        "\"\\u12",
    ];
    for body in bodies {
        let bytes = body.as_bytes();
        for end in 0..=bytes.len() {
            all(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for byte in [0, b'"', b'\\', b'{', b']', b'-', b'9', 0xff, 0xe2] {
                let mut broken = bytes.to_vec();
                broken[at] = byte;
                all(&broken);
            }
        }
    }
    all(format!("{{\"Port\":{}}}", "9".repeat(100_000)).as_bytes());
    all(format!("{{\"Check\":{{\"TTL\":{}}}}}", "9".repeat(1000)).as_bytes());
    all(format!("{{\"LockDelay\":-{}}}", "9".repeat(1000)).as_bytes());
}
