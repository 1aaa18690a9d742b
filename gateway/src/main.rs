//! The `tidegate` program. Everything is in the library, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main().into()
}
