//! A client agent and three servers on a simulated network, in virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tribune_config::{Environment, load, parse_agent_flags};
use tribune_net::{
    CallFailure, CallResult, Handler, NetOptions, PeerHandler, PeerId, SnapshotReply, serve,
};
use tribune_rt::disk::SimDisk;
use tribune_rt::net::sim::SimNet;
use tribune_rt::{CancellationToken, Env, TaskGroup, sim};
use tribune_types::error::RpcError;
use tribune_types::id::NodeId;
use tribune_types::text::text;
use tribune_types::time::Mono;

use super::super::Kind;
use super::*;

/// What a server says to calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Answer,
    NoLeader,
    Denied,
}

struct Fake {
    number: u8,
    says: Says,
    /// The bodies of writes, and of calls that wait.
    writes: Mutex<Vec<Vec<u8>>>,
    waits: Mutex<Vec<Vec<u8>>>,
    reads: AtomicUsize,
    release: Notify,
}

impl Fake {
    /// The answer is the number of the server.
    async fn serve(&self, method: &str, body: &[u8]) -> CallResult {
        match method {
            "Test.Write" => self.writes.lock().push(body.to_vec()),
            "Test.Wait" => {
                let released = self.release.notified();
                self.waits.lock().push(body.to_vec());
                released.await;
            }
            _ => {
                self.reads.fetch_add(1, Ordering::SeqCst);
            }
        }
        match self.says {
            Says::Answer => Ok(vec![self.number]),
            Says::NoLeader => Err(CallFailure::failed("No cluster leader")),
            Says::Denied => Err(CallFailure::failed("Permission denied")),
        }
    }
}

impl Handler for Fake {
    fn call<'a>(
        &'a self,
        _peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.serve(method, body))
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        _request: &'a [u8],
        _archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

impl PeerHandler for Fake {
    fn own_id(&self) -> PeerId {
        PeerId(id(self.number).0)
    }

    fn call<'a>(
        &'a self,
        _from: PeerId,
        _addr: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(async { request })
    }

    fn snapshot<'a>(
        &'a self,
        _from: PeerId,
        _header: Bytes,
        _body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

fn id(number: u8) -> NodeId {
    NodeId::from_random([number; 16])
}

fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The host of the client.
const CLIENT: u8 = 99;

struct World {
    net: SimNet,
    client: Arc<Client>,
    env: Env,
    /// Number 1 first.
    servers: Vec<Arc<Fake>>,
    _tasks: TaskGroup,
    _servers: Vec<Env>,
}

/// Servers 1, 2, ..., which are asked in this order. `framed`: their identities are known.
fn world(seed: u64, says: &[Says], framed: bool) -> World {
    let net = SimNet::new(seed);
    let node = |number: u8| {
        Env::sim_node(
            seed + u64::from(number),
            SimDisk::new(seed),
            &net,
            ip(number),
        )
        .unwrap()
    };
    let (mut envs, mut servers, mut list) = (Vec::new(), Vec::new(), Vec::new());
    let env = node(CLIENT);
    let tasks = env.group(&CancellationToken::new());
    let hcl = "data_dir = \"/data\" node_name = \"c\" bind_addr = \"10.0.0.99\"";
    let flags = parse_agent_flags(&["-hcl", hcl]).unwrap();
    let config = load(&flags, &Environment::default()).unwrap().config;
    let client = Arc::new(Client::new(&env, &tasks, &config, id(CLIENT)));
    for (number, says) in (1..).zip(says) {
        let fake = Arc::new(Fake {
            number,
            says: *says,
            writes: Mutex::default(),
            waits: Mutex::default(),
            reads: AtomicUsize::new(0),
            release: Notify::new(),
        });
        let addr = SocketAddr::new(ip(number), 8300);
        let server = node(number);
        let group = server.group(&CancellationToken::new());
        let options = NetOptions {
            peers: Some(Arc::clone(&fake) as Arc<dyn PeerHandler>),
            ..NetOptions::new(addr)
        };
        serve(&server, &group, options, Arc::clone(&fake) as _).unwrap();
        list.push(ServerAddr {
            name: text(&format!("s{number}")),
            addr,
            datacenter: text("dc1"),
            id: framed.then(|| id(number)),
        });
        // One by one, so that the order stays.
        client.set_servers(list.clone());
        envs.push(server);
        servers.push(fake);
    }
    World {
        net,
        client,
        env,
        servers,
        _tasks: tasks,
        _servers: envs,
    }
}

