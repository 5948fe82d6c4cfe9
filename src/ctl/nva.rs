//! `ilactl nva`: asks an authority.

pub(super) mod allocations;
mod events;
mod groups;
mod locator;
mod networks;
pub(super) mod wanted;

use super::args::{NvaArgs, NvaCommand};
use super::authority::{self, Client};
use super::client::ask;
use super::error::CtlError;
use super::output::{List, Output, Table, duration};
use crate::api::manage as v1;
use locator::{LocatorView, locator};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct StatusView {
    name: String,
    version: String,
    uptime_s: u64,
    epoch: String,
    revision: u64,
    identifiers: u64,
    released: u64,
    nves: u64,
    sessions: u64,
    restored: bool,
    waits_for: Vec<String>,
}

#[derive(Serialize)]
struct NveView {
    name: String,
    session: bool,
    authority: String,
    applied: u64,
    identifiers: u64,
    max_identifiers: u64,
    locators: Vec<String>,
    unknown: bool,
    provisioned: Option<u64>,
    refused: Vec<wanted::RefusalView>,
    refusals: u64,
    away_s: Option<u64>,
}

#[derive(Serialize)]
struct RecordView {
    sir: String,
    owner: String,
    sequence: u64,
    locators: Vec<LocatorView>,
    frozen: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
}

#[derive(Serialize)]
struct ReleasedView {
    sir: String,
    sequence: u64,
    revision: u64,
}

#[derive(Serialize)]
struct UnfrozenView {
    sir: String,
}

#[derive(Serialize)]
struct NveReleasedView {
    nve: String,
    released: u64,
    revision: u64,
}

#[derive(Serialize)]
struct ResumedView {
    revision: u64,
}

#[derive(Serialize)]
struct ReloadedView {
    applied: Vec<String>,
}

#[derive(Serialize)]
struct BackupView {
    path: String,
    revision: u64,
    identifiers: u64,
    released: u64,
}

pub(super) async fn run(out: &mut Output<'_>, args: NvaArgs, timeout: Duration) -> Result<(), CtlError> {
    let at = args.at;
    let asked = async {
        let client = authority::open(&at, timeout).await?;
        ask_and_show(out, client, args.command, timeout).await
    };
    asked.await.map_err(|why| authority::named(&at, why))
}

async fn ask_and_show(
    out: &mut Output<'_>,
    mut client: Client,
    command: NvaCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    match command {
        NvaCommand::Status => {
            let status = client.status_get(ask(v1::StatusGetRequest {}, timeout)).await?.into_inner();
            show_status(out, status)
        }
        NvaCommand::Nves => {
            let list = client.nve_list(ask(v1::NveListRequest {}, timeout)).await?.into_inner();
            show_nves(out, list.nves)
        }
        NvaCommand::Networks { nve, network } => {
            let request = v1::AttachedNetworkListRequest {
                nve: nve.unwrap_or_default(),
                network: network.unwrap_or_default(),
            };
            networks::list(&mut client, out, request).await
        }
        NvaCommand::Records { nve, locator, sir, mac, limit } => {
            let request = v1::RecordListRequest {
                nve: nve.unwrap_or_default(),
                locator: locator.unwrap_or_default(),
                sir: sir.unwrap_or_default(),
                mac: mac.unwrap_or_default(),
                limit: limit.unwrap_or(0),
            };
            let mut pages = client.record_list(request).await?.into_inner();
            let mut list = List::new(&["SIR", "OWNER", ">SEQUENCE", "MAC", "LOCATORS"]);
            while let Some(page) = pages.message().await? {
                list.page(out, page.records.into_iter().map(|record| Ok(view(record))), row)?;
            }
            list.end(out)
        }
        NvaCommand::Release { nve: Some(nve), .. } => {
            // It may take many transactions.
            let request = v1::NveReleaseRequest { nve: nve.clone() };
            let v1::NveReleased { released, revision } = client.nve_release(request).await?.into_inner();
            if out.json() {
                return out.value(&NveReleasedView { nve, released, revision });
            }
            out.line(&format!("{nve}: {released} identifiers released, revision {revision}"))
        }
        NvaCommand::Unfreeze { sir } => {
            let request = ask(v1::RecordUnfreezeRequest { sir: sir.clone() }, timeout);
            let v1::RecordUnfrozen {} = client.record_unfreeze(request).await?.into_inner();
            if out.json() {
                return out.value(&UnfrozenView { sir });
            }
            out.line(&format!("{sir}: whoever has it may register it"))
        }
        NvaCommand::Resume => {
            let v1::Resumed { revision } =
                client.resume(ask(v1::ResumeRequest {}, timeout)).await?.into_inner();
            if out.json() {
                return out.value(&ResumedView { revision });
            }
            out.line(&format!("new identifiers are registered, revision {revision}"))
        }
        NvaCommand::Reload => {
            let v1::Reloaded { applied } =
                client.reload(ask(v1::ReloadRequest {}, timeout)).await?.into_inner();
            if out.json() {
                return out.value(&ReloadedView { applied });
            }
            if applied.is_empty() {
                return out.line("nothing differs");
            }
            applied.iter().try_for_each(|key| out.line(&format!("applied {key}")))
        }
        NvaCommand::Release { sir, .. } => {
            let sir = sir.unwrap_or_default();
            let request = ask(v1::RecordReleaseRequest { sir: sir.clone() }, timeout);
            let v1::RecordReleased { sequence, revision } =
                client.record_release(request).await?.into_inner();
            if out.json() {
                return out.value(&ReleasedView { sir, sequence, revision });
            }
            out.line(&format!("{sir}: released, sequence {sequence}, revision {revision}"))
        }
        NvaCommand::Network(command) => wanted::network(&mut client, out, command, timeout).await,
        NvaCommand::Attachment(command) => wanted::attachment(&mut client, out, command, timeout).await,
        NvaCommand::Policy(command) => wanted::policy(&mut client, out, command, timeout).await,
        NvaCommand::Watch { nve, vn, since } => {
            let request = v1::WatchRequest {
                nve: nve.unwrap_or_default(),
                network: vn.unwrap_or_default(),
                after: since,
            };
            events::watch(&mut client, out, request).await
        }
        NvaCommand::Group(command) => groups::run(&mut client, out, command, timeout).await,
        NvaCommand::Blocks { nve } => allocations::blocks(&mut client, out, nve).await,
        NvaCommand::Locator(command) => allocations::locators(&mut client, out, command, timeout).await,
        NvaCommand::Backup { name } => {
            let backup = client.backup(ask(v1::BackupRequest { name }, timeout)).await?.into_inner();
            let v1::BackupResponse { path, revision, identifiers, released } = backup;
            if out.json() {
                return out.value(&BackupView { path, revision, identifiers, released });
            }
            out.line(&format!("{path}: revision {revision}, {identifiers} identifiers, {released} released"))
        }
    }
}

