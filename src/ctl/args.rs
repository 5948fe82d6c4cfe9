//! The command line.

mod authority;
mod ends;
mod groups;
mod vm;

pub(super) use authority::{
    AuthorityArgs, NvaArgs, NvaCommand, WantedAttachment, WantedAttachmentCommand, WantedNetworkCommand,
    WantedPolicyCommand,
};
pub(super) use ends::PolicyArgs;
pub(super) use groups::{GroupCommand, GroupKind, GroupMember};
pub(super) use vm::{InFlight, Mode, MoveArgs, VmArgs, VmCommand, WhichMove};

use crate::ila::SirPrefix;
use crate::ila::generate::{Eui64, Registrar};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// Shows and changes a running ilagate node.
#[derive(Debug, Parser)]
#[command(name = "ilactl", version, arg_required_else_help = true)]
pub struct Args {
    /// The node's socket [default: the only *.sock in /run/ilagate]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Write JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Longest wait until the node begins to answer [default: 40, for a reload 610]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<f64>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mappings of identifiers to locators
    #[command(subcommand)]
    Mapping(MappingCommand),
    /// The node itself
    #[command(subcommand)]
    Node(NodeCommand),
    /// Ports
    #[command(subcommand)]
    Port(PortCommand),
    /// Neighbours
    #[command(subcommand, visible_alias = "neighbour")]
    Neigh(ListCommand),
    /// Routes
    #[command(subcommand)]
    Route(ListCommand),
    /// Virtual networks
    #[command(subcommand)]
    Vn(NetworkCommand),
    /// Tasks and tenants on access ports
    #[command(subcommand)]
    Attachment(AttachmentCommand),
    /// Members of groups here, and where copies go
    #[command(subcommand)]
    Group(ListCommand),
    /// Who may send to whom across the edges of virtual networks
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// IPv4 addresses of virtual networks that stand for tasks and for tenants of others
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Packets lost, by reason
    Drops {
        /// Also reasons that never occurred
        #[arg(long)]
        all: bool,
    },
    /// What happened to tenants: addresses learnt, conflicts, spoofing, quarantine
    Events {
        /// Go on with what comes
        #[arg(long)]
        follow: bool,
        /// Only events behind the one with this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        since: u64,
    },
    /// Totals of workers and ports, or their rates
    Stats {
        /// Rates a second, at every interval
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
        watch: Option<f64>,
    },
    /// Identifiers; needs no node
    #[command(subcommand)]
    Id(IdCommand),
    /// The authority: its registry, and the NVEs that know it
    Nva(Box<NvaArgs>),
    /// VMs and tasks at NVEs, and their moves from one to another
    Vm(Box<VmArgs>),
    /// Certificates for a lab; needs no node
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Completions for a shell, on standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Mappings of identifiers to locators.
#[derive(Debug, Subcommand)]
pub enum MappingCommand {
    /// Create or replace a mapping
    Add {
        /// SIR address
        sir: String,
        /// A /64 prefix where the identifier is; lower priorities first, weights share the flows
        #[arg(
            long = "locator",
            value_name = "LOCATOR[,priority=P][,weight=W]",
            required_unless_present = "blackhole"
        )]
        locators: Vec<LocatorArg>,
        /// Drop packets to it
        #[arg(long, conflicts_with = "locators")]
        blackhole: bool,
    },
    /// Delete a mapping
    #[command(visible_alias = "delete")]
    Del {
        /// SIR address
        sir: String,
    },
    /// Show one mapping
    Get {
        /// SIR address
        sir: String,
    },
    /// List mappings by SIR address
    List {
        /// Only this SIR domain
        #[arg(long)]
        domain: Option<String>,
        /// Only mappings with this locator, a /64 prefix
        #[arg(long)]
        locator: Option<String>,
        /// Only this origin: attachment, file, cache, nva or admin
        #[arg(long)]
        origin: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Apply a mapping file that waits because it deletes much
    Confirm {
        /// How many mappings it deletes, as `ilactl node show` says
        deletions: u64,
    },
    /// Create or replace the mappings of a file in the format of mapping files
    Load {
        /// YAML
        file: PathBuf,
    },
}

/// The node itself.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show the node, its tables and workers
    Show,
    /// Read the configuration again and apply what differs
    Reload,
}

/// Ports.
#[derive(Debug, Subcommand)]
pub enum PortCommand {
    /// List ports
    List {
        /// With the devices' own statistics
        #[arg(long)]
        xstats: bool,
    },
}

/// What can only be listed.
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// List them
    List,
}

/// Virtual networks.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// List virtual networks
    List,
    /// Show one virtual network with its policies and peers
    Get {
        /// Name or VNID
        network: String,
    },
}

/// Tasks and tenants.
#[derive(Debug, Subcommand)]
pub enum AttachmentCommand {
    /// List attachments
    List {
        /// Only the tenants of this virtual network
        #[arg(long)]
        network: Option<String>,
    },
    /// Show one attachment
    Get {
        /// Name, or place in the configuration
        name: String,
    },
}

/// Policies. What is added here counts until the node restarts; write it into the configuration to keep it.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List policies
    List,
    /// Let one send to the other, until the node restarts
    Add {
        #[command(flatten)]
        policy: PolicyArgs,
        /// Between two networks: locator of the gateway that the packets go through
        #[arg(long, value_name = "LOCATOR")]
        via: Option<String>,
    },
    /// Delete a policy that was added here
    #[command(visible_alias = "delete")]
    Del(PolicyArgs),
}

