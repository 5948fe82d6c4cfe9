//! What to do with VMs and tasks.

use super::authority::{AuthorityArgs, WantedAttachment};
use clap::{Subcommand, ValueEnum};

/// How to reach an authority, and what to do there with VMs and tasks.
#[derive(Debug, clap::Args)]
pub struct VmArgs {
    /// Where it is.
    #[command(flatten)]
    pub at: AuthorityArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: VmCommand,
}

/// VMs and tasks, by the names of their attachments.
#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// List them, with their moves
    List {
        /// Only those at this NVE, or on their way to it
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
        /// Only those of this virtual network
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
        /// Only those that move
        #[arg(long)]
        moves: bool,
    },
    /// Show where one is, and its moves with what happened when, also the last ones that are over
    Show {
        /// Name of the attachment
        name: String,
    },
    /// Make one at an NVE, as `ilactl nva attachment add`
    Attach(WantedAttachment),
    /// Take one out of an NVE that does not move
    Detach {
        /// The NVE
        nve: String,
        /// Name
        name: String,
    },
    /// Begin to move one to another NVE, and wait until both NVEs are ready
    Move(MoveArgs),
    /// Say that one that moves left its NVE; the NVE sees that by itself, but for one that is silent
    Detached(WhichMove),
    /// Say that one that moves runs at its new NVE; the NVE sees that by itself, but for one that is silent
    Arrived(WhichMove),
    /// Leave one at its NVE that moves and did not arrive
    Abort(WhichMove),
    /// Say that a prepared move will still come; of a warm one, that its state was copied just now
    Renew(WhichMove),
}

/// What is to move, and how.
#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    /// Name of the attachment, the same at both NVEs
    pub name: String,
    /// The NVE that it is at
    #[arg(long, value_name = "NVE")]
    pub from: String,
    /// The NVE that it moves to
    #[arg(long, value_name = "NVE")]
    pub to: String,
    /// Its port there, as the file of that NVE names it
    #[arg(long, value_name = "PORT")]
    pub port: String,
    /// Its VLAN tag there
    #[arg(long, value_name = "VLAN")]
    pub vlan: Option<u16>,
    /// How it moves
    #[arg(long, value_enum, default_value_t = Mode::Hot)]
    pub mode: Mode,
    /// What becomes of packets that still come to the old NVE [default: auto for hot, drop for warm and cold]
    #[arg(long, value_enum, value_name = "WAY")]
    pub in_flight: Option<InFlight>,
    /// Do not wait until both NVEs are ready
    #[arg(long)]
    pub no_wait: bool,
}

/// Which move is meant.
#[derive(Debug, clap::Args)]
pub struct WhichMove {
    /// Name of the attachment that moves
    #[arg(required_unless_present = "id")]
    pub name: Option<String>,
    /// The NVE that it left, stays at or has come to, if several moves are of this name
    #[arg(long, value_name = "NVE")]
    pub nve: Option<String>,
    /// The move itself, by the number that list and show tell
    #[arg(long, value_name = "N", conflicts_with_all = ["name", "nve"])]
    pub id: Option<u64>,
}

/// How an attachment moves (VMM draft, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Running: what comes for it meanwhile is held
    Hot,
    /// Shut down, with a copy of its state at the new NVE already
    Warm,
    /// Shut down
    Cold,
}

/// What the old NVE does with packets that still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InFlight {
    /// A tunnel if that fits the path, or else the locator of the new NVE
    Auto,
    /// A tunnel
    Tunnel,
    /// The locator of the new NVE in the place of its own
    Retranslate,
    /// They are lost
    Drop,
}