impl World {
    async fn read(&self) -> Result<Vec<u8>, RpcError> {
        let (read, body) = ("Test.Read", &[0x01]);
        self.client.call(Kind::Read, read, body, CALL_TIMEOUT).await
    }

    async fn write(&self, value: u8) -> Result<Vec<u8>, RpcError> {
        let (write, body) = ("Test.Write", &[value]);
        self.client
            .call(Kind::Write, write, body, CALL_TIMEOUT)
            .await
    }

    /// Waits for a change for at most 100 s; the body is how much of that is left.
    async fn watch(&self) -> Result<Vec<u8>, RpcError> {
        let rest = |waited: Duration| Some(vec![100 - waited.as_secs() as u8]);
        let call = Asking {
            kind: Kind::Read,
            method: "Test.Wait",
            body: &[100],
            deadline: CALL_TIMEOUT + ms(100_000),
            rest: Some(&rest),
        };
        self.client.ask(&call).await
    }

    /// Enough reads for a connection with frames.
    async fn warm_up(&self) {
        for _ in 0..20 {
            assert_eq!(self.read().await, Ok(vec![1]));
        }
    }

    fn took(&self, since: Mono) -> Duration {
        self.env.mono().since(since)
    }

    /// How often the servers were asked: reads, writes, waits.
    fn asked(&self) -> Vec<(usize, usize, usize)> {
        let asked = |fake: &Arc<Fake>| {
            let (writes, waits) = (fake.writes.lock().len(), fake.waits.lock().len());
            (fake.reads.load(Ordering::SeqCst), writes, waits)
        };
        self.servers.iter().map(asked).collect()
    }
}

use Says::{Answer, Denied, NoLeader};

#[test]
fn reads_go_on_within_a_second_of_silence_and_a_write_that_was_sent_is_done_once() {
    for (framed, how) in [
        (false, "paused"),
        (true, "paused"),
        (false, "cut"),
        (true, "cut"),
        (false, "power"),
        (true, "power"),
    ] {
        sim::block_on(7, |_| async move {
            let w = world(7, &[Answer, Answer, Answer], framed);
            w.warm_up().await;
            assert_eq!(w.client.pool.framed().len(), usize::from(framed));
            match how {
                "paused" => w.net.pause(ip(1)),
                "cut" => w.net.cut_both(ip(1), ip(CLIENT)),
                _ => w.net.set_down(ip(1)),
            }
            let begun = w.env.mono();
            let write = w.write(7);
            let mut write = std::pin::pin!(write);
            let mut reads = Vec::new();
            for _ in 0..20 {
                reads.push(w.read());
            }
            let reads = futures_util::future::join_all(reads);
            let answers = tokio::select! {
                biased;
                written = &mut write => panic!("{how} {framed}: {written:?}"),
                answers = reads => answers,
            };
            assert!(
                answers.iter().all(|answer| *answer == Ok(vec![2])),
                "{answers:?}"
            );
            let took = w.took(begun);
            assert!(took < ms(1000), "{how} {framed}: {took:?}");
            // What comes now avoids it at once.
            let begun = w.env.mono();
            assert_eq!(w.read().await, Ok(vec![2]));
            assert_eq!(w.write(8).await, Ok(vec![2]));
            assert!(w.took(begun) < ms(50));
            if how == "power" {
                return;
            }
            w.net.resume(ip(1));
            w.net.heal_all();
            assert_eq!(write.await, Ok(vec![1]));
            assert_eq!(*w.servers[0].writes.lock(), [[7]]);
            assert_eq!(*w.servers[1].writes.lock(), [[8]]);
            assert_eq!(w.asked()[2], (0, 0, 0));
            // It is as good as the others again.
            w.env.sleep(ms(5000)).await;
            assert!(!w.client.pool.is_silent(SocketAddr::new(ip(1), 8300)));
        });
    }
}

#[test]
fn a_read_has_the_answer_of_a_server_that_was_only_slow_if_the_others_have_none() {
    // (what the others say, the answer)
    for (others, want) in [
        (NoLeader, Ok(vec![1])),
        (
            Denied,
            Err(RpcError::Remote(
                "rpc error making call: Permission denied".to_owned(),
            )),
        ),
    ] {
        // Beyond the hold time too, in which the others are asked again and again.
        for pause in [2_000, 12_000] {
            sim::block_on(3, |_| async {
                let w = world(3, &[Answer, others, others], false);
                w.warm_up().await;
                w.net.pause(ip(1));
                let resume = async {
                    w.env.sleep(ms(pause)).await;
                    w.net.resume(ip(1));
                };
                let (answer, ()) = tokio::join!(w.read(), resume);
                assert_eq!(answer, want, "{others:?} {pause}");
            });
        }
    }
}

