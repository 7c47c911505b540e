//! Completions and man pages, made of the definition of the command line.

use crate::cli;
use crate::cli::local::{CompletionsArgs, ManArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::out;

/// `completions`.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "keyhelm", &mut script);
    out::write(&script)
}

/// `man`.
pub fn man(args: &ManArgs) -> Outcome {
    let shown = args.folder.display();
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(cli::command(), &args.folder))
        .map_err(|error| Failure::new(Exit::Failed, "io", format!("man pages in {shown}: {error}")))
}
