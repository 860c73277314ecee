//! The pipeline as a whole, fed by tracing's macros.

use std::path::Path;

use tracing::{debug, error, info, info_span, trace, warn};

use super::*;

const LONG: Duration = Duration::from_secs(10);

fn to_file(dir: &Path, json: bool, level: LogLevel) -> LogOptions {
    let path = format!("{}/x.log", dir.display());
    let file = FileOptions {
        path,
        rotate_bytes: 0,
        rotate_duration: Duration::ZERO,
        rotate_max_files: 0,
    };
    LogOptions {
        level,
        json,
        file: Some(file),
        ..LogOptions::silent()
    }
}

/// The lines of the one file, without their times.
fn lines(dir: &Path) -> Vec<String> {
    let file = std::fs::read_dir(dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn received(receiver: &mut mpsc::Receiver<Bytes>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|line| {
            let text = String::from_utf8(line.to_vec()).unwrap();
            text.split_once(' ')
                .map_or(text.clone(), |(_, rest)| rest.trim_end().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn events_arrive_in_the_file_with_module_fields_and_spans() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::start(
        &Env::ambient().unwrap(),
        &to_file(dir.path(), false, LogLevel::Debug),
    )
    .unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        let cause = io::Error::other("disk is full");
        let err: &(dyn std::error::Error + 'static) = &cause;
        warn!(target: "tribune_raft::wal", err, attempt = 3, token = "s3cr3t", "write failed");
        let _span = info_span!("request", method = "GET", attempt = 1).entered();
        info!(target: "tribune_http", attempt = 2, url = %"/v1/a b\nc", "request finished");
        trace!("not wanted");
        info!(target: "hyper::proto", "not wanted either");
    });
    assert!(logs.flush(LONG));
    let lines: Vec<String> = lines(dir.path())
        .into_iter()
        .map(|line| line[25..].to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            r#"[WARN]  agent.server.raft: write failed: error="disk is full" attempt=3 token=hidden"#,
            r#"[INFO]  agent.http: request finished: attempt=2 url="/v1/a b\nc" method=GET"#,
        ]
    );
}

#[tokio::test]
async fn json_lines_are_json() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::start(
        &Env::ambient().unwrap(),
        &to_file(dir.path(), true, LogLevel::Info),
    )
    .unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        error!(target: "agent.dns", ok = false, n = -4, ratio = 0.5, text = "a\"b", "broken {}", 7);
    });
    assert!(logs.flush(LONG));
    let line: serde_json::Value = serde_json::from_str(&lines(dir.path())[0]).unwrap();
    assert_eq!(line["@level"], "error");
    assert_eq!(line["@message"], "broken 7");
    assert_eq!(line["@module"], "agent.dns");
    assert_eq!(
        (&line["ok"], &line["n"], &line["ratio"], &line["text"]),
        (&false.into(), &(-4).into(), &0.5.into(), &"a\"b".into())
    );
}

#[tokio::test]
async fn a_monitor_sees_more_than_the_outputs_and_levels_change_at_run_time() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::start(
        &Env::ambient().unwrap(),
        &to_file(dir.path(), false, LogLevel::Warn),
    )
    .unwrap();
    let say = |n: u32| {
        debug!(n, "said");
        info!(n, "said");
    };
    tracing::subscriber::with_default(logs.subscriber(), || {
        say(1);
        let mut monitor = logs.subscribe(LogLevel::Debug, false);
        say(2);
        assert_eq!(
            received(&mut monitor),
            ["[DEBUG] agent: said: n=2", "[INFO]  agent: said: n=2"]
        );
        drop(monitor);
        say(3);
        logs.set_level(LogLevel::Info);
        say(4);
        logs.set_level(LogLevel::Error);
        say(5);
        assert_eq!(logs.level(), LogLevel::Error);
    });
    assert!(logs.flush(LONG));
    let lines = lines(dir.path());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with("[INFO]  agent: said: n=4"), "{lines:?}");
}

#[tokio::test]
async fn a_silent_log_serves_monitors_and_wants_nothing_without_them() {
    let logs = Logs::start(&Env::ambient().unwrap(), &LogOptions::silent()).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        assert!(!tracing::enabled!(tracing::Level::ERROR));
        let mut monitor = logs.subscribe(LogLevel::Info, false);
        info!("heard");
        assert_eq!(received(&mut monitor), ["[INFO]  agent: heard"]);
    });
    assert!(logs.flush(Duration::ZERO));
}

#[tokio::test]
async fn what_cannot_be_opened_is_an_error_with_the_known_words() {
    let env = Env::ambient().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let err = Logs::start(
        &env,
        &to_file(&dir.path().join("no"), false, LogLevel::Info),
    )
    .unwrap_err()
    .to_string();
    assert!(
        err.starts_with("open ") && err.ends_with(".log: no such file or directory"),
        "{err}"
    );
    let syslog = |facility: &str, socket: PathBuf| LogOptions {
        syslog: Some(SyslogOptions {
            facility: facility.to_owned(),
            tag: "consul".to_owned(),
            socket,
        }),
        ..LogOptions::silent()
    };
    let err = Logs::start(&env, &syslog("LOCAL9", "/dev/null".into())).unwrap_err();
    assert_eq!(err.to_string(), "invalid syslog facility: LOCAL9");
    let err = Logs::start(&env, &syslog("LOCAL1", dir.path().join("log"))).unwrap_err();
    assert!(matches!(err, LogError::Syslog { .. }), "{err}");
}
