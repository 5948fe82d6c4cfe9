//! What to ask an authority.

use super::ends::PolicyArgs;
use super::groups::GroupCommand;
use crate::config::NvaEndpoint;
use crate::ctl::nva::allocations::AllocatedLocatorCommand;
use clap::Subcommand;
use std::path::PathBuf;

/// How to reach an authority.
#[derive(Debug, clap::Args)]
pub struct AuthorityArgs {
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
}

/// How to reach an authority, and what to do there.
#[derive(Debug, clap::Args)]
pub struct NvaArgs {
    /// Where it is.
    #[command(flatten)]
    pub at: AuthorityArgs,
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
    /// Groups of NVEs at which an attachment stands for hot failover
    #[command(subcommand)]
    Group(GroupCommand),
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
    /// An address there; auto: the authority chooses one of each family, and on-rarp: it does so when the tenant asks
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
        /// Between two networks: locator of the gateway that the packets go through; auto: the authority chooses one
        #[arg(long, value_name = "LOCATOR")]
        via: Option<String>,
    },
    /// Delete one
    #[command(visible_alias = "delete")]
    Del(PolicyArgs),
}
