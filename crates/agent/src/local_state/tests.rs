//! The local half with a server behind it, in virtual time unless sockets or processes are needed.

use std::sync::atomic::{AtomicU64, Ordering};

use tribune_config::{Environment, load, parse_agent_flags};
use tribune_rt::disk::SimDisk;
use tribune_server::{Authorizer, Server, ServerOptions};
use tribune_types::catalog::{CONSUL_SERVICE, Check, Deregister, Node, Register, Service, Status};
use tribune_types::definition::CheckType;
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::id::{NodeId, Uuid};
use tribune_types::query::{Query, ReadOptions, Reply};
use tribune_types::write::{Write, WriteReply};

use super::*;
use crate::cluster::Cluster;
use crate::handle::{CheckUpdate, LocalError};
use crate::info::AggregatedStatus;

const DATA: &str = "/data";

fn config(hcl: &str, data_dir: &str) -> Result<Config, String> {
    let base = format!(
        "data_dir = {data_dir:?} node_name = \"n1\" bind_addr = \"127.0.0.1\" server = true bootstrap = true ports {{ http = -1 dns = -1 }}"
    );
    let flags = parse_agent_flags(&["-hcl", &base, "-hcl", hcl]).map_err(|e| e.to_string())?;
    Ok(load(&flags, &Environment::default())
        .map_err(|e| e.to_string())?
        .config)
}

struct World {
    env: Env,
    handle: Handle,
    tasks: TaskGroup,
    requests: mpsc::Receiver<ProcessRequest>,
    /// What a reload reads.
    next: Arc<Mutex<String>>,
    applied: Arc<AtomicU64>,
}

impl World {
    async fn start(env: Env, hcl: &str) -> World {
        World::start_in(env, hcl, DATA).await
    }

    async fn start_in(env: Env, hcl: &str, data_dir: &str) -> World {
        let identity = Identity {
            node: text("n1"),
            id: NodeId::from_random([7; 16]),
            datacenter: text("dc1"),
            server: true,
        };
        let stop = CancellationToken::new();
        let ip = [127, 0, 0, 1].into();
        let options = ServerOptions::new(identity.node.clone(), identity.id, ip);
        let server = Server::start(&env, options, Authorizer::allow_all(), &stop)
            .await
            .unwrap();
        let (process, requests) = mpsc::channel(1);
        let next = Arc::new(Mutex::new(hcl.to_owned()));
        let applied = Arc::new(AtomicU64::new(0));
        let (reread, counted, dir) = (Arc::clone(&next), Arc::clone(&applied), data_dir.to_owned());
        let parts = LocalParts {
            reload: Box::new(move || config(&reread.lock(), &dir)),
            applied: Box::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
            process,
        };
        let config = Arc::new(config(hcl, data_dir).unwrap());
        let telemetry = crate::telemetry::Telemetry::install(&env, &config, "host");
        let logs = crate::logs::Logs::start(&env, &crate::logs::LogOptions::silent()).unwrap();
        let local = LocalAgent::new(&env, &identity, Arc::clone(&config), parts).unwrap();
        let tasks = env.group(&stop);
        let own = crate::own_requests::OwnRequests::new(&env, &config);
        let cluster = Arc::new(Cluster::own(server, text("dc1"), None, own));
        let cache = crate::cache::Cache::new(&env, &tasks, Arc::clone(&cluster), &config);
        let inner = crate::handle::Inner {
            identity,
            local: Arc::clone(&local),
            cluster,
            cache,
            executions: crate::prepared::executions(&env),
            lan: None,
            wan: None,
            telemetry,
            logs,
            revision: String::new(),
        };
        let handle = Handle {
            inner: Arc::new(inner),
        };
        local.spawn_tasks(&handle, &tasks);
        World {
            env,
            handle,
            tasks,
            requests,
            next,
            applied,
        }
    }