#[test]
fn who_hears_nobody_gives_up_nobody() {
    for framed in [false, true] {
        sim::block_on(5, |_| async move {
            let w = world(5, &[Answer, Answer, Answer], framed);
            w.warm_up().await;
            let all: Vec<IpAddr> = (1..=3).map(ip).collect();
            w.net.partition(&[ip(CLIENT)], &all);
            let begun = w.env.mono();
            let heal = async {
                w.env.sleep(ms(3000)).await;
                w.net.heal_all();
            };
            let (read, write, ()) = tokio::join!(w.read(), w.write(7), heal);
            assert!(read.is_ok(), "{read:?}");
            assert_eq!(write, Ok(vec![1]));
            assert!(w.took(begun) < ms(20_000));
        });
    }
}

#[test]
fn calls_that_wait_stay_through_a_hiccup_and_are_asked_elsewhere_for_the_rest_after_a_while() {
    sim::block_on(9, |_| async {
        let w = world(9, &[Answer, Answer, Answer], false);
        w.warm_up().await;
        let watches = futures_util::future::join_all((0..100).map(|_| w.watch()));
        let story = async {
            w.env.sleep(ms(20_000)).await;
            assert_eq!(w.asked()[0].2, 100);
            // Nobody asks anything: gossip would tell.
            w.net.pause(ip(1));
            w.env.sleep(ms(5000)).await;
            w.net.resume(ip(1));
            w.env.sleep(ms(5000)).await;
            // A read finds out.
            w.net.pause(ip(1));
            assert_eq!(w.read().await, Ok(vec![2]));
            w.env.sleep(ms(800)).await;
            w.net.resume(ip(1));
            w.env.sleep(ms(5000)).await;
            assert_eq!(w.asked()[1].2, 0, "a hiccup");
            w.client.servers.lock().on_failure("s2");
            w.client.servers.lock().on_failure("s3");
            assert_eq!(w.read().await, Ok(vec![1]));
            w.net.pause(ip(1));
            assert_eq!(w.read().await, Ok(vec![2]));
            w.env.sleep(ms(2000)).await;
            let some = w.asked()[1].2;
            assert!((10..90).contains(&some), "not all at once: {some}");
            w.env.sleep(ms(1100)).await;
            assert_eq!(w.asked()[1].2, 100);
            let left = w.servers[1].waits.lock().clone();
            assert!(
                left.iter().all(|left| (60..65).contains(&left[0])),
                "{left:?}"
            );
            w.servers[1].release.notify_waiters();
        };
        let (answers, ()) = tokio::join!(watches, story);
        assert!(answers.iter().all(|answer| *answer == Ok(vec![2])));
    });
}

#[test]
fn who_takes_long_to_connect_to_is_passed_over_unless_all_do() {
    for framed in [false, true] {
        sim::block_on(2, |_| async move {
            let w = world(2, &[Answer, Answer, Answer], framed);
            w.net.cut_both(ip(1), ip(CLIENT));
            let begun = w.env.mono();
            assert_eq!(w.write(1).await, Ok(vec![2]));
            assert!(w.took(begun) < ms(1000));
            let begun = w.env.mono();
            assert_eq!(w.write(2).await, Ok(vec![2]));
            assert!(w.took(begun) < ms(50), "known now");
            assert!(w.servers[0].writes.lock().is_empty());
        });
        sim::block_on(2, |_| async move {
            let w = world(2, &[Answer, Answer, Answer], framed);
            let all: Vec<IpAddr> = (1..=3).map(ip).collect();
            w.net.partition(&[ip(CLIENT)], &all);
            let heal = async {
                w.env.sleep(ms(5000)).await;
                w.net.heal_all();
            };
            let (answer, ()) = tokio::join!(w.write(1), heal);
            assert!(answer.is_ok(), "{answer:?}");
            let writes: usize = w.asked().iter().map(|asked| asked.1).sum();
            assert_eq!(writes, 1);
        });
    }
}
