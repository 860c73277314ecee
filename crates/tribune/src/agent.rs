//! The `agent` command: from arguments to a running agent, its signals and its exit code.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tracing::{error, info, warn};
use tribune_agent::logs::{LogOptions, Logs};
use tribune_agent::start::{Agent, Ending, Parts};
use tribune_config::{
    Config, Environment, FlagError, FlagValues, Loaded, flags, load, parse_agent_flags,
};
use tribune_rt::signals::{Signal, Signals};
use tribune_rt::{Env, RealConfig};
use tribune_types::caller::Caller;

use crate::banner::banner;
use crate::fronts::Fronts;
use crate::pid_file::PidFile;
use crate::{resident, systemd};

/// Tribune's own version, beside the version it is compatible with.
pub(crate) const REVISION: &str = concat!("tribune-", env!("CARGO_PKG_VERSION"));
/// How long a graceful leave may take.
const LEAVE_DEADLINE: Duration = Duration::from_secs(15);
/// How long the last log lines may take to be written.
const LOG_FLUSH: Duration = Duration::from_secs(1);
/// Exit code after a stop without leave, as operators' scripts know it.
const STOPPED: i32 = 1;

/// The `agent` command.
pub(crate) struct AgentCommand;

impl tribune_cli::Agent for AgentCommand {
    fn help(&self) -> String {
        flags::help()
    }

    fn run(&self, args: &[String]) -> i32 {
        match run(args) {
            Ok(code) => code,
            Err(err) => {
                eprintln!("==> {err:#}");
                1
            }
        }
    }
}

fn run(args: &[String]) -> Result<i32> {
    let flags = match parse_agent_flags(args) {
        Ok(flags) => flags,
        Err(FlagError::Help) => {
            println!("{}", flags::help());
            return Ok(0);
        }
        Err(err) => {
            eprintln!("{err}\n{}", flags::help());
            return Ok(1);
        }
    };
    if !flags.rest.is_empty() {
        return Err(anyhow!(
            "Unexpected extra arguments: [{}]",
            flags.rest.join(" ")
        ));
    }
    let environment = Environment::of_this_host();
    let Loaded { config, warnings } = load(&flags, &environment)?;
    if let Some(dir) = &config.data_dir
        && dir.exists()
        && !dir.is_dir()
    {
        return Err(anyhow!(
            "data_dir {:?} is not a directory",
            dir.display().to_string()
        ));
    }
    let env = Env::real(RealConfig::default()).context("failed to start threads")?;
    let logs = Logs::install(&env, &LogOptions::from_config(&config))
        .context("failed to set up logging")?;
    let code = env.block_on(serve(
        &env,
        config,
        warnings,
        logs.clone(),
        flags,
        environment.hostname,
    ));
    logs.flush(LOG_FLUSH);
    code
}

async fn serve(
    env: &Env,
    config: Config,
    warnings: Vec<String>,
    logs: Logs,
    flags: FlagValues,
    host: String,
) -> Result<i32> {
    let mut signals = Signals::new().context("failed to catch signals")?;
    println!("==> Starting Consul agent...");
    let fronts: Arc<OnceLock<Fronts>> = Arc::default();
    let (applied_fronts, applied_logs) = (Arc::clone(&fronts), logs.clone());
    let parts = Parts {
        config: config.clone(),
        reload: Box::new(move || {
            // Addresses and host name are taken anew: they may have changed, too.
            let loaded =
                load(&flags, &Environment::of_this_host()).map_err(|err| err.to_string())?;
            for warning in &loaded.warnings {
                warn!("{warning}");
            }
            Ok(loaded.config)
        }),
        applied: Box::new(move |config| {
            applied_logs.set_level(config.reloadable.log_level);
            if let Some(fronts) = applied_fronts.get() {
                fronts.reload(config);
            }
        }),
        logs: logs.clone(),
        host,
        revision: REVISION.to_owned(),
    };
    let mut agent = Agent::start(env, parts).await.map_err(start_error)?;
    let served = Fronts::start(env, agent.handle(), &config).await;
    let served = match served {
        Ok(served) => served,
        Err(err) => {
            agent.shutdown().await;
            return Err(err);
        }
    };
    let _ = fronts.set(served);
    let _pid_file = PidFile::write(config.pid_file.clone())?;
    print!("{}", banner(&config, agent.handle(), REVISION));
    println!("\n==> Log data will now stream in as it occurs:\n");
    logs.open_stdout();
    for warning in &warnings {
        warn!("{warning}");
    }
    info!(node = %agent.handle().identity().node, "Consul agent running!");
    let peers = agent.handle().status_peers(None).await;
    let founds = config.server.bootstrap || config.server.bootstrap_expect > 0;
    if config.server.enabled && !founds && peers.is_ok_and(|peers| peers.is_empty()) {
        warn!(
            "no known peers: this server waits to be added to a cluster, a new one needs -bootstrap or \
             -bootstrap-expect on its servers"
        );
    }
    if let Err(reason) = agent.join_at_start().await {
        error!("{reason}");
        if let Some(fronts) = fronts.get() {
            fronts.shutdown().await;
        }
        agent.shutdown().await;
        info!(code = STOPPED, "exit");
        return Ok(STOPPED);
    }
    systemd::ready();
    let _settling = env
        .spawn("settle", resident::settle(env.clone()))
        .abort_on_drop();

    let code = run_until_end(env, &mut agent, &mut signals, &config).await;
    if let Some(fronts) = fronts.get() {
        fronts.shutdown().await;
    }
    agent.shutdown().await;
    info!(code, "exit");
    Ok(code)
}

/// Waits for the end and gives the exit code.
async fn run_until_end(
    env: &Env,
    agent: &mut Agent,
    signals: &mut Signals,
    config: &Config,
) -> i32 {
    loop {
        let leaves = tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Signal::Hangup => {
                    info!("caught signal, reloading configuration");
                    if let Err(err) = agent.handle().reload(&Caller::internal()).await {
                        error!(%err, "failed to reload the configuration");
                    }
                    continue;
                }
                Signal::Interrupt => !config.leave.skip_on_interrupt,
                Signal::Terminate => config.leave.on_terminate,
            },
            ending = agent.ending() => match ending {
                Ending::Leave(answer) => {
                    agent.leave().await;
                    // The client may be gone; leaving goes on.
                    let _ = answer.send(Ok(()));
                    return 0;
                }
                Ending::Failed(_) => return 1,
            },
        };
        info!("gracefully shutting down agent...");
        if !leaves {
            return STOPPED;
        }
        return tokio::select! {
            biased;
            // A second signal ends the waiting.
            _ = signals.recv() => 1,
            left = env.timeout(LEAVE_DEADLINE, agent.leave()) => i32::from(left.is_err()),
        };
    }
}

fn start_error(err: tribune_agent::start::StartError) -> anyhow::Error {
    error!(err = %chain(&err), "Error starting agent");
    anyhow!("Error starting agent: {}", chain(&err))
}

fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let next = err.to_string();
        // Texts in Consul's words end with the system's reason in small letters and without its number.
        let plain = next.split(" (os error").next().unwrap_or(&next);
        let told = text.to_lowercase().ends_with(&plain.to_lowercase());
        if !told {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = err.source();
    }
    text
}