    /// Waits until a condition holds, for at most ten minutes of the clock.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..6000 {
            if holds().await {
                return;
            }
            self.env.sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}");
    }

    async fn read(&self, query: Query) -> Reply {
        let answer = self
            .handle
            .read(&Caller::internal(), query, &ReadOptions::default())
            .await
            .unwrap();
        answer.reply().clone()
    }

    /// Node and services in the catalog.
    async fn remote(&self) -> Option<(Arc<Node>, Vec<Arc<Service>>)> {
        match self
            .read(Query::NodeServices {
                node: text("n1"),
                filter: Text::default(),
            })
            .await
        {
            Reply::NodeServices(found) => found,
            other => panic!("{other:?}"),
        }
    }

    /// IDs of the own services in the catalog.
    async fn remote_ids(&self) -> Vec<String> {
        let services = self
            .remote()
            .await
            .map(|(_, services)| services)
            .unwrap_or_default();
        services
            .iter()
            .map(|s| s.id.to_string())
            .filter(|id| id != CONSUL_SERVICE)
            .collect()
    }

    async fn remote_check(&self, id: &str) -> Option<Arc<Check>> {
        match self
            .read(Query::NodeChecks {
                node: text("n1"),
                filter: Text::default(),
            })
            .await
        {
            Reply::Checks(checks) => checks.into_iter().find(|c| &*c.id == id),
            other => panic!("{other:?}"),
        }
    }

    async fn register(&self, definition: ServiceDefinition) {
        self.handle
            .register_service(&Caller::internal(), definition, false)
            .await
            .unwrap();
    }

    async fn report(&self, id: &str, status: Status, output: &str) {
        let update = CheckUpdate {
            status,
            output: output.to_owned(),
        };
        self.handle
            .update_check(&Caller::internal(), id, update)
            .await
            .unwrap();
    }

    fn local_check(&self, id: &str) -> Option<(Status, String)> {
        let checks = self.handle.checks();
        checks
            .iter()
            .find(|c| &*c.check.id == id)
            .map(|c| (c.check.status, c.check.output.to_string()))
    }

    fn local_ids(&self) -> Vec<String> {
        self.handle
            .services()
            .iter()
            .map(|s| s.service.id.to_string())
            .collect()
    }
}

fn virtually<F: Future<Output = ()>>(test: impl FnOnce(Env) -> F) {
    virtually_on(SimDisk::new(1), test);
}

fn virtually_on<F: Future<Output = ()>>(disk: SimDisk, test: impl FnOnce(Env) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { test(Env::sim_on_disk(1, disk).unwrap()).await });
}

fn ttl(secs: u64) -> CheckType {
    CheckType {
        ttl: Duration::from_secs(secs),
        ..CheckType::default()
    }
}

fn web(checks: Vec<CheckType>) -> ServiceDefinition {
    ServiceDefinition {
        id: text("web1"),
        name: text("web"),
        port: 80,
        checks,
        ..ServiceDefinition::default()
    }
}

#[test]
fn what_is_registered_here_appears_in_the_catalog_and_goes_again() {
    virtually(|env| async move {
        let w = World::start(
            env,
            "node_meta { rack = \"r1\" } service { name = \"cfg\" }",
        )
        .await;
        w.register(web(vec![ttl(3600)])).await;
        w.until("both services are there", async || {
            w.remote_ids().await == ["cfg", "web1"]
        })
        .await;
        let (node, _) = w.remote().await.unwrap();
        let meta = node.meta.clone().unwrap();
        assert_eq!(meta.get("rack").map(|v| &**v), Some("r1"));
        assert_eq!(meta.get("consul-network-segment").map(|v| &**v), Some(""));
        assert_eq!(
            node.tagged_addresses
                .as_ref()
                .unwrap()
                .get("lan")
                .map(|v| &**v),
            Some("127.0.0.1")
        );
        w.report("service:web1", Status::Passing, "fine").await;
        w.until("the result is there", async || {
            w.remote_check("service:web1")
                .await
                .is_some_and(|c| c.status == Status::Passing && &*c.output == "fine")
        })
        .await;
        w.handle
            .deregister_service(&Caller::internal(), "web1")
            .await
            .unwrap();
        w.until("it is gone", async || w.remote_ids().await == ["cfg"])
            .await;
        assert_eq!(w.remote_check("service:web1").await, None);
    });
}

