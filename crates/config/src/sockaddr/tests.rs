use super::*;
use crate::interfaces::Interface;

fn host() -> Interfaces {
    let entry = |name: &str, ip: &str, prefix_len| Interface {
        name: name.to_owned(),
        ip: ip.parse().unwrap(),
        prefix_len,
        up: name != "down0",
        loopback: name == "lo",
        point_to_point: false,
    };
    Interfaces {
        list: vec![
            entry("lo", "127.0.0.1", 8),
            entry("lo", "::1", 128),
            entry("eth1", "10.0.5.1", 24),
            entry("eth0", "192.168.1.7", 24),
            entry("eth0", "fe80::1", 64),
            entry("wan0", "8.8.4.4", 30),
            entry("down0", "172.16.0.9", 16),
        ],
        default_route: Some("eth0".to_owned()),
    }
}

#[test]
fn templates_become_addresses() {
    // (template, text)
    for (template, want) in [
        ("1.2.3.4", "1.2.3.4"),
        ("{{ GetInterfaceIP \"eth0\" }}", "192.168.1.7"),
        ("{{GetInterfaceIP `eth1`}}", "10.0.5.1"),
        ("{{ GetInterfaceIP \"lo\" }}", ""),
        ("{{ GetInterfaceIP \"nope\" }}", ""),
        ("{{ GetPrivateIP }}", "192.168.1.7"),
        ("{{ GetPublicIP }}", "8.8.4.4"),
        ("{{ GetPrivateIPs }}", "192.168.1.7 10.0.5.1"),
        (
            "{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}",
            "10.0.5.1",
        ),
        (
            "{{ GetAllInterfaces | include \"name\" \"^eth\" | include \"type\" \"ipv4\" | join \"address\" \" \" }}",
            "10.0.5.1 192.168.1.7",
        ),
        (
            "{{ GetAllInterfaces | exclude \"flags\" \"loopback\" | limit 1 | attr \"name\" }}",
            "eth1",
        ),
        (
            "{{ GetAllInterfaces | include \"rfc\" \"1918\" | sort \"-address\" | offset 1 | join \"address\" \",\" }}",
            "172.16.0.9,10.0.5.1",
        ),
        (
            "{{ GetAllInterfaces | include \"flags\" \"down\" | attr \"network\" }}",
            "172.16.0.0/16",
        ),
        (
            "{{ GetDefaultInterfaces | attr \"address\" }}",
            "192.168.1.7",
        ),
        (
            "{{ GetAllInterfaces | unique \"name\" | join \"name\" \"-\" }}",
            "lo-eth1-eth0-wan0-down0",
        ),
        ("{{ GetPrivateIP }}:8301", "192.168.1.7:8301"),
        (
            "{{ GetPrivateInterfaces | sort \"type,size\" | attr \"address\" }} {{ GetPublicIP }}",
            "192.168.1.7 8.8.4.4",
        ),
    ] {
        assert_eq!(expand(template, &host()).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn what_is_not_known_is_named() {
    for (template, want) in [
        ("{{ Bogus }}", "function \"Bogus\" not defined"),
        (
            "{{ GetAllInterfaces | bogus }}",
            "function \"bogus\" not defined",
        ),
        ("{{ GetAllInterfaces", "unclosed action"),
        ("{{ }}", "missing value for command"),
        ("{{ GetPrivateIP | }}", "missing value for command"),
        (
            "{{ GetInterfaceIP }}",
            "wrong number of args for GetInterfaceIP: want 1 got 0",
        ),
        ("{{ GetInterfaceIP \"eth0 }}", "unclosed action"),
        (
            "{{ GetAllInterfaces | include \"colour\" \"red\" }}",
            "unknown selector \"colour\"",
        ),
        (
            "{{ GetAllInterfaces | sort \"colour\" }}",
            "unknown sort type \"colour\"",
        ),
        (
            "{{ GetAllInterfaces | attr \"colour\" }}",
            "unknown attribute \"colour\"",
        ),
        (
            "{{ GetAllInterfaces | limit \"x\" }}",
            "limit needs a number",
        ),
        ("{{ if true }}", "function \"if\" not defined"),
        (
            "{{ GetPrivateIP | attr \"address\" }}",
            "attr needs a list of interfaces before it",
        ),
    ] {
        let got = expand(template, &host()).unwrap_err();
        assert!(
            got.starts_with(&format!(
                "error parsing {template:?}: unable to parse template {template:?}: "
            )),
            "{got}"
        );
        assert!(got.contains(want), "{got}");
    }
}
