//! Figures of big gossip pools: `cargo run --release -p tribune-sim --example gossip_scale -- --nodes 10000`.
//!
//! Options: `--nodes N` (1000), `--seconds S` of virtual time (60), `--seed K` (1), `--runs R` with the seeds from K on (1),
//! `--loss P` (0), `--memory` to measure also what one agent alone needs. Prints what was measured beside what the
//! formulas say.

use std::time::{Duration, Instant};

use tribune_sim::gossip::{
    Figures, Link, PerAgent, Pool, PoolOptions, Predict, Reach, lone_agent, measure,
};

struct Args {
    nodes: usize,
    seconds: usize,
    seed: u64,
    runs: u64,
    loss: f64,
    memory: bool,
}

fn main() -> Result<(), String> {
    let args = parse(std::env::args().skip(1))?;
    if args.memory {
        print_memory(args.nodes);
    }
    let mut all = Vec::new();
    for seed in args.seed..args.seed + args.runs {
        all.push(run(&args, seed)?);
    }
    let predict = Predict {
        nodes: args.nodes,
        timing: tribune_swim::Timing::lan(),
        loss: args.loss,
    };
    print(&all, &predict);
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        nodes: 1000,
        seconds: 60,
        seed: 1,
        runs: 1,
        loss: 0.0,
        memory: false,
    };
    while let Some(word) = words.next() {
        if word == "--memory" {
            args.memory = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let bad = |_| format!("bad value of {word}: {value}");
        match word.as_str() {
            "--nodes" => args.nodes = value.parse().map_err(bad)?,
            "--seconds" => args.seconds = value.parse().map_err(bad)?,
            "--seed" => args.seed = value.parse().map_err(bad)?,
            "--runs" => args.runs = value.parse().map_err(bad)?,
            "--loss" => {
                args.loss = value
                    .parse()
                    .map_err(|_| format!("bad value of {word}: {value}"))?;
            }
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if args.nodes < 10 {
        return Err("too few nodes for a story".to_owned());
    }
    Ok(args)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the figure is how long this machine takes"
)]
fn now() -> Instant {
    Instant::now()
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn run(args: &Args, seed: u64) -> Result<Figures, String> {
    let before = resident();
    let start = now();
    let mut pool = Pool::converged(PoolOptions {
        link: Link::lan().with_loss(args.loss),
        ..PoolOptions::new(args.nodes, seed)
    });
    let built = start.elapsed();
    let entries = (args.nodes * args.nodes) as f64;
    let bytes = (resident().saturating_sub(before)) as f64;
    let start = now();
    let figures = measure(&mut pool, args.seconds);
    let ran = start.elapsed();
    let counts = pool.counts();
    println!(
        "seed {seed}: built in {:.1} s, {:.2} GiB resident = {:.1} bytes per entry; {} s of virtual time in {:.1} s, \
         {:.2} GiB at the end; trace {:016x}",
        built.as_secs_f64(),
        bytes / f64::from(1 << 30),
        bytes / entries,
        args.seconds,
        ran.as_secs_f64(),
        resident() as f64 / f64::from(1 << 30),
        pool.trace().value(),
    );
    println!(
        "  {} events, {} wakes, {} datagrams delivered, {} states merged, {} suspicions, {} refutes",
        counts.events,
        counts.wakes,
        counts.delivered,
        counts.merges,
        counts.suspicions,
        counts.refutes
    );
    pool.check()?;
    Ok(figures)
}

/// What the table of one agent needs that shares its members' records with nobody.
fn print_memory(nodes: usize) {
    let before = resident();
    let agents: Vec<_> = (0..20).map(|seed| lone_agent(nodes, seed)).collect();
    let bytes = (resident().saturating_sub(before)) as f64;
    println!(
        "an agent alone: {:.0} bytes per known member ({} agents with {nodes} members each)",
        bytes / (agents.len() * nodes) as f64,
        agents.len()
    );
}

fn print(all: &[Figures], predict: &Predict) {
    let n = predict.nodes;
    println!("\n{} runs of {n} agents, loss {}", all.len(), predict.loss);
    println!("| what | measured (mean; smallest to largest) | formula |");
    println!("| --- | ---: | ---: |");
    let times = |of: fn(&Figures) -> Option<Duration>| times(all.iter().map(of));
    let row = |what: &str, measured: String, formula: String| {
        println!("| {what} | {measured} | {formula} |");
    };
    let secs = |d: Duration| format!("{:.2} s", d.as_secs_f64());
    let join = |pick: fn(Reach) -> Option<Duration>| {
        self::times(all.iter().map(|figures| pick(figures.join)))
    };
    row("join known by half", join(|r| r.half), String::new());
    row("join known by 99 %", join(|r| r.most), String::new());
    row(
        "join known by all",
        join(|r| r.all),
        format!(
            "{} (logistic), {:.1} rounds = {} (in step)",
            secs(predict.spread()),
            predict.spread_rounds(),
            secs(
                predict
                    .timing
                    .gossip_interval
                    .mul_f64(predict.spread_rounds())
            ),
        ),
    );
    row(
        "failure first suspected",
        times(|f| f.first_suspicion),
        format!(
            "{} (independent probes), {} (in step)",
            secs(predict.first_suspicion()),
            secs(predict.first_suspicion_paper()),
        ),
    );
    row(
        "from suspicion to the first report",
        times(|f| Some(f.failure.first?.saturating_sub(f.first_suspicion?))),
        format!(
            "{} (confirmed) to {}",
            secs(predict.suspicion_min()),
            secs(predict.suspicion_max())
        ),
    );
    row(
        "from the first report to all",
        times(|f| Some(f.failure.all?.saturating_sub(f.failure.first?))),
        format!("at most {}", secs(predict.spread())),
    );
    row(
        "failure known by all",
        times(|f| f.failure.all),
        secs(predict.failure_known()),
    );
    row(
        "false failures",
        all.iter()
            .map(|f| f.false_failures)
            .sum::<usize>()
            .to_string(),
        "0".to_owned(),
    );
    let rate = |of: fn(&Figures) -> PerAgent| {
        let count = all.len() as f64;
        let mean = |pick: fn(PerAgent) -> f64| all.iter().map(|f| pick(of(f))).sum::<f64>() / count;
        format!(
            "{:.2} datagrams, {:.0} bytes; streams {:.0} bytes",
            mean(|p| p.packets),
            mean(|p| p.bytes),
            mean(|p| p.exchange_bytes)
        )
    };
    row(
        "idle, sent per agent and second",
        rate(|f| f.idle),
        format!("{:.2} datagrams", predict.idle_packets()),
    );
    row(
        "busiest second of the join",
        rate(|f| f.join_peak),
        String::new(),
    );
    row(
        "busiest second of the failure",
        rate(|f| f.failure_peak),
        String::new(),
    );
    row(
        "mean of the failure",
        rate(|f| f.failure_mean),
        format!(
            "{} transmissions per broadcast and agent",
            predict.retransmissions()
        ),
    );
    println!(
        "agents that gossip alone misses, expected: {:.1e}",
        predict.unreached()
    );
}

fn times(all: impl Iterator<Item = Option<Duration>>) -> String {
    let mut known: Vec<f64> = Vec::new();
    let mut missing = 0;
    for one in all {
        match one {
            Some(time) => known.push(time.as_secs_f64()),
            None => missing += 1,
        }
    }
    if known.is_empty() {
        return "not in this run".to_owned();
    }
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let least = known.iter().copied().fold(f64::INFINITY, f64::min);
    let most = known.iter().copied().fold(0.0, f64::max);
    let rest = if missing > 0 {
        format!("; {missing} runs ended before")
    } else {
        String::new()
    };
    if known.len() == 1 {
        return format!("{mean:.2} s{rest}");
    }
    format!("{mean:.2} s; {least:.2} to {most:.2} s{rest}")
}