#[test]
fn the_periodic_comparison_mends_the_catalog() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        w.register(web(vec![ttl(36000)])).await;
        w.until("it is there", async || w.remote_ids().await == ["web1"])
            .await;
        let remove = Deregister {
            node: text("n1"),
            service_id: text("web1"),
            ..Deregister::default()
        };
        w.handle
            .write(&Caller::internal(), None, Write::Deregister(remove))
            .await
            .unwrap();
        let stray = Register {
            node: text("n1"),
            address: text("127.0.0.1"),
            service: Some(Service {
                id: text("stray"),
                name: text("stray"),
                ..Service::default()
            }),
            skip_node_update: true,
            ..Register::default()
        };
        w.handle
            .write(&Caller::internal(), None, Write::Register(Box::new(stray)))
            .await
            .unwrap();
        assert_eq!(w.remote_ids().await, ["stray"]);
        w.until("it is as it should be", async || {
            w.remote_ids().await == ["web1"]
        })
        .await;
        w.until("the check as well", async || {
            w.remote_check("service:web1").await.is_some()
        })
        .await;
    });
}

#[test]
fn registrations_and_results_survive_a_restart() {
    survive(&SimDisk::new(1), false);
}

#[test]
fn registrations_and_results_survive_a_crash() {
    for seed in 0..20 {
        survive(&SimDisk::new(seed), true);
    }
}

fn survive(disk: &SimDisk, crash: bool) {
    virtually_on(disk.clone(), |env| async move {
        let w = World::start(env, "service { name = \"cfg\" }").await;
        let sidecar = ServiceDefinition {
            sidecar: Some(Box::default()),
            ..web(vec![ttl(3600), ttl(60)])
        };
        w.register(sidecar).await;
        w.register(ServiceDefinition {
            name: text("gone"),
            ..ServiceDefinition::default()
        })
        .await;
        w.handle
            .deregister_service(&Caller::internal(), "gone")
            .await
            .unwrap();
        w.report("service:web1:1", Status::Passing, "kept").await;
        w.report("service:web1:2", Status::Passing, "lost").await;
        w.handle
            .node_maintenance(&Caller::internal(), Some("why"))
            .await
            .unwrap();
        if !crash {
            w.tasks.shutdown(Duration::from_secs(5)).await;
        }
    });
    if crash {
        disk.crash();
    }
    virtually_on(disk.clone(), |env| async move {
        // The simulated wall clock starts anew; two minutes pass while the agent is down.
        env.skew_wall(120_000_000_000);
        let w = World::start(env, "service { name = \"cfg2\" }").await;
        assert_eq!(w.local_ids(), ["cfg2", "web1", "web1-sidecar-proxy"]);
        assert_eq!(
            w.local_check("service:web1:1"),
            Some((Status::Passing, "kept".to_owned()))
        );
        assert_eq!(
            w.local_check("service:web1:2").map(|c| c.0),
            Some(Status::Critical)
        );
        assert_eq!(
            w.local_check("_node_maintenance").map(|c| c.0),
            Some(Status::Critical)
        );
        assert_eq!(
            w.handle.health_by_id("web1").unwrap().status,
            AggregatedStatus::Maintenance
        );
    });
}

