//! The pool against a real Consul 1.8.7 server. Runs where `CONSUL_BIN` names the binary.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tribune_net::{CallError, Lost, Pool, PoolOptions};
use tribune_rt::{CancellationToken, Env};
use tribune_wire::msgpack::encode::{put_bool, put_map, put_raw, put_str, put_uint};

const ADDR: &str = "127.44.7.1";
const LONG: Duration = Duration::from_secs(40);

/// A development server of its own.
struct Consul(Child);

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> Option<Consul> {
    let Some(binary) = std::env::var_os("CONSUL_BIN") else {
        eprintln!("skipped: CONSUL_BIN is not set");
        return None;
    };
    let child = Command::new(binary)
        .args(["agent", "-dev", "-dns-port=-1", "-grpc-port=-1"])
        .args(["-node=real", "-bind", ADDR, "-client", ADDR])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Some(Consul(child.expect("CONSUL_BIN starts")))
}

/// A map of texts and other values, in this order.
struct Body(Vec<u8>, u32);

impl Body {
    fn new() -> Body {
        Body(Vec::new(), 0)
    }

    fn text(mut self, key: &str, text: &str) -> Body {
        put_str(&mut self.0, key);
        put_str(&mut self.0, text);
        self.1 += 1;
        self
    }

    fn with(mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) -> Body {
        put_str(&mut self.0, key);
        value(&mut self.0);
        self.1 += 1;
        self
    }

    fn done(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_map(&mut out, self.1);
        out.extend_from_slice(&self.0);
        out
    }
}

fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let entry = Body::new()
        .text("Key", key)
        .with("Value", |out| put_raw(out, value))
        .done();
    Body::new()
        .text("Datacenter", "dc1")
        .with("DirEnt", |out| out.extend_from_slice(&entry))
        .text("Op", "set")
        .done()
}

fn get(key: &str, above: u64, nanos: u64) -> Vec<u8> {
    Body::new()
        .text("Datacenter", "dc1")
        .text("Key", key)
        .with("MaxQueryTime", |out| put_uint(out, nanos))
        .with("MinQueryIndex", |out| put_uint(out, above))
        .with("RequireConsistent", |out| put_bool(out, false))
        .done()
}

fn holds(reply: &[u8], what: &[u8]) -> bool {
    reply.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn a_real_server_answers_the_pool() {
    let Some(_consul) = start() else { return };
    let env = Env::ambient().unwrap();
    let group = env.group(&CancellationToken::new());
    let pool = Pool::new(&env, &group, PoolOptions::default());
    let addr: SocketAddr = format!("{ADDR}:8300").parse().unwrap();
    let call = async |method: &str, body: &[u8]| pool.call(addr, method, body, LONG).await;

    // It comes up, and then it leads.
    for attempt in 0.. {
        let leader = call("Status.Leader", &[0x80]).await;
        if leader.is_ok_and(|leader| holds(&leader, b":8300")) {
            break;
        }
        assert!(attempt < 1200, "no leader");
        env.sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(call("Status.Ping", &[0x80]).await, Ok(vec![0x80]));

    // Values larger than the window, both ways.
    let value = vec![b'v'; 500_000];
    // The answer to a plain set is false; nobody looks at it.
    let written = call("KVS.Apply", &put("large", &value)).await;
    assert_eq!(written, Ok(vec![0xc2]));
    assert!(holds(
        &call("KVS.Get", &get("large", 0, 0)).await.unwrap(),
        &value
    ));

    // Errors, and calls after them.
    let err = call("Nope.Nope", &[0x80]).await.unwrap_err();
    assert_eq!(
        err,
        CallError::Remote("rpc: can't find service Nope.Nope".to_owned())
    );
    let nowhere = Body::new().text("Datacenter", "nowhere").text("Key", "k");
    let err = call("KVS.Get", &nowhere.done()).await.unwrap_err();
    assert_eq!(err, CallError::Remote("No path to datacenter".to_owned()));

    // More blocking queries than streams that may be unacknowledged, and others beside them.
    let mut waiting = Vec::new();
    for _ in 0..400 {
        let pool = pool.clone();
        waiting.push(env.spawn("wait", async move {
            let body = get("watched", 1_000_000, 15_000_000_000);
            pool.call(addr, "KVS.Get", &body, LONG).await
        }));
    }
    // A call that is dropped while it waits.
    let body = get("watched", 1_000_000, 60_000_000_000);
    let dropped = pool.call(addr, "KVS.Get", &body, Duration::from_millis(300));
    assert_eq!(dropped.await, Err(CallError::FateUnknown(Lost::Deadline)));
    let start = env.mono();
    assert_eq!(call("Status.Ping", &[0x80]).await, Ok(vec![0x80]));
    // Behind one of those that wait it would have waited for 15 s.
    assert!(
        env.mono().0 - start.0 < 10_000_000_000,
        "calls do not queue"
    );
    for call in waiting {
        call.join().await.unwrap().unwrap();
    }
    // Longer than a keep-alive round and its answer.
    env.sleep(Duration::from_secs(42)).await;
    assert_eq!(pool.connected(), [addr]);
    assert_eq!(call("Status.Ping", &[0x80]).await, Ok(vec![0x80]));
}
