//! Pages of the documentation that are walked through: each command is run as it stands, and prints what the page says.
//!
//! Blocks marked `sh` are run by a shell with `tribune` at hand; a block that begins an agent is left running. A block marked
//! `text` is what the one before it prints: spaces are not counted, and a line `...` stands for any lines. Such a block is run
//! until it does, for a bounded time: a reader is slower than a machine. `<!-- kill NAME -->` ends an agent at once.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Agent, kill, run};

const PATIENCE: Duration = Duration::from_secs(120);

/// A step of a page.
#[derive(Debug, PartialEq)]
enum Step {
    /// Commands, and what they print if the page says so.
    Run(String, Option<String>),
    /// The end of an agent.
    Kill(String),
}

/// What a page tells its reader to do.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut block: Option<(&str, String)> = None;
    for line in page.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some((kind, String::new())),
            (None, None) => {
                if let Some(name) = line
                    .strip_prefix("<!-- kill ")
                    .and_then(|rest| rest.strip_suffix(" -->"))
                {
                    steps.push(Step::Kill(name.to_owned()));
                }
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (Some(_), Some(_)) => match block.take() {
                Some(("sh", text)) => steps.push(Step::Run(text, None)),
                Some(("text", text)) => match steps.last_mut() {
                    Some(Step::Run(_, prints @ None)) => *prints = Some(text),
                    other => panic!("nothing printed {text:?}: {other:?}"),
                },
                _ => {}
            },
        }
    }
    steps
}

/// True if `printed` is what a page says.
fn is_what(said: &str, printed: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    let (said, printed) = (words(said), words(printed));
    match said.iter().position(|line| line == "...") {
        None => said == printed,
        Some(at) => {
            let (head, tail) = (&said[..at], &said[at + 1..]);
            printed.len() >= head.len() + tail.len()
                && printed.starts_with(head)
                && printed.ends_with(tail)
        }
    }
}

/// A reader with a machine.
struct Reader {
    /// Takes the place of `127.0.0.` in what the page says.
    subnet: &'static str,
    dir: tempfile::TempDir,
    agents: BTreeMap<String, Option<Child>>,
}

impl Reader {
    fn new(subnet: &'static str) -> Reader {
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(Agent::binary(), dir.path().join("tribune")).expect("a link");
        Reader {
            subnet,
            dir,
            agents: BTreeMap::new(),
        }
    }

    fn walk(&mut self, page: &str) {
        for step in steps(&page.replace("127.0.0.", self.subnet)) {
            match step {
                Step::Kill(name) => {
                    let agent = self.agents.get_mut(&name);
                    kill(agent.unwrap_or_else(|| panic!("no agent {name}")));
                }
                Step::Run(commands, None) if commands.starts_with("tribune agent ") => {
                    self.begin(&commands);
                }
                Step::Run(commands, prints) => self.run(&commands, prints.as_deref()),
            }
        }
    }

    fn shell(&self, commands: &str) -> Command {
        let mut shell = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-c", commands])
            .current_dir(self.dir.path())
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env("CONSUL_HTTP_ADDR", format!("{}1:8500", self.subnet))
            .stdin(Stdio::null());
        shell
    }

    fn begin(&mut self, command: &str) {
        let (_, rest) = command.split_once("-node ").expect("agents have names");
        let name = rest.split_whitespace().next().expect("a name");
        let log = std::fs::File::create(self.dir.path().join(name)).expect("a log");
        let child = self
            .shell(&format!("exec {command}"))
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("an agent");
        self.agents.insert(name.to_owned(), Some(child));
    }

    fn run(&self, commands: &str, prints: Option<&str>) {
        let until = Instant::now() + PATIENCE;
        loop {
            let shell = self.shell(&format!("exec 2>&1\n{commands}"));
            let (code, printed, _) = run(shell);
            let done = match prints {
                Some(said) => is_what(said, &printed),
                None => code == Some(0),
            };
            if done {
                return;
            }
            assert!(
                Instant::now() < until,
                "{commands}\nprinted:\n{printed}\nbut the page says:\n{prints:?}\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn logs(&self) -> String {
        let read = |name: &String| std::fs::read_to_string(self.dir.path().join(name));
        self.agents
            .keys()
            .filter_map(|name| read(name).ok())
            .collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for agent in self.agents.values_mut() {
            kill(agent);
        }
    }
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[test]
fn a_reader_gets_from_one_agent_to_two_federated_datacenters() {
    if !["bash", "curl", "dig"].into_iter().all(has) {
        eprintln!("skipped: the page needs bash, curl and dig");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/two-datacenters.md");
    let page = std::fs::read_to_string(page).expect("the page");
    Reader::new("127.0.66.").walk(&page);
}

#[test]
fn a_page_that_lies_is_found_out() {
    let page = "```sh\na\nb\n```\n\ntext\n\n```text\nout\n```\n<!-- kill x -->\n```hcl\nc = 1\n```\n```sh\nd\n```\n";
    assert_eq!(
        steps(page),
        [
            Step::Run("a\nb\n".to_owned(), Some("out\n".to_owned())),
            Step::Kill("x".to_owned()),
            Step::Run("d\n".to_owned(), None),
        ]
    );
    for (said, printed, want) in [
        ("a  b\n", "a b\n", true),
        ("a\n", "a\nb\n", false),
        ("a\n...\nc\n", "a\nc\n", true),
        ("a\n...\nc\n", "a\nx\ny\nc\n", true),
        ("a\n...\nc\n", "a\n", false),
        ("a\n...\nc\n", "a\nc\nd\n", false),
    ] {
        assert_eq!(is_what(said, printed), want, "{said:?} {printed:?}");
    }
}