#[test]
fn a_reload_applies_definitions_and_metadata_or_changes_nothing() {
    virtually(|env| async move {
        let w = World::start(env, "service { name = \"a\" check { ttl = \"1h\" } }").await;
        w.register(web(vec![])).await;
        w.report("service:a", Status::Passing, "kept").await;
        *w.next.lock() = "services = [{ name = \"a\" check = { ttl = \"1h\" } }, { name = \"b\" }] node_meta { m = \"2\" }".to_owned();
        w.handle.reload(&Caller::internal()).await.unwrap();
        assert_eq!(w.local_ids(), ["a", "b", "web1"]);
        assert_eq!(
            w.local_check("service:a"),
            Some((Status::Passing, "kept".to_owned()))
        );
        assert_eq!(w.applied.load(Ordering::Relaxed), 1);
        w.until("the node's metadata is there", async || {
            w.remote()
                .await
                .is_some_and(|(n, _)| n.meta.as_ref().is_some_and(|m| m.get("m").is_some()))
        })
        .await;
        *w.next.lock() = "this is no setting".to_owned();
        assert!(w.handle.reload(&Caller::internal()).await.is_err());
        assert_eq!(
            (w.local_ids().len(), w.applied.load(Ordering::Relaxed)),
            (3, 1)
        );
        *w.next.lock() = String::new();
        w.handle.reload(&Caller::internal()).await.unwrap();
        assert_eq!(w.local_ids(), ["web1"]);
        w.until("the catalog follows", async || {
            w.remote_ids().await == ["web1"]
        })
        .await;
    });
}

#[test]
fn a_ttl_check_expires_by_itself() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        w.register(web(vec![ttl(10)])).await;
        w.report("service:web1", Status::Passing, "alive").await;
        w.env.sleep(Duration::from_secs(9)).await;
        assert_eq!(
            w.local_check("service:web1").map(|c| c.0),
            Some(Status::Passing)
        );
        w.env.sleep(Duration::from_secs(2)).await;
        let text = "TTL expired (last output before timeout follows): alive";
        assert_eq!(
            w.local_check("service:web1"),
            Some((Status::Critical, text.to_owned()))
        );
    });
}

#[test]
fn waiting_for_a_service_ends_with_its_change_or_the_time() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        w.register(web(vec![])).await;
        let hash = w.handle.service("web1").unwrap().content_hash;
        let wait = Duration::from_secs(30);
        let before = w.env.mono();
        let same = w.handle.service_changed("web1", &hash, wait).await.unwrap();
        assert_eq!(
            (same.content_hash, w.env.mono().since(before)),
            (hash.clone(), wait)
        );
        let handle = w.handle.clone();
        let old = hash.clone();
        let waiter = w.env.spawn("waiter", async move {
            handle.service_changed("web1", &old, wait).await
        });
        w.env.sleep(Duration::from_secs(1)).await;
        w.register(ServiceDefinition {
            port: 81,
            ..web(vec![])
        })
        .await;
        assert_ne!(waiter.join().await.unwrap().unwrap().content_hash, hash);
        assert!(w.handle.service_changed("nope", "", wait).await.is_none());
    });
}

#[test]
fn an_alias_follows_another_node_of_the_catalog() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        let alias = CheckType {
            alias_node: text("n2"),
            alias_service: text("db"),
            ..CheckType::default()
        };
        w.register(web(vec![alias])).await;
        let id = "service:web1";
        let missing = "Service db could not be found on node n2";
        w.until("the node is found missing", async || {
            w.local_check(id) == Some((Status::Critical, missing.to_owned()))
        })
        .await;
        let db = |status| Register {
            node: text("n2"),
            address: text("10.0.0.2"),
            service: Some(Service {
                id: text("db"),
                name: text("db"),
                ..Service::default()
            }),
            checks: vec![Check {
                id: text("c"),
                name: text("c"),
                service_id: text("db"),
                status,
                ..Check::default()
            }],
            ..Register::default()
        };
        for (status, output) in [
            (Status::Passing, "All checks passing."),
            (Status::Warning, "Aliased check \"c\" failing: "),
            (Status::Critical, "Aliased check \"c\" failing: "),
        ] {
            w.handle
                .write(
                    &Caller::internal(),
                    None,
                    Write::Register(Box::new(db(status))),
                )
                .await
                .unwrap();
            w.until("the alias follows", async || {
                w.local_check(id) == Some((status, output.to_owned()))
            })
            .await;
        }
    });
}

