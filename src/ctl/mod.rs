//! `ilactl`: the operator's command line, a client of the admin API.
//!
//! It writes aligned text for people, and with `--json` the node's views as they are. It judges nothing that
//! the node judges. Completions and new identifiers need no node; they are made here.

mod args;
mod authority;
mod client;
mod error;
mod events;
mod id;
mod load;
mod mapping;
mod moment;
mod network;
mod nva;
mod output;
mod pki;
mod policy;
mod rates;
mod vm;
mod show;

pub use args::Args;
pub use error::CtlError;

use crate::api::v1;
use args::{
    AttachmentCommand, Command, IdCommand, MappingCommand, NetworkCommand, NodeCommand, PeerCommand,
    PolicyCommand, PortCommand,
};
use clap::{CommandFactory, Parser};
use client::Client;
use output::Output;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Parses the command line and runs it: exit code 0, 1 with a message, or 2 when the command line is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let stdout = io::stdout().lock();
    match run(args, &mut io::BufWriter::new(stdout)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as in `ilactl mapping list | head`.
        Err(CtlError::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // If even that cannot be written, the exit code must do.
            let _ = writeln!(io::stderr(), "ilactl: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command and writes its result to `out`.
///
/// # Errors
/// No socket or several, a node that cannot be reached, does not answer or refuses, values that do not go
/// together, a mapping file that is wrong, or an output that cannot be written; each with the way out.
pub fn run(args: Args, out: &mut dyn Write) -> Result<(), CtlError> {
    if let Command::Completions { shell } = args.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "ilactl", &mut script);
        out.write_all(&script)?;
        return Ok(out.flush()?);
    }
    if let Command::Id(IdCommand::New(new)) = &args.command {
        let mut out = Output::new(out, args.json);
        id::new(&mut out, new)?;
        return out.flush();
    }
    if let Command::Pki(command) = &args.command {
        let mut out = Output::new(out, args.json);
        pki::run(&mut out, command)?;
        return out.flush();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeout = args.timeout.map_or_else(|| answer_timeout(&args.command), Duration::from_secs_f64);
    runtime.block_on(async {
        let mut out = Output::new(out, args.json);
        if let Command::Nva(args) = args.command {
            nva::run(&mut out, *args, timeout).await?;
            return out.flush();
        }
        if let Command::Vm(args) = args.command {
            vm::run(&mut out, *args, timeout).await?;
            return out.flush();
        }
        let socket = match args.socket {
            Some(socket) => socket,
            None => client::discover(std::path::Path::new(client::RUN_DIR))?,
        };
        let mut client = Client::connect(&socket, timeout).await?;
        perform(args.command, &mut client, &mut out).await?;
        out.flush()
    })
}

/// How long an answer may take: somewhat longer than the node gives itself. A reload reads files of millions
/// of lines.
fn answer_timeout(command: &Command) -> Duration {
    match command {
        Command::Node(NodeCommand::Reload) => Duration::from_secs(610),
        _ => Duration::from_secs(40),
    }
}

async fn perform(command: Command, client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    match command {
        Command::Mapping(MappingCommand::Add { sir, locators, blackhole }) => {
            mapping::add(client, out, sir, locators, blackhole).await
        }
        Command::Mapping(MappingCommand::Del { sir }) => mapping::del(client, out, sir).await,
        Command::Mapping(MappingCommand::Get { sir }) => mapping::get(client, out, sir).await,
        Command::Mapping(MappingCommand::List { domain, locator, origin, limit }) => {
            mapping::list(client, out, domain, locator, origin, limit).await
        }
        Command::Mapping(MappingCommand::Confirm { deletions }) => {
            mapping::confirm(client, out, deletions).await
        }
        Command::Mapping(MappingCommand::Load { file }) => load::load(client, out, &file).await,
        Command::Node(NodeCommand::Show) => show::node(client, out).await,
        Command::Node(NodeCommand::Reload) => show::reload(client, out).await,
        Command::Port(PortCommand::List { xstats }) => show::ports(client, out, xstats).await,
        Command::Neigh(_) => show::neighbours(client, out).await,
        Command::Route(_) => show::routes(client, out).await,
        Command::Vn(NetworkCommand::List) => network::list(client, out).await,
        Command::Vn(NetworkCommand::Get { network }) => network::get(client, out, network).await,
        Command::Attachment(AttachmentCommand::List { network }) => {
            network::attachments(client, out, network).await
        }
        Command::Attachment(AttachmentCommand::Get { name }) => network::attachment(client, out, &name).await,
        Command::Group(_) => network::groups(client, out).await,
        Command::Policy(PolicyCommand::List) => policy::list(client, out).await,
        Command::Policy(PolicyCommand::Add { policy, via }) => policy::add(client, out, policy, via).await,
        Command::Policy(PolicyCommand::Del(ends)) => policy::del(client, out, ends).await,
        Command::Peer(PeerCommand::List { network }) => policy::peers(client, out, network).await,
        Command::Peer(PeerCommand::Add { network, address, to, of }) => {
            policy::add_peer(client, out, v1::PeerAddRequest { network, address, to, of }).await
        }
        Command::Peer(PeerCommand::Del { network, address }) => {
            policy::del_peer(client, out, v1::PeerDeleteRequest { network, address }).await
        }
        Command::Drops { all } => show::drops(client, out, all).await,
        Command::Events { follow, since } => events::events(client, out, follow, since).await,
        Command::Stats { watch } => rates::stats(client, out, watch).await,
        Command::Id(IdCommand::Make { domain, count }) => id::make(client, out, domain, count).await,
        // Done before, without a node.
        Command::Id(IdCommand::New(_))
        | Command::Nva(_)
        | Command::Vm(_)
        | Command::Pki(_)
        | Command::Completions { .. } => Ok(()),
    }
}
