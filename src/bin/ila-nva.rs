//! The authority's command line: arguments in, library calls, exit codes out.

use clap::{Parser, Subcommand};
use ilagate::config::AuthorityConfig;
use ilagate::nva::run::run;
use std::path::PathBuf;
use std::process::ExitCode;

/// The network virtualization authority of ilagate: who has which identifier, and who must know.
#[derive(Parser)]
#[command(name = "ila-nva", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the authority.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration file.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config } => run(&config).map_err(anyhow::Error::from),
        Command::Check { file } => AuthorityConfig::load(&file).map(|_| ()).map_err(anyhow::Error::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may read it.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
