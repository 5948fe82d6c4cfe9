//! The authority's command line: arguments in, library calls, exit codes out.

use anyhow::Result;
use clap::{Parser, Subcommand};
use ilagate::config::{AuthorityConfig, StoreConfig};
use ilagate::nva::run::run;
use ilagate::nva::store::backup::{backup, restore, verify};
#[cfg(feature = "etcd")]
use ilagate::nva::store::migrate;
use ilagate::nva::store::{EPOCH, Summary, read};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
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
    /// Put a backup in the place of the registry, as a new history: every node resynchronises. A file that is there is
    /// set aside; in etcd the prefix must be empty. The authority must not run.
    Restore {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Move the registry from a file into etcd, below an empty prefix, as a new history: every node resynchronises. No
    /// authority starts on the file afterwards. What was interrupted goes on when it is run again.
    #[cfg(feature = "etcd")]
    Migrate {
        /// The configuration file with the etcd.
        #[arg(long)]
        config: PathBuf,
        /// The file of the registry until now. The authority must not run.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config } => run(&config).map_err(anyhow::Error::from),
        Command::Check { file } => AuthorityConfig::load(&file).map(|_| ()).map_err(anyhow::Error::from),
        Command::Backup { config, to } => make_backup(&config, &to),
        Command::Verify { file } => check(&file),
        Command::Restore { config, from } => put_back(&config, &from),
        #[cfg(feature = "etcd")]
        Command::Migrate { config, from } => move_to_etcd(&config, &from),
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

/// Shows on a terminal how far long work is, and nothing anywhere else.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg:10} {bar:40} {percent:>3} %  {elapsed}, {eta} to go");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar)
    }

    fn show(&self) -> impl FnMut(&'static str, usize, usize) {
        let (bar, mut shown) = (self.0.clone(), "");
        move |what, done, all| {
            if what != shown {
                // Each part of the work has its own time.
                bar.reset();
                bar.set_message(what);
                shown = what;
            }
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn make_backup(config: &Path, to: &Path) -> Result<()> {
    let store = AuthorityConfig::load(config)?.store;
    let bar = Bar::new();
    let stored = read(&store, &mut bar.show())?;
    let summary = backup(&stored, to, &mut bar.show())?;
    drop(bar);
    tell(&to.display(), summary)
}

fn check(file: &Path) -> Result<()> {
    let bar = Bar::new();
    let summary = verify(file, &mut bar.show())?;
    drop(bar);
    tell(&file.display(), summary)
}

fn put_back(config: &Path, from: &Path) -> Result<()> {
    let store = AuthorityConfig::load(config)?.store;
    let bar = Bar::new();
    let (summary, aside) = match &store {
        StoreConfig::Embedded(path) => restore(from, path, new_epoch(), now_s(), &mut bar.show())?,
        #[cfg(feature = "etcd")]
        StoreConfig::Etcd(etcd) => {
            (migrate::restore(from, etcd, new_epoch(), now_s(), &mut bar.show())?, None)
        }
        #[cfg(not(feature = "etcd"))]
        StoreConfig::Etcd(_) => anyhow::bail!("store.etcd: this program was built without etcd"),
    };
    drop(bar);
    if let Some(aside) = aside {
        writeln!(std::io::stdout(), "{store}: set aside as {}", aside.display())?;
    }
    tell(&store, summary)
}

#[cfg(feature = "etcd")]
fn move_to_etcd(config: &Path, from: &Path) -> Result<()> {
    let store = AuthorityConfig::load(config)?.store;
    let StoreConfig::Etcd(etcd) = &store else {
        anyhow::bail!("store.path: a registry moves into etcd only; name store.etcd in {}", config.display());
    };
    let bar = Bar::new();
    let moved = migrate::migrate(from, etcd, new_epoch(), now_s(), &mut bar.show())?;
    drop(bar);
    match moved {
        Some(summary) => tell(&store, summary),
        None => Ok(writeln!(std::io::stdout(), "{}: moved to {store} already", from.display())?),
    }
}

fn new_epoch() -> [u8; EPOCH] {
    let mut epoch = [0; EPOCH];
    rand::fill(&mut epoch[..]);
    epoch
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn tell(place: &impl Display, Summary { revision, held, released, objects }: Summary) -> Result<()> {
    Ok(writeln!(
        std::io::stdout(),
        "{place}: revision {revision}, {held} identifiers, {released} released, {objects} objects"
    )?)
}
