//! `tidegate hub`: the hub for devices alone, without adapters and without a hub above.
//!
//! With a configuration its `[endpoint]` counts, and upstreams that it names keep their places in the log; without one, a folder
//! is enough. What is given on the command line comes first.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{block_on, complain, logging};
use crate::{
    config::{self, Config},
    exit::Exit,
};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The folder for everything that must survive; takes the place of a configuration.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Address and port for MQTT over TLS.
    #[arg(long, value_name = "ADDRESS")]
    tls: Option<SocketAddr>,
    /// Address and port for MQTT in the clear.
    #[arg(long, value_name = "ADDRESS")]
    plain: Option<SocketAddr>,
    /// Address and port for MQTT over WebSocket.
    #[arg(long, value_name = "ADDRESS")]
    websocket: Option<SocketAddr>,
    /// A name or address for its certificate; may come again.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
}

/// The ports that devices expect.
const TLS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8883);
const PLAIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);

pub(super) fn hub(path: &Path, args: Args) -> Exit {
    let loaded = match &args.state {
        Some(state) => {
            let text =
                format!("config_version = 1\n[gateway]\nid = \"hub\"\nstate_dir = {}\n[log]\nkeep_delivered = \"24h\"\n", toml_text(state));
            config::check_text(&text, &crate::kinds())
        }
        None => config::load(path, &crate::kinds()),
    };
    let is_error = |problem: &&tidegate_core::problem::Problem| problem.severity == tidegate_core::problem::Severity::Error;
    loaded.problems.iter().filter(is_error).for_each(|problem| complain(&problem.to_string()));
    let Some(mut config) = loaded.config else {
        if args.state.is_none() {
            complain("or say --state FOLDER, and no configuration is needed");
        }
        return Exit::Configuration;
    };
    only_the_hub(&mut config, &args);
    logging::start(&config.diagnostics);
    let reload = move |config: &mut Config| only_the_hub(config, &args);
    block_on(crate::run::run_as(path.to_owned(), config, crate::kinds(), reload))
}

/// A TOML string of any path: what TOML has no escape for is not in a path that works.
fn toml_text(path: &Path) -> String {
    toml_edit::Value::from(path.to_string_lossy().into_owned()).to_string()
}

fn only_the_hub(config: &mut Config, args: &Args) {
    config.adapters.clear();
    let names = std::mem::take(&mut config.upstreams).into_iter().map(|section| section.name);
    config.idle_upstreams.extend(names);
    let endpoint = &mut config.endpoint;
    endpoint.tls = args.tls.or(endpoint.tls);
    endpoint.plain = args.plain.or(endpoint.plain);
    endpoint.websocket = args.websocket.or(endpoint.websocket);
    if !args.names.is_empty() {
        endpoint.certificate_names.clone_from(&args.names);
    }
    if !endpoint.runs() {
        (endpoint.tls, endpoint.plain) = (Some(TLS), Some(PLAIN));
    }
}
