//! A child process whose output is kept line by line, and that never outlives the test that started it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{on_path, until};

/// Lines of output with the moment at which each came; grows in the background.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Instant, String)>>>);

impl Lines {
    /// Follows an output to its end.
    fn follow(&self, output: impl Read + Send + 'static) {
        let lines = self.clone();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            // Bytes, because what a damaged gateway or broker prints need not be text.
            while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().push((Instant::now(), text));
                line.clear();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// From the `from`th on.
    pub(crate) fn since(&self, from: usize) -> Vec<(Instant, String)> {
        self.lock().iter().skip(from).cloned().collect()
    }

    /// When the first line after the `from`th came that holds `text`.
    pub(crate) fn find(&self, from: usize, text: &str) -> Option<Instant> {
        self.lock().iter().skip(from).find(|(_, line)| line.contains(text)).map(|(at, _)| *at)
    }

    /// The last `n`, for failure messages.
    pub(crate) fn tail(&self, n: usize) -> String {
        let lines = self.lock();
        let tail: Vec<_> = lines.iter().skip(lines.len().saturating_sub(n)).map(|(_, line)| line.as_str()).collect();
        tail.join("\n")
    }
}

/// A running child. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    /// What it prints to stdout.
    pub(crate) out: Lines,
    /// What it prints to stderr.
    pub(crate) err: Lines,
}

/// A command that dies with the test's thread, however that ends: `setpriv` (util-linux) sets the parent death signal,
/// which would need unsafe code here, and becomes the program.
pub(crate) fn command(program: &str) -> Command {
    let program = on_path(program).unwrap_or_else(|| program.into());
    match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Process {
    /// Starts it; `lines` go on where an earlier run of the same program ended.
    pub(crate) fn start(mut command: Command, out: Lines, err: Lines) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        out.follow(child.stdout.take().expect("piped"));
        err.follow(child.stderr.take().expect("piped"));
        let input = child.stdin.take();
        Self { child, input, out, err }
    }

    /// Sends a line to its stdin.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open until dropped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the child listens");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child, not yet waited for");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its exit, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self, what: &str, limit: Duration) -> ExitStatus {
        until(what, limit, || self.ended())
    }

    /// SIGKILL; gone when this returns.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().expect("our own child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
