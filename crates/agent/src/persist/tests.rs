//! Files of registrations as Consul writes them and as this agent does, and what is durable when.

use std::time::Duration;

use tribune_local::Source;
use tribune_rt::Env;
use tribune_rt::disk::{Faults, SimDisk};
use tribune_types::catalog::{ServiceKind, Status};
use tribune_types::value::Value;

use super::*;

/// A data folder written by Consul 1.8.7, with a zero-length and a half-written file added.
fn vectors() -> Paths {
    Paths::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/consul-1.8.7-data"))
}

/// 2026-11-23, when the vectors were made.
const NOW: Wall = Wall(1_795_416_400 * 1_000_000_000);

#[test]
fn a_data_folder_of_consul_loads_whole() {
    let found = load(&Disk::real(), &vectors(), NOW);
    let mut services: Vec<_> = found
        .services
        .iter()
        .map(|(s, token)| (&*s.id, &**token))
        .collect();
    services.sort_unstable();
    assert_eq!(
        services,
        [
            ("scr", ""),
            ("w1", "secret-token"),
            ("w1-sidecar-proxy", "secret-token")
        ]
    );
    let (sidecar, _) = found
        .services
        .iter()
        .find(|(s, _)| &*s.id == "w1-sidecar-proxy")
        .unwrap();
    assert_eq!(
        (sidecar.kind, sidecar.locally_registered_as_sidecar),
        (ServiceKind::ConnectProxy, true)
    );
    let proxy = sidecar.proxy.as_ref().unwrap();
    assert_eq!(
        proxy.config.as_ref().unwrap().get("a"),
        Some(&Value::Float(1.0))
    );
    assert_eq!(proxy.upstreams.as_ref().unwrap()[0].local_bind_port, 99);
    assert_eq!(proxy.expose.paths.as_ref().unwrap()[0].listener_port, 7000);
    let mut checks: Vec<_> = found.checks.iter().map(|c| &*c.check.id).collect();
    checks.sort_unstable();
    assert_eq!(
        checks,
        [
            "_service_maintenance:w1",
            "nodettl",
            "service:scr",
            "service:w1-sidecar-proxy:1",
            "service:w1-sidecar-proxy:2",
            "service:w1:1",
            "service:w1:2",
        ]
    );
    let http = found
        .checks
        .iter()
        .find(|c| &*c.check.id == "service:w1:2")
        .unwrap();
    let check_type = http.check_type.as_ref().unwrap();
    assert_eq!(
        (check_type.interval, check_type.success_before_passing),
        (Duration::from_secs(60), 2)
    );
    assert_eq!(
        check_type.deregister_critical_service_after,
        Duration::from_secs(90 * 60)
    );
    assert_eq!(check_type.header[0].1.len(), 2);
    let maintenance = found
        .checks
        .iter()
        .find(|c| &*c.check.id == "_service_maintenance:w1")
        .unwrap();
    assert_eq!(
        (&maintenance.check_type, &*maintenance.check.notes),
        (&None, "why")
    );
    let mut states: Vec<_> = found
        .states
        .iter()
        .map(|s| (&*s.id, s.status, &*s.output))
        .collect();
    states.sort_unstable();
    assert_eq!(
        states,
        [
            ("nodettl", Status::Passing, ""),
            ("service:w1:1", Status::Warning, "n1")
        ]
    );
    assert_eq!(found.expired, Vec::<PathBuf>::new());
}

#[test]
fn expired_results_are_told_apart() {
    let later = Wall(NOW.0 + 7200 * 1_000_000_000);
    let found = load(&Disk::real(), &vectors(), later);
    assert_eq!(found.states.len(), 1);
    assert_eq!(found.expired, [vectors().state("nodettl")]);
}

#[test]
fn files_are_written_as_consul_writes_them() {
    let disk = Disk::real();
    let found = load(&disk, &vectors(), NOW);
    for (service, token) in &found.services {
        let ours: serde_json::Value =
            serde_json::from_slice(&encode_service(service, token, Source::Api)).unwrap();
        let theirs: serde_json::Value =
            serde_json::from_slice(&disk.read(&vectors().service(&service.id)).unwrap()).unwrap();
        assert_eq!(ours, theirs, "{}", service.id);
    }
    for found in &found.checks {
        let bytes = encode_check(
            &found.check,
            found.check_type.as_ref(),
            &found.token,
            found.source,
        );
        let ours: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let theirs: serde_json::Value =
            serde_json::from_slice(&disk.read(&vectors().check(&found.check.id)).unwrap()).unwrap();
        assert_eq!(ours, theirs, "{}", found.check.id);
    }
}

