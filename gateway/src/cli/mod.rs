//! The command line: one subcommand each in a file of its own.

mod adapters;
mod check;
mod device;
mod factory;
mod hub;
mod inbox;
mod keep;
mod logging;
mod output;
mod pair;
mod queue;
mod read;
mod remote;
mod scan;
mod write;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    config::{self, Config},
    demo,
    exit::Exit,
};

pub(crate) use output::{complain, say};

/// Edge gateway: carries messages between leaf devices and a cloud hub, and loses none.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, max_term_width = 100)]
struct Cli {
    /// Configuration: a folder with tidegate.toml in it, or that file.
    #[arg(long, global = true, env = "TIDEGATE_CONFIG", default_value = "/etc/tidegate", value_name = "PATH")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is asked to stop.
    Run,
    /// Check the configuration and name everything that is wrong with it; with --box, the machine as well. Opens nothing.
    Check(check::Args),
    /// Ask devices once, with no hub, and show values, raw words and timing.
    Read(read::Args),
    /// Write points of a device, by the same way as commands of the hub: stored, guarded, audited.
    Write(write::Args),
    /// Show the commands that wait and those that ended without being done; carry one of these out after all, or let it go.
    Inbox(inbox::Args),
    /// Show what waits in the log, for whom, and what was given up.
    Queue {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// List the kinds of adapters, show how to configure one, or search for devices.
    Adapters(adapters::Args),
    /// Show what the running gateway does.
    Status {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Have the running gateway apply its changed configuration.
    Reload,
    /// Put the configuration into one file, without keys and passwords.
    Backup(keep::To),
    /// Write the configuration of a backup, after checking it; what was there is kept beside it.
    Restore(keep::From),
    /// Pack what helps to help: versions, configuration, checks, status and events, without secrets and values.
    SupportBundle(keep::To),
    /// Remove configuration, keys, users and log: the box as it was delivered.
    FactoryReset(factory::Args),
    /// Run only the hub for devices: no adapters, nothing above.
    Hub(hub::Args),
    /// Register devices that connect to this gateway, and work with them.
    Device(device::Args),
    /// Send a message to a device.
    Send(device::SendArgs),
    /// Run everything on this machine: simulated devices, the gateway, a hub, and an outage now and then.
    Demo(demo::Args),
}

/// The command line's description, for the manual and the shells.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program.
pub fn main() -> Exit {
    // The one TLS provider in the program; a second call, which cannot happen here, would only keep the first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Fine };
            // If even this cannot be printed there is nobody to tell.
            error.print().ok();
            return exit;
        }
    };
    match cli.command {
        Command::Run => {
            crate::service::trial::recover(&cli.config);
            with_config(&cli.config, |config| {
                logging::start(&config.diagnostics);
                block_on(crate::run::run(cli.config.clone(), config, crate::kinds()))
            })
        }
        Command::Check(args) => check::check(&cli.config, args),
        Command::Read(args) => with_config(&cli.config, |config| block_on(read::read(config, args))),
        Command::Write(args) => with_state(&cli.config, |state| write::write(state, &args)),
        Command::Inbox(args) => with_state(&cli.config, |state| inbox::inbox(state, &args)),
        Command::Queue { json } => with_state(&cli.config, |state| queue::queue(state, json)),
        Command::Adapters(args) => adapters::adapters(&args),
        Command::Status { json } => with_state(&cli.config, |state| remote::status(state, json)),
        Command::Reload => with_state(&cli.config, remote::reload),
        Command::Backup(to) => keep::backup(&cli.config, to),
        Command::Restore(from) => keep::restore(&cli.config, &from),
        Command::SupportBundle(to) => keep::support(&cli.config, to),
        Command::FactoryReset(args) => factory::reset(&cli.config, &args),
        Command::Hub(args) => hub::hub(&cli.config, args),
        Command::Device(args) => with_this_state(args.state.clone(), &cli.config, |state| device::device(state, args)),
        Command::Send(args) => with_this_state(args.state.clone(), &cli.config, |state| device::send(state, args)),
        Command::Demo(args) => block_on(demo::demo(args)),
    }
}

/// Runs with a checked configuration, or names what is wrong with it.
fn with_config(path: &Path, run: impl FnOnce(Config) -> Exit) -> Exit {
    let loaded = config::load(path, &crate::kinds());
    for problem in &loaded.problems {
        complain(&problem.to_string());
    }
    match loaded.config {
        Some(config) => run(config),
        None => Exit::Configuration,
    }
}

/// Runs with the state folder, which is known even while the rest of the configuration has problems: a gateway that runs on an
/// older one must still be reachable.
fn with_state(path: &Path, run: impl FnOnce(&Path) -> Exit) -> Exit {
    match config::state_dir(path) {
        Some(state) => run(&state),
        None => with_config(path, |config| run(&config.gateway.state_dir)),
    }
}

/// As [`with_state`], unless the folder is given.
fn with_this_state(given: Option<PathBuf>, path: &Path, run: impl FnOnce(&Path) -> Exit) -> Exit {
    match given {
        Some(state) => run(&state),
        None => with_state(path, run),
    }
}

/// One thread for all that waits: the two lines do little between waiting, and handing a message from thread to thread costs more
/// than what is done with it. What computes for long (a password's hash, say) or blocks belongs into `spawn_blocking`; the log has
/// threads of its own.
fn block_on(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // A task that is stuck in a blocking call must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            exit
        }
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            Exit::Internal
        }
    }
}
