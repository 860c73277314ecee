//! One server in virtual time, for tests that need no other.

use std::path::PathBuf;

use tribune_rt::{CancellationToken, Env};
use tribune_server::{Authorizer, Bootstrap, Server, ServerOptions};
use tribune_types::id::NodeId;
use tribune_types::text::text;

fn options(data_dir: Option<PathBuf>) -> ServerOptions {
    let id = NodeId::from_random([7; 16]);
    ServerOptions {
        data_dir,
        ..ServerOptions::new(text("s1"), id, [127, 0, 0, 1].into())
    }
}

/// Starts a server that founds a cluster of its own. In memory without a folder.
pub(crate) async fn start(env: &Env, data_dir: Option<PathBuf>) -> Server {
    let stop = CancellationToken::new();
    let started = Server::start(env, options(data_dir), Authorizer::allow_all(), &stop);
    started.await.expect("starts")
}

/// Starts a server that waits for others before there is a cluster. In memory.
#[allow(dead_code, reason = "not every test program needs one")]
pub(crate) async fn start_waiting_for(env: &Env, expected: u32) -> Server {
    let stop = CancellationToken::new();
    let options = ServerOptions {
        bootstrap: Bootstrap::Expect(expected),
        ..options(None)
    };
    let started = Server::start(env, options, Authorizer::allow_all(), &stop);
    started.await.expect("starts")
}

/// Runs a test in virtual time.
pub(crate) fn virtually<F: Future<Output = ()>>(test: impl FnOnce(Env) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(Env::sim(1).expect("a world")).await });
}
