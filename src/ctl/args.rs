//! The command line.

use super::nva::allocations::AllocatedLocatorCommand;
use crate::config::NvaEndpoint;
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

/// The two ends of a policy, one of them a virtual network.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Who sends: a virtual network, a task's SIR address, a SIR prefix for all its tasks, or outside
    pub from: String,
    /// Who receives
    pub to: String,
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

/// How to reach an authority, and what to do there.
#[derive(Debug, clap::Args)]
pub struct NvaArgs {
    /// Where it is: unix:PATH or https://ADDRESS:PORT
    #[arg(
        long,
        global = true,
        env = "ILACTL_NVA",
        value_name = "URL",
        default_value = "unix:/run/ilagate/nva.sock"
    )]
    pub nva: NvaEndpoint,
    /// With https: the certificate of an operator
    #[arg(long, global = true, env = "ILACTL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// With https: its key
    #[arg(long, global = true, env = "ILACTL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// With https: the certificate authorities that are believed
    #[arg(long, global = true, env = "ILACTL_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: NvaCommand,
}

/// What to ask an authority.
#[derive(Debug, Subcommand)]
pub enum NvaCommand {
    /// The authority and its registry
    Status,
    /// NVEs that may open a session
    Nves,
    /// What is registered
    Records {
        /// Only what this NVE registered last
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
        /// Only what is at this locator
        #[arg(long, value_name = "PREFIX")]
        locator: Option<String>,
        /// Only this SIR address
        #[arg(long, value_name = "SIR")]
        sir: Option<String>,
        /// Only those of this MAC address
        #[arg(long, value_name = "MAC")]
        mac: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Virtual networks as NVEs have them: names, gateways and subnets
    Networks {
        /// Only those of this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
        /// Only this network, by the name that operators gave it or its VNID
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
    },
    /// Release an identifier of an NVE that has no session and will not come back, or all of an NVE that was taken out
    /// of the configuration
    Release {
        /// SIR address
        #[arg(required_unless_present = "nve", conflicts_with = "nve")]
        sir: Option<String>,
        /// All of this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
    },
    /// Let an identifier go that went to and fro between NVEs and was frozen at one
    Unfreeze {
        /// SIR address
        sir: String,
    },
    /// Register new identifiers at once although the registry was just restored
    Resume,
    /// Read the configuration again
    Reload,
    /// What happens, as it happens, until it is interrupted
    Watch {
        /// Only what concerns this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
        /// Only what concerns this virtual network, by its name or VNID
        #[arg(long, value_name = "NETWORK")]
        vn: Option<String>,
        /// Begin with what came after the event of this number, as far as the authority keeps it; 0: all that it keeps
        #[arg(long, value_name = "N")]
        since: Option<u64>,
    },
    /// Virtual networks that operators want at NVEs
    #[command(subcommand)]
    Network(WantedNetworkCommand),
    /// Attachments that operators want at NVEs
    #[command(subcommand)]
    Attachment(WantedAttachmentCommand),
    /// Policies between networks that operators want at NVEs
    #[command(subcommand)]
    Policy(WantedPolicyCommand),
    /// Blocks from which NVEs make identifiers of tasks
    Blocks {
        /// Only those of this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
    },
    /// Locators that the authority allocates to NVEs, out of locator_pools
    #[command(subcommand)]
    Locator(AllocatedLocatorCommand),
    /// Write the registry of this moment into a new file beside the store
    Backup {
        /// Name of the file, without a directory
        name: String,
    },
}

/// Virtual networks that operators want at NVEs.
#[derive(Debug, Subcommand)]
pub enum WantedNetworkCommand {
    /// List them
    List,
    /// Show one as it was written, and which NVEs refuse it
    Show {
        /// Name
        network: String,
    },
    /// Make one
    Add {
        /// YAML in the form of an entry of virtual_networks; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Replace one
    Set {
        /// YAML in the form of an entry of virtual_networks; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only if it has this sequence, which list and show tell
        #[arg(long, value_name = "N")]
        sequence: Option<u64>,
    },
    /// Delete one that has no attachments, policies and peers any more
    #[command(visible_alias = "delete")]
    Del {
        /// Name
        network: String,
        /// Only if it has this sequence
        #[arg(long, value_name = "N")]
        sequence: Option<u64>,
    },
}

/// Attachments that operators want at NVEs.
#[derive(Debug, Subcommand)]
pub enum WantedAttachmentCommand {
    /// List them
    List {
        /// Only those at this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
        /// Only those of this network
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
    },
    /// Show one as it was written, and whether its NVE refuses it
    Show {
        /// The NVE
        nve: String,
        /// Name
        name: String,
    },
    /// Make one
    Add(WantedAttachment),
    /// Replace one
    Set {
        #[command(flatten)]
        attachment: WantedAttachment,
        /// Only if it has this sequence, which list and show tell
        #[arg(long, value_name = "N")]
        sequence: Option<u64>,
    },
    /// Delete one
    #[command(visible_alias = "delete")]
    Del {
        /// The NVE
        nve: String,
        /// Name
        name: String,
        /// Only if it has this sequence
        #[arg(long, value_name = "N")]
        sequence: Option<u64>,
    },
}

/// An attachment in a file, or a tenant in words.
#[derive(Debug, clap::Args)]
pub struct WantedAttachment {
    /// The NVE
    pub nve: String,
    /// Name of a tenant in words
    #[arg(required_unless_present = "file", requires_all = ["port", "mac", "network", "addresses"])]
    pub name: Option<String>,
    /// YAML in the form of an entry of attachments; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "port", "vlan", "mac", "network", "addresses"])]
    pub file: Option<PathBuf>,
    /// Its port, as the file of the NVE names it
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// Its VLAN tag
    #[arg(long, value_name = "VLAN")]
    pub vlan: Option<u16>,
    /// Its MAC address
    #[arg(long, value_name = "MAC")]
    pub mac: Option<String>,
    /// Its virtual network
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// An address there; auto: the authority chooses one of each family
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// Policies between networks that operators want at NVEs.
#[derive(Debug, Subcommand)]
pub enum WantedPolicyCommand {
    /// List them
    List {
        /// Only those of this network
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
    },
    /// Let one send to the other
    Add {
        #[command(flatten)]
        policy: PolicyArgs,
        /// Between two networks: locator of the gateway that the packets go through
        #[arg(long, value_name = "LOCATOR")]
        via: Option<String>,
    },
    /// Delete one
    #[command(visible_alias = "delete")]
    Del(PolicyArgs),
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