fn show_status(out: &mut Output<'_>, status: v1::Status) -> Result<(), CtlError> {
    let v1::Status {
        name,
        version,
        uptime_s,
        epoch,
        revision,
        identifiers,
        released,
        nves,
        sessions,
        restored,
        waits_for,
    } = status;
    let view = StatusView {
        name,
        version,
        uptime_s,
        epoch,
        revision,
        identifiers,
        released,
        nves,
        sessions,
        restored,
        waits_for,
    };
    if out.json() {
        return out.value(&view);
    }
    out.line(&format!("authority    {} (ila-nva {})", view.name, view.version))?;
    out.line(&format!("up           {}", duration(view.uptime_s)))?;
    out.line(&format!("epoch        {}", view.epoch))?;
    out.line(&format!("revision     {}", view.revision))?;
    out.line(&format!("identifiers  {} ({} released)", view.identifiers, view.released))?;
    out.line(&format!("sessions     {} of {} NVEs", view.sessions, view.nves))?;
    if view.restored {
        out.line(&format!("restored     waits for {}", view.waits_for.join(", ")))?;
    }
    Ok(())
}

fn show_nves(out: &mut Output<'_>, nves: Vec<v1::Nve>) -> Result<(), CtlError> {
    let view = |nve: v1::Nve| {
        let v1::Nve { name, session, authority, applied, .. } = nve;
        let (identifiers, max_identifiers, locators) = (nve.identifiers, nve.max_identifiers, nve.locators);
        let (provisioned, unknown) = (nve.provisioned, nve.unknown);
        let refused = nve.refused.into_iter().map(wanted::refusal).collect();
        let (refusals, away_s) = (nve.refusals, nve.away_s);
        NveView {
            name,
            session,
            authority,
            applied,
            identifiers,
            max_identifiers,
            locators,
            unknown,
            provisioned,
            refused,
            refusals,
            away_s,
        }
    };
    let views: Vec<NveView> = nves.into_iter().map(view).collect();
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&[
        "NVE",
        "SESSION AT",
        ">APPLIED",
        ">PROVISIONED",
        ">REFUSED",
        ">IDENTIFIERS",
        ">MOST",
        "LOCATORS",
    ]);
    for view in views {
        table.row(vec![
            view.name,
            match (view.authority.is_empty(), view.unknown) {
                (false, _) => view.authority,
                (true, false) => {
                    view.away_s.map_or_else(|| "none".to_owned(), |s| format!("none, {}", duration(s)))
                }
                (true, true) => "unknown".to_owned(),
            },
            if view.session { view.applied.to_string() } else { "-".to_owned() },
            view.provisioned.map_or_else(|| "-".to_owned(), |revision| revision.to_string()),
            view.refusals.to_string(),
            view.identifiers.to_string(),
            view.max_identifiers.to_string(),
            view.locators.join(" "),
        ]);
    }
    table.write(out)
}

fn view(record: v1::Record) -> RecordView {
    let v1::Record { sir, owner, sequence, locators, frozen, mac } = record;
    RecordView { sir, owner, sequence, locators: locators.into_iter().map(locator).collect(), frozen, mac }
}

fn row(view: RecordView) -> Vec<String> {
    let plain = view.locators.iter().all(|at| at.priority == 0 && at.weight == 1);
    let text = |at: &LocatorView| match plain {
        true => at.locator.clone(),
        false => format!("{},priority={},weight={}", at.locator, at.priority, at.weight),
    };
    let locators: Vec<String> = view.locators.iter().map(text).collect();
    let mut locators = if locators.is_empty() { "released".to_owned() } else { locators.join(" ") };
    if view.frozen {
        locators.push_str(" (frozen)");
    }
    let mac = if view.mac.is_empty() { "-".to_owned() } else { view.mac };
    vec![view.sir, view.owner, view.sequence.to_string(), mac, locators]
}
