//! The authority's command line: arguments in, library calls, exit codes out.

use anyhow::Result;
use clap::{Parser, Subcommand};
use ilagate::config::{AuthorityConfig, StoreConfig};
use ilagate::nva::run::run;
use ilagate::nva::store::backup::{backup, restore, verify};
use ilagate::nva::store::{EPOCH, Summary, read};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

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
    /// Copy the registry into a new file. The authority must not run.
    Backup {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The new file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Read a registry or a backup from end to end.
    Verify {
        /// The file. No process may have it open.
        file: PathBuf,
    },
    /// Put a backup in the place of the registry, as a new history: every node resynchronises. The registry that is
    /// there is set aside. The authority must not run.
    Restore {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config } => run(&config).map_err(anyhow::Error::from),
        Command::Check { file } => AuthorityConfig::load(&file).map(|_| ()).map_err(anyhow::Error::from),
        Command::Backup { config, to } => make_backup(&config, &to),
        Command::Verify { file } => verify(&file).map_err(anyhow::Error::from).and_then(|it| tell(&file, it)),
        Command::Restore { config, from } => put_back(&config, &from),
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

fn make_backup(config: &Path, to: &Path) -> Result<()> {
    let store = AuthorityConfig::load(config)?.store;
    tell(to, backup(&read(&store)?, to)?)
}

fn put_back(config: &Path, from: &Path) -> Result<()> {
    let StoreConfig::Embedded(store) = AuthorityConfig::load(config)?.store else {
        anyhow::bail!(
            "store.etcd: a backup is put back into a file only; etcd has backups of its own (etcdctl snapshot)"
        );
    };
    let mut epoch = [0; EPOCH];
    rand::fill(&mut epoch[..]);
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (summary, aside) = restore(from, &store, epoch, now_s)?;
    if let Some(aside) = aside {
        writeln!(std::io::stdout(), "{}: set aside as {}", store.display(), aside.display())?;
    }
    tell(&store, summary)
}

fn tell(file: &Path, Summary { revision, held, released, objects }: Summary) -> Result<()> {
    let file = file.display();
    Ok(writeln!(
        std::io::stdout(),
        "{file}: revision {revision}, {held} identifiers, {released} released, {objects} objects"
    )?)
}