#[test]
fn odd_files_are_read_or_refused_but_never_panic() {
    // (bytes, service ID if readable)
    for (bytes, want) in [
        (&br#"{"ID":"old","Service":"web","Port":3}"#[..], Some("old")),
        (br#"{"Service":{"ID":"a","Tags":null,"Meta":null,"Weights":null,"Proxy":null,"Connect":null}}"#, Some("a")),
        (br#"{"Service":{"ID":"a","Unknown":{"x":[1]}},"More":1}"#, Some("a")),
        (br#"{"Service":{"ID":"","Service":"web"}}"#, None),
        (br#"{"Service":{"ID":"a","Kind":"bogus"}}"#, None),
        (br#"{"Service":{"ID":"a""#, None),
        (b"", None),
        (b"[]", None),
        (b"null", None),
        (b"\xff\xfe", None),
    ] {
        let got = format::decode_service(bytes).ok().map(|(service, _)| service.id.to_string());
        assert_eq!(got.as_deref(), want, "{}", String::from_utf8_lossy(bytes));
    }
    let text = br#"{"Check":{"CheckID":"c"},"ChkType":{"Interval":"10s","TTL":"1m","Timeout":""}}"#;
    let check_type = format::decode_check(text).unwrap().check_type.unwrap();
    assert_eq!(
        (check_type.interval, check_type.ttl),
        (Duration::from_secs(10), Duration::from_secs(60))
    );
    assert!(format::decode_check(br#"{"Check":{}}"#).is_err());
    assert!(format::decode_state(br#"{"CheckID":"c","Status":"fine"}"#).is_err());
}

#[tokio::test]
async fn operations_are_durable_when_their_ticket_resolves_and_the_last_on_a_path_counts() {
    let folder = tempfile::tempdir().unwrap();
    let env = Env::ambient().unwrap();
    let store = Store::open(&env, folder.path()).unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let stop = tribune_rt::CancellationToken::new();
    let tickets = [
        store.submit(vec![
            FileOp::Write(a.clone(), b"1"[..].into()),
            FileOp::Write(b.clone(), b"x"[..].into()),
        ]),
        store.submit(vec![
            FileOp::Write(a.clone(), b"2"[..].into()),
            FileOp::Remove(b.clone()),
        ]),
        store.submit(vec![FileOp::Remove(folder.path().join("never"))]),
    ];
    let task = env.spawn("store", store.clone().run(stop.clone()));
    for ticket in tickets {
        assert_eq!(ticket.unwrap().done().await, Ok(()));
    }
    stop.cancel();
    task.join().await.unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), b"2");
    let names: Vec<_> = Disk::real().list_dir(folder.path()).unwrap();
    assert_eq!(
        names,
        ["a", "local.journal.0", "local.journal.1"],
        "no temporary file stays, and b was removed"
    );
    let late = store.submit(vec![FileOp::Remove(a)]).unwrap();
    assert!(late.done().await.is_err(), "nobody works any more");
}

/// A change may be found done because an earlier one did it, whose bytes never reached the disk.
#[tokio::test(start_paused = true)]
async fn what_failed_is_owed_and_asked_for_by_whoever_finds_it_done() {
    let disk = SimDisk::new(1);
    let env = Env::sim_on_disk(1, disk.clone()).unwrap();
    let root = Path::new("/data");
    env.disk().create_dir_all(&root.join("services")).unwrap();
    let store = Store::open(&env, root).unwrap();
    let stop = tribune_rt::CancellationToken::new();
    env.spawn("store", store.clone().run(stop.clone()));
    let path = root.join("services/web");
    let write = FileOp::Write(path.clone(), b"1"[..].into());
    assert!(store.submit(Vec::new()).is_none(), "nothing is owed");
    assert_eq!(store.submit(vec![write]).unwrap().done().await, Ok(()));

    let broken = Faults {
        fail_per_million: 1_000_000,
        ..Faults::default()
    };
    disk.set_faults(broken);
    let removed = store.submit(vec![FileOp::Remove(path.clone())]);
    assert!(removed.unwrap().done().await.is_err());
    let again = store.submit(Vec::new()).expect("a removal is owed");
    assert!(again.done().await.is_err(), "it is not done yet");
    disk.set_faults(Faults::default());
    let again = store.submit(Vec::new()).expect("a removal is owed");
    assert_eq!(again.done().await, Ok(()));
    assert!(store.submit(Vec::new()).is_none(), "nothing is owed");
    disk.crash();
    drop(Store::open(&env, root).unwrap());
    assert!(!env.disk().exists(&path), "the removal was acknowledged");
    stop.cancel();
}
