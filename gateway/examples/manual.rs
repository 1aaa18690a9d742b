//! Writes the manual page and the shells' completions below a folder such as `/usr/share`, from the command line's own description.
//!
//! ```sh
//! cargo run -p tidegate --example manual -- target/share
//! ```

use std::{env, fs, io, path::Path};

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1) else {
        return Err(io::Error::other("name the folder that the pages go to"));
    };
    let folder = Path::new(&folder);
    let manual = folder.join("man/man1");
    fs::create_dir_all(&manual)?;
    clap_mangen::generate_to(tidegate::cli::command(), &manual)?;
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions/tidegate"),
        (Shell::Zsh, "zsh/vendor-completions/_tidegate"),
        (Shell::Fish, "fish/vendor_completions.d/tidegate.fish"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut tidegate::cli::command(), "tidegate", &mut text);
        let file = folder.join(place);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, text)?;
    }
    Ok(())
}
