//! `tidegate adapters pair KIND OPTION=VALUE …`: pairs with a device, and asks at the terminal for what the device wants to know.

use std::io::IsTerminal;

use tidegate_core::{
    pair::{PairKind, PairNews},
    scan::ScanError,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    complain, say,
    scan::{failed, options},
};
use crate::{config::Kinds, exit::Exit};

/// News that wait.
const NEWS: usize = 8;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The kind of adapter.
    kind: String,
    /// Which device, as KEY=VALUE; `--options` shows what there is.
    options: Vec<String>,
    /// Print the JSON Schema of the options and pair with nothing.
    #[arg(long = "options")]
    schema: bool,
}

pub(super) async fn pair(args: &Args, kinds: Kinds) -> Exit {
    let Some(pair) = kinds.adapters.iter().find(|kind| kind.name == args.kind).and_then(|kind| kind.pair) else {
        let able: Vec<_> = kinds.adapters.iter().filter(|kind| kind.pair.is_some()).map(|kind| kind.name).collect();
        complain(&format!("nothing is paired with '{}'; there is {}", args.kind, able.join(", ")));
        return Exit::Usage;
    };
    if args.schema {
        say(&format!("{:#}", (pair.options)()));
        return Exit::Fine;
    }
    let Some(options) = options(&args.options) else {
        complain("options are written KEY=VALUE; `--options` shows what there is");
        return Exit::Usage;
    };
    tokio::select! {
        ended = talk(pair, options) => finish(ended),
        _ = tokio::signal::ctrl_c() => Exit::Negative,
    }
}

async fn talk(pair: PairKind, options: serde_json::Value) -> Result<(), ScanError> {
    let (news, mut heard) = mpsc::channel(NEWS);
    let mut running = (pair.run)(options, news);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            Some(news) = heard.recv() => {
                // The answer is waited for beside the pairing, which may end first.
                let answered = answer(news);
                tokio::select! {
                    ended = &mut running => return ended,
                    () = answered => {}
                }
            }
        }
    }
}

/// A line that somebody types. The thread that reads it outlives a pairing that ended first, and ends with the program.
async fn line() -> Option<String> {
    let (tell, typed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).is_ok_and(|count| count > 0) {
            tell.send(line.trim().to_owned()).ok();
        }
    });
    typed.await.ok()
}

async fn answer(news: PairNews) {
    let prompt = |text: &str| {
        if std::io::stdin().is_terminal() {
            complain(text);
        }
    };
    match news {
        PairNews::Doing(what) => complain(&what),
        PairNews::Show(digits) => say(&format!("type {digits} on the device")),
        PairNews::Passkey(reply) => {
            prompt("the passkey that the device shows, or that stands on it:");
            if let Some(passkey) = line().await {
                reply.send(passkey).ok();
            }
        }
        PairNews::Same(digits, reply) => {
            prompt(&format!("does the device show {digits}? yes or no:"));
            if line().await.is_some_and(|answer| answer.eq_ignore_ascii_case("yes")) {
                reply.send("yes".to_owned()).ok();
            }
        }
    }
}

fn finish(ended: Result<(), ScanError>) -> Exit {
    match ended {
        Ok(()) => {
            say("paired");
            Exit::Fine
        }
        Err(error) => failed(&error),
    }
}
