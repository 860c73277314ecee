//! Runs command lines in this process and keeps what they print.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Write},
    sync::{Arc, Mutex, mpsc},
};

use tribune_cli::{Agent, Host, run};

struct NoAgent;

impl Agent for NoAgent {
    fn help(&self) -> String {
        "Usage: consul agent [options]\n".to_owned()
    }

    fn run(&self, args: &[String]) -> i32 {
        i32::try_from(args.len()).unwrap() + 40
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

/// Runs `args` with these environment variables and standard input.
pub(crate) fn cli(args: &[&str], vars: &[(&str, &str)], stdin: &[u8]) -> Done {
    let (out, err) = (Sink::default(), Sink::default());
    let vars: BTreeMap<_, _> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let host = Host {
        program: "consul".to_owned(),
        stdin: Box::new(Cursor::new(stdin.to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        vars,
        interrupts: || mpsc::channel().1,
        hangups: || mpsc::channel().1,
        agent: &NoAgent,
        revision: "tribune-test".to_owned(),
    };
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let code = run(&args, host);
    let text = |sink: &Sink| String::from_utf8_lossy(&sink.0.lock().unwrap()).into_owned();
    Done {
        out: text(&out),
        err: text(&err),
        code,
    }
}
