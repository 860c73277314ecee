//! How fast 200 health entries are rendered: `cargo run --release -p tribune-api --example render_rate`.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the real clock"
)]

use std::sync::Arc;
use std::time::Instant;

use tribune_api::render::{self, Addresses, View};
use tribune_types::catalog::{Check, Node, Service, Status};
use tribune_types::query::{Instance, Reply};
use tribune_types::text::text;

fn main() {
    let meta = || {
        Some(
            [("version", "1.2.3"), ("rack", "r17")]
                .map(|(k, v)| (text(k), text(v)))
                .into_iter()
                .collect(),
        )
    };
    let instances = (0..200)
        .map(|i| {
            let node = text(&format!("node-{i}"));
            let check = |id: &str, service: &str| {
                Arc::new(Check {
                    node: node.clone(),
                    id: text(id),
                    name: text("Service 'web' check"),
                    status: Status::Passing,
                    output: text("HTTP GET http://10.0.0.1/health: 200 OK Output: <ok>"),
                    service_id: text(service),
                    service_name: text(service),
                    ..Check::default()
                })
            };
            Instance {
                node: Arc::new(Node {
                    name: node.clone(),
                    address: text("10.0.0.1"),
                    datacenter: text("dc1"),
                    tagged_addresses: meta(),
                    meta: meta(),
                    ..Node::default()
                }),
                service: Arc::new(Service {
                    id: text(&format!("web-{i}")),
                    name: text("web"),
                    tags: vec![text("primary"), text("v1")],
                    port: 8080,
                    meta: meta(),
                    ..Service::default()
                }),
                checks: [check("serfHealth", ""), check("service:web", "web")].into(),
            }
        })
        .collect();
    let reply = Reply::Instances(instances);
    let rounds = 2000;
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        bytes += std::hint::black_box(render::reply(
            std::hint::black_box(&reply),
            View::Plain,
            Addresses::Lan,
        ))
        .len();
    }
    let secs = start.elapsed().as_secs_f64();
    println!(
        "{} bytes, {:.1} us, {:.0} MB/s",
        bytes / rounds,
        secs * 1e6 / rounds as f64,
        bytes as f64 / secs / 1e6
    );
}
