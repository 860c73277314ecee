//! What the simulated network promises.

mod datagrams;
mod processes;
mod streams;
mod worlds;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{LinkFaults, SimNet};
use crate::disk::SimDisk;
use crate::net::{BindOptions, TcpListener, TcpStream};
use crate::{Env, sim};

/// Address of the n-th host.
fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

fn at(n: u8, port: u16) -> SocketAddr {
    (ip(n), port).into()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A process on the n-th host.
fn node(net: &SimNet, n: u8) -> Env {
    Env::sim_node(u64::from(n), SimDisk::new(u64::from(n)), net, ip(n)).unwrap()
}

/// Runs a world of its own.
fn world<F: Future<Output = ()>>(test: impl FnOnce(SimNet) -> F) {
    sim::block_on(1, |_| test(SimNet::new(1)));
}

fn listen(env: &Env, addr: SocketAddr) -> TcpListener {
    TcpListener::bind(env, addr, BindOptions::default()).unwrap()
}

/// A connection from one process to another, whose port 1000 is free.
async fn connected(from: &Env, to: &Env, addr: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = listen(to, addr);
    let dialed = TcpStream::connect(from, addr).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, dialed.local_addr().unwrap());
    assert_eq!(accepted.local_addr().unwrap(), addr);
    (dialed, accepted)
}

/// A link that only delays.
fn delay(delay: Duration) -> LinkFaults {
    LinkFaults {
        delay,
        ..LinkFaults::default()
    }
}

/// How long the network's clock ran during something.
async fn timed<T>(net: &SimNet, what: impl Future<Output = T>) -> (Duration, T) {
    let before = net.elapsed();
    let result = what.await;
    (net.elapsed() - before, result)
}
