//! The node's command line: arguments in, library calls, exit codes out.

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use ilagate::config::{Config, lint, mappings};
use ilagate::node::embedded::Embedded;
use ilagate::node::quiet;
use ilagate::node::replay::{Replay, capture};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// An Identifier-Locator Addressing router and network virtualization edge on DPDK.
#[derive(Parser)]
#[command(name = "ilagate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node.
    #[cfg(feature = "dpdk")]
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration file and the mapping file that it names.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Restore what nodes that were killed have changed at interfaces of the kernel.
    Restore,
    /// Run capture files through the pipeline, without devices and without privileges.
    Replay {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// A capture (pcap or pcapng) as the input of a port; may be given several times.
        #[arg(long = "in", value_name = "PORT=FILE", required = true, value_parser = input)]
        inputs: Vec<(String, PathBuf)>,
        /// Where PORT.pcap is written for every port that sent something.
        #[arg(long)]
        out_dir: PathBuf,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

fn input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((port, file)) if !port.is_empty() && !file.is_empty() => {
            Ok((port.to_owned(), PathBuf::from(file)))
        }
        _ => Err("write PORT=FILE, for example fabric0=in.pcap".to_owned()),
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        #[cfg(feature = "dpdk")]
        Command::Run { config } => ilagate::node::run::run(&config).map_err(anyhow::Error::from),
        Command::Check { file } => check(&file),
        Command::Restore => restore(),
        Command::Replay { config, inputs, out_dir, json } => replay(&config, &inputs, &out_dir, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error; gives up after a second if nobody reads it.
fn complain(text: String) {
    let (done, wait) = std::sync::mpsc::channel();
    let write = move || {
        // If even that cannot be written, the exit code must do.
        let _ = writeln!(io::stderr(), "{text}");
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }
}

/// Writes a result to standard output.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough, as in `ilagate replay … | head`.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the result; check where the output goes"),
    }
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let records = match &config.mappings {
        Some(mapping_file) => mappings::load(&mapping_file.file, &config)?,
        None => Vec::new(),
    };
    if let Some(authority) = config.nva.as_ref().and_then(|nva| nva.embedded.as_ref()) {
        Embedded::load(authority, &config.node.name)?;
    }
    for warning in lint::warnings(&config, &records) {
        complain(format!("{}: warning: {warning}", file.display()));
    }
    say(&format!("{}: ok\n", file.display()))
}

fn restore() -> anyhow::Result<()> {
    let (done, errors) = quiet::restore_all();
    for command in &done {
        say(&format!("{command}\n"))?;
    }
    // What a running node has changed is in use: there is nothing to tell.
    let left = errors.iter().filter(|why| !matches!(why, quiet::QuietError::Held(_)));
    left.clone().for_each(|why| complain(why.to_string()));
    if left.count() > 0 {
        bail!("not everything was restored");
    }
    Ok(())
}

fn replay(config: &Path, inputs: &[(String, PathBuf)], out_dir: &Path, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let records = match &config.mappings {
        Some(mapping_file) => mappings::load(&mapping_file.file, &config)?,
        None => Vec::new(),
    };
    let names: Vec<String> = config.ports.iter().map(|port| port.name.clone()).collect();
    let mut frames = Vec::new();
    for (name, file) in inputs {
        let Some(port) = config.port_named(name) else {
            bail!("--in {name}: no port has this name; the ports are {}", names.join(", "));
        };
        let bytes = std::fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let capture = capture::read(&bytes).with_context(|| file.display().to_string())?;
        if let Some(cut) = capture.truncated {
            complain(format!(
                "{}: {cut}; the {} packets before are replayed",
                file.display(),
                capture.frames.len()
            ));
        }
        frames.push((port, capture.frames));
    }
    let mut replay = Replay::new(config, records)?;
    replay.run(frames);
    write_outputs(&replay, &names, inputs, out_dir)?;
    let report = replay.report();
    say(&if json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { report.to_string() })
}

/// Writes what the ports sent. What an earlier replay left for a port that sent nothing is removed.
fn write_outputs(
    replay: &Replay,
    names: &[String],
    inputs: &[(String, PathBuf)],
    out_dir: &Path,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(out_dir).with_context(|| format!("{}: cannot be made", out_dir.display()))?;
    let inputs: Vec<PathBuf> = inputs.iter().filter_map(|(_, file)| file.canonicalize().ok()).collect();
    let files: Vec<PathBuf> = names.iter().map(|name| out_dir.join(format!("{name}.pcap"))).collect();
    for file in &files {
        if file.canonicalize().is_ok_and(|file| inputs.contains(&file)) {
            bail!("{}: is an input and would be overwritten; give another --out-dir", file.display());
        }
    }
    for (file, sent) in files.iter().zip(replay.sent()) {
        if sent.is_empty() {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("{}: an old file is in the way", file.display()));
                }
                _ => {}
            }
            continue;
        }
        std::fs::write(file, capture::write(sent))
            .with_context(|| format!("{}: cannot be written", file.display()))?;
    }
    Ok(())
}
