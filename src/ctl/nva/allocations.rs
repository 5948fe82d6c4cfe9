//! `ilactl nva blocks` and `ilactl nva locator`.

use crate::api::manage::manage_client::ManageClient;
use crate::api::manage::{self as v1, Resource};
use crate::ctl::client::ask;
use crate::ctl::error::CtlError;
use crate::ctl::output::{List, Output, duration};
use clap::Subcommand;
use serde::Serialize;
use std::time::Duration;
use tonic::transport::Channel;

/// Locators that the authority allocates.
#[derive(Debug, Subcommand)]
pub enum AllocatedLocatorCommand {
    /// List them
    List {
        /// Only those of this NVE
        #[arg(long, value_name = "NVE")]
        nve: Option<String>,
    },
    /// Allocate the next free one of a SIR domain to an NVE
    Add {
        /// The NVE
        nve: String,
        /// Name of the SIR domain at the authority
        #[arg(long, value_name = "DOMAIN")]
        domain: String,
    },
    /// Take one back at which nothing is registered
    #[command(visible_alias = "delete")]
    Del {
        /// The locator, a /64 prefix
        locator: String,
    },
}

#[derive(Serialize)]
struct BlockView {
    prefix: String,
    block: u32,
    owner: String,
    sequence: u64,
    reached: Option<String>,
    returned: bool,
    kept_s: u64,
}

#[derive(Serialize)]
struct LocatorView {
    prefix: String,
    sir_prefix: String,
    owner: String,
    sequence: u64,
    configured: bool,
}

#[derive(Serialize)]
struct AllocatedView {
    prefix: String,
    nve: String,
    sequence: u64,
    revision: u64,
}

#[derive(Serialize)]
struct FreedView {
    prefix: String,
    revision: u64,
}

/// Blocks of identifiers.
pub(super) async fn blocks(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    nve: Option<String>,
) -> Result<(), CtlError> {
    let nve = nve.unwrap_or_default();
    let request = v1::AllocationListRequest { nve, resource: Resource::Block.into() };
    let mut pages = client.allocation_list(request).await?.into_inner();
    let mut list = List::new(&["BLOCK", "NVE", ">SEQUENCE", "REACHED", "KEPT FOR"]);
    while let Some(page) = pages.message().await? {
        let views = page.allocations.into_iter().map(|it| {
            let v1::Allocation { prefix, owner, sequence, block, reached, returned, kept_s, .. } = it;
            let reached = (!reached.is_empty()).then_some(reached);
            Ok(BlockView { prefix, block, owner, sequence, reached, returned, kept_s })
        });
        let row = |view: BlockView| {
            let kept = duration(view.kept_s);
            vec![
                view.prefix,
                view.owner,
                view.sequence.to_string(),
                view.reached.unwrap_or_else(|| "-".to_owned()),
                if view.returned { format!("{kept} (returned)") } else { kept },
            ]
        };
        list.page(out, views, row)?;
    }
    list.end(out)
}

/// Locators.
pub(super) async fn locators(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    command: AllocatedLocatorCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    match command {
        AllocatedLocatorCommand::List { nve } => list(client, out, nve).await,
        AllocatedLocatorCommand::Add { nve, domain } => {
            let request = ask(v1::LocatorAllocateRequest { nve: nve.clone(), domain }, timeout);
            let v1::LocatorAllocated { prefix, sequence, revision } =
                client.locator_allocate(request).await?.into_inner();
            if out.json() {
                return out.value(&AllocatedView { prefix, nve, sequence, revision });
            }
            out.line(&format!("{prefix}: allocated to {nve}, revision {revision}"))
        }
        AllocatedLocatorCommand::Del { locator } => {
            let request = ask(v1::LocatorFreeRequest { prefix: locator.clone() }, timeout);
            let v1::LocatorFreed { revision } = client.locator_free(request).await?.into_inner();
            if out.json() {
                return out.value(&FreedView { prefix: locator, revision });
            }
            out.line(&format!("{locator}: free, revision {revision}"))
        }
    }
}

async fn list(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    nve: Option<String>,
) -> Result<(), CtlError> {
    let nve = nve.unwrap_or_default();
    let request = v1::AllocationListRequest { nve, resource: Resource::Locator.into() };
    let mut pages = client.allocation_list(request).await?.into_inner();
    let mut list = List::new(&["LOCATOR", "SIR PREFIX", "NVE", ">SEQUENCE"]);
    while let Some(page) = pages.message().await? {
        let views = page.allocations.into_iter().map(|it| {
            let v1::Allocation { prefix, sir_prefix, owner, sequence, configured, .. } = it;
            Ok(LocatorView { prefix, sir_prefix, owner, sequence, configured })
        });
        let row = |view: LocatorView| {
            let owner = match view.configured {
                true => format!("{} (but it stands in nves, which counts)", view.owner),
                false => view.owner,
            };
            vec![view.prefix, view.sir_prefix, owner, view.sequence.to_string()]
        };
        list.page(out, views, row)?;
    }
    list.end(out)
}