#[test]
fn events_reach_the_list_if_their_filters_name_this_agent() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        w.register(ServiceDefinition {
            tags: vec![text("v1")],
            ..web(vec![])
        })
        .await;
        let (list, index) = w.handle.events();
        assert_eq!((list.len(), index), (0, 1));
        let handle = w.handle.clone();
        let waiter = w.env.spawn("waiter", async move {
            handle.events_changed(1, Duration::from_secs(60)).await
        });
        // (node, service, tag, kept)
        for (at, (node, service, tag, kept)) in [
            ("", "", "", true),
            ("^n1$", "", "", true),
            ("other", "", "", false),
            ("", "we", "", true),
            ("", "db", "", false),
            ("", "web", "v[0-9]", true),
            ("", "web", "x", false),
        ]
        .into_iter()
        .enumerate()
        {
            let before = w.handle.events().0.len();
            let event = UserEvent {
                id: Uuid::from_random([at as u8; 16]),
                name: text("dep"),
                node_filter: text(node),
                service_filter: text(service),
                tag_filter: text(tag),
                version: 1,
                ..UserEvent::default()
            };
            fire(&w, event).await.unwrap();
            assert_eq!(
                w.handle.events().0.len() - before,
                usize::from(kept),
                "{node:?} {service:?} {tag:?}"
            );
        }
        waiter.join().await.unwrap();
        assert!(fire(&w, UserEvent::default()).await.is_err());
    });
}

async fn fire(w: &World, event: UserEvent) -> Result<WriteReply, RpcError> {
    let fire = Write::EventFire(Box::new(event));
    w.handle.write(&Caller::internal(), None, fire).await
}

#[test]
fn a_server_alone_is_the_only_member_and_shows_the_tags_of_a_server() {
    virtually(|env| async move {
        let w = World::start(env, "").await;
        let lan = &w.handle.members(false)[0];
        for (tag, want) in [
            ("role", "consul"),
            ("dc", "dc1"),
            ("port", "8300"),
            ("build", "1.8.7:"),
            ("bootstrap", "1"),
            ("vsn", "2"),
        ] {
            assert_eq!(lan.tags.get(tag).map(|v| &**v), Some(want), "{tag}");
        }
        assert_eq!(
            (&*lan.name, &*lan.addr, lan.port),
            ("n1", "127.0.0.1", 8301)
        );
        let wan = &w.handle.members(true)[0];
        assert_eq!(
            (&*wan.name, wan.port, wan.tags.get("wan_join_port")),
            ("n1.dc1", 8302, None)
        );
        let err = w
            .handle
            .force_leave(&Caller::internal(), "x", false)
            .await
            .unwrap_err();
        assert_eq!(err.to_string(), "agent: No node found with name 'x'");
        assert!(
            w.handle
                .join(&Caller::internal(), "1.2.3.4", false)
                .await
                .is_err()
        );
    });
}

#[test]
fn leave_asks_the_owner_of_the_process() {
    virtually(|env| async move {
        let mut w = World::start(env, "").await;
        let handle = w.handle.clone();
        let leaving = w.env.spawn(
            "leave",
            async move { handle.leave(&Caller::internal()).await },
        );
        let Some(ProcessRequest::Leave(answer)) = w.requests.recv().await else {
            panic!("no request")
        };
        answer.send(Ok(())).unwrap();
        assert_eq!(leaving.join().await.unwrap(), Ok(()));
        drop(w.requests);
        assert!(w.handle.leave(&Caller::internal()).await.is_err());
    });
}