/// Mapped peers. What is added here counts until the node restarts; write it into the configuration to keep
/// it.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// List mapped peers
    List {
        /// Only those of this virtual network
        #[arg(long)]
        network: Option<String>,
    },
    /// Give somebody an IPv4 address in a virtual network, until the node restarts
    Add {
        /// The virtual network
        network: String,
        /// The IPv4 address there
        address: String,
        /// Whom it stands for: a task's SIR address, or with --of a tenant's address
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// The tenant's virtual network
        #[arg(long, value_name = "NETWORK")]
        of: Option<String>,
    },
    /// Delete a mapped peer that was added here
    #[command(visible_alias = "delete")]
    Del {
        /// The virtual network
        network: String,
        /// The IPv4 address there
        address: String,
    },
}

/// Identifiers.
#[derive(Debug, Subcommand)]
pub enum IdCommand {
    /// Make identifiers for tasks
    New(NewArgs),
    /// Have a node make identifiers for tasks, as SIR addresses, from the block that its authority leases to it
    Make {
        /// Name of the SIR domain
        #[arg(long, value_name = "DOMAIN")]
        domain: String,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        count: u32,
    },
}

/// Certificates for a lab: its certificate authority keeps its key in a file, and keys are made where they are not used.
/// Production has a certificate authority of its own that issues certificates of a few days with the URI of the
/// identity, to keys that never leave their machines.
#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make the certificate authority of a domain: ca.pem and ca.key
    Init {
        /// Directory, made if it is missing
        #[arg(long, value_name = "DIRECTORY", default_value = ".")]
        dir: PathBuf,
        /// Name of the deployment
        #[arg(long, value_name = "DOMAIN")]
        domain: String,
        /// How long it is valid
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = days())]
        days: u32,
    },
    /// Issue a certificate and its key: ROLE-NAME.pem and ROLE-NAME.key
    Issue {
        /// ilagate://DOMAIN/ROLE/NAME; ROLE is nve, nva or operator
        identity: String,
        /// Directory of the certificate authority
        #[arg(long, value_name = "DIRECTORY", default_value = ".")]
        dir: PathBuf,
        /// How long it is valid
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = days())]
        days: u32,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// Which identifiers to make.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// How they are made
    #[arg(long, value_enum, default_value_t = Method::Hash)]
    pub method: Method,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Write them as addresses under this SIR prefix, a /64 prefix
    #[arg(long, value_name = "PREFIX")]
    pub sir: Option<SirPrefix>,
    /// Tell the odds of a collision when so many are in use, the new ones among them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub population: Option<u64>,
    /// Method hash: the EUI-64 or MAC address of the machine [default: of its first Ethernet interface]
    #[arg(long, value_name = "EUI64")]
    pub eui64: Option<Eui64>,
    /// Method block: the registrar block, 24 bits, that nobody else uses and that one ilactl at a time uses
    #[arg(long, value_name = "BLOCK", required_if_eq("method", "block"))]
    pub block: Option<Registrar>,
}

/// How identifiers are made (ILA draft, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Hash of the time and the machine's EUI-64: for up to some millions of them (appendix A.1)
    Hash,
    /// Registrar block and time stamp: never twice, 100 a second for 21.8 years (appendix A.2)
    Block,
}

impl Method {
    /// The name on the command line and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::Hash => "hash",
            Method::Block => "block",
        }
    }
}

/// `LOCATOR[,priority=P][,weight=W]`; the node judges the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatorArg {
    /// The locator as written.
    pub locator: String,
    /// Priority, 0 if not given.
    pub priority: u32,
    /// Weight, if given.
    pub weight: Option<u32>,
}

impl FromStr for LocatorArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let locator = parts.next().unwrap_or_default().to_owned();
        let mut arg = LocatorArg { locator, priority: 0, weight: None };
        for part in parts {
            let number = |value: &str| {
                value
                    .parse()
                    .map_err(|_| format!("`{value}` in `{part}` is not a number; write for example 10"))
            };
            match part.split_once('=') {
                Some(("priority", value)) => arg.priority = number(value)?,
                Some(("weight", value)) => arg.weight = Some(number(value)?),
                _ => return Err(format!("`{part}` is not known; write priority=P or weight=W")),
            }
        }
        Ok(arg)
    }
}

/// An interval in seconds that the node accepts.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("`{text}` is not a number of seconds from 0.1 to 3600; choose one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn locators_with_priority_and_weight() {
        let arg: LocatorArg = "fd00:1::/64,weight=3,priority=10".parse().unwrap();
        assert_eq!((arg.locator.as_str(), arg.priority, arg.weight), ("fd00:1::/64", 10, Some(3)));
        for wrong in ["fd00::/64,", "fd00::/64,w=1", "fd00::/64,weight=", "fd00::/64,priority=-1"] {
            assert!(wrong.parse::<LocatorArg>().unwrap_err().contains("write"), "{wrong}");
        }
    }

    #[test]
    fn watch_takes_seconds_or_one() {
        let watch = |args: &[&str]| match Args::try_parse_from(args).unwrap().command {
            Command::Stats { watch } => watch,
            _ => None,
        };
        assert_eq!(watch(&["ilactl", "stats"]), None);
        assert_eq!(watch(&["ilactl", "stats", "--watch"]), Some(1.0));
        assert_eq!(watch(&["ilactl", "stats", "--watch", "0.5"]), Some(0.5));
        assert!(Args::try_parse_from(["ilactl", "stats", "--watch", "0"]).is_err());
    }
}