#[test]
fn tokens_are_set_by_name_and_kept_if_wanted() {
    let disk = SimDisk::new(1);
    let hcl = "acl { enable_token_persistence = true tokens { default = \"configured\" agent = \"own\" } }";
    virtually_on(disk.clone(), |env| async move {
        let w = World::start(env, hcl).await;
        let local = &w.handle.inner.local;
        assert_eq!(local.tokens.default_token().secret(), "configured");
        assert_eq!(local.tokens.agent_token().secret(), "own");
        w.handle
            .set_token(&Caller::internal(), "default", text("set"))
            .await
            .unwrap();
        assert_eq!(local.tokens.default_token().secret(), "set");
        let err = w
            .handle
            .set_token(&Caller::internal(), "x", text("t"))
            .await
            .unwrap_err();
        assert_eq!(
            err,
            LocalError::NotFound("Token \"x\" is unknown".to_owned())
        );
        w.handle.reload(&Caller::internal()).await.unwrap();
        assert_eq!(
            local.tokens.default_token().secret(),
            "set",
            "a reload does not undo it"
        );
        w.tasks.shutdown(Duration::from_secs(5)).await;
    });
    virtually_on(disk, |env| async move {
        let w = World::start(env, hcl).await;
        assert_eq!(w.handle.inner.local.tokens.default_token().secret(), "set");
    });
}

#[tokio::test]
async fn probes_run_and_their_results_reach_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let env = Env::ambient().unwrap();
    let w = World::start_in(
        env,
        "enable_script_checks = true",
        folder.path().to_str().unwrap(),
    )
    .await;
    let mark = folder.path().join("mark");
    let check = CheckType {
        script_args: ["/bin/sh", "-c", &format!("test -e {}", mark.display())]
            .map(text)
            .to_vec(),
        interval: Duration::from_secs(1),
        ..CheckType::default()
    };
    w.register(web(vec![check])).await;
    let is = async |status| {
        w.remote_check("service:web1")
            .await
            .is_some_and(|c| c.status == status)
    };
    w.until("the first result is there", async || {
        is(Status::Warning).await
    })
    .await;
    std::fs::write(&mark, "").unwrap();
    w.until("the next result is there", async || {
        is(Status::Passing).await
    })
    .await;
    assert_eq!(
        std::fs::read_dir(folder.path().join("checks"))
            .unwrap()
            .count(),
        2,
        "the check and the state folder"
    );
    w.handle
        .deregister_service(&Caller::internal(), "web1")
        .await
        .unwrap();
    assert_eq!(w.handle.inner.local.scheduler.len(), 0);
    w.until("the file is gone", async || {
        let mut files = std::fs::read_dir(folder.path().join("services")).unwrap();
        files.next().is_none()
    })
    .await;
}

/// Prints how many durable registrations per second 16 clients get: `cargo test --release -- --ignored --nocapture rate`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn rate_of_registrations() {
    let folder = tempfile::tempdir().unwrap();
    let env = Env::real(tribune_rt::RealConfig::default()).unwrap();
    let w = World::start_in(env.clone(), "", folder.path().to_str().unwrap()).await;
    w.until("a leader is there", async || w.remote().await.is_some())
        .await;
    let before = env.mono();
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let handle = w.handle.clone();
            env.spawn("client", async move {
                let mut took = Vec::new();
                for number in 0..500 {
                    let start = handle.inner.local.env.mono();
                    let id = text(&format!("svc-{}", (client * 500 + number * 7) % 1000));
                    let definition = ServiceDefinition {
                        id,
                        port: number,
                        ..web(vec![])
                    };
                    handle
                        .register_service(&Caller::internal(), definition, false)
                        .await
                        .unwrap();
                    took.push(handle.inner.local.env.mono().since(start));
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.join().await.unwrap());
    }
    took.sort_unstable();
    let secs = env.mono().since(before).as_secs_f64();
    println!(
        "{:.0} registrations/s, p50 {:?}, p99 {:?}, max {:?}",
        8000.0 / secs,
        took[4000],
        took[7920],
        took[7999]
    );
    w.until("all are in the catalog", async || {
        w.remote_ids().await.len() == 1000
    })
    .await;
    println!(
        "all in the catalog after {:.2} s",
        env.mono().since(before).as_secs_f64()
    );
}
