//! `ilactl vm`: VMs and tasks at NVEs, and their moves from one to another.

use super::args::{InFlight, Mode, MoveArgs, VmArgs, VmCommand, WantedAttachmentCommand, WhichMove};
use super::authority::{self, Client};
use super::client::ask;
use super::error::CtlError;
use super::events::time;
use super::moment::MomentView;
use super::nva::wanted;
use super::output::{Output, Table, or_dash};
use crate::api::manage::{self as v1, MoveInFlight, MoveMode, MoveWord};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Pause before it is asked again whether both NVEs are ready.
const LOOK: Duration = Duration::from_millis(20);
/// Longest time that an old NVE is waited for which is to send on what comes, and the pause between two looks.
const SENDING_ON: Duration = Duration::from_secs(2);
const LOOK_SOON: Duration = Duration::from_millis(2);

#[derive(Serialize)]
struct MoveView {
    id: u64,
    attachment: String,
    from: String,
    to: String,
    mode: String,
    in_flight: String,
    state: String,
    overdue: bool,
    sirs: Vec<String>,
    networks: Vec<String>,
    left_ms: Option<u64>,
    seeded_s: Option<u64>,
    timeline: Vec<MomentView>,
}

#[derive(Serialize)]
struct VmView {
    name: String,
    nve: String,
    /// Its state by RFC 7666, as far as its moves tell.
    state: &'static str,
    port: String,
    vlan: Option<String>,
    mac: String,
    network: Option<String>,
    addresses: Vec<String>,
    /// The last one first.
    moves: Vec<MoveView>,
}

#[derive(Serialize)]
struct SaidView {
    id: u64,
    revision: u64,
}

pub(super) async fn run(out: &mut Output<'_>, args: VmArgs, timeout: Duration) -> Result<(), CtlError> {
    let at = args.at;
    let done = async {
        let mut client = authority::open(&at, timeout).await?;
        perform(out, &mut client, args.command, timeout).await
    };
    done.await.map_err(|why| authority::named(&at, why))
}

async fn perform(
    out: &mut Output<'_>,
    client: &mut Client,
    command: VmCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    let said = |out: &mut Output<'_>, v1::MoveAnswer { id, revision }: v1::MoveAnswer, what: &str| {
        if out.json() {
            out.value(&SaidView { id, revision })
        } else {
            out.line(&format!("move {id}: {what}"))
        }
    };
    let (which, word, what) = match command {
        VmCommand::List { nve, network, moves } => {
            let vms = vms(client, (nve, network, None), timeout).await?;
            return show_list(out, vms.into_iter().filter(|vm| !moves || moving(vm).is_some()).collect());
        }
        VmCommand::Show { name } => {
            let vms = vms(client, (None, None, Some(name.clone())), timeout).await?;
            if vms.is_empty() {
                return Err(CtlError::Values(format!("there is no {name}; `ilactl vm list` shows what is")));
            }
            return show(out, vms);
        }
        VmCommand::Attach(attachment) => {
            return wanted::attachment(client, out, WantedAttachmentCommand::Add(attachment), timeout).await;
        }
        VmCommand::Detach { nve, name } => {
            let command = WantedAttachmentCommand::Del { nve, name, sequence: None };
            return wanted::attachment(client, out, command, timeout).await;
        }
        VmCommand::Move(args) => return begin(out, client, args, timeout).await,
        VmCommand::Detached(which) => (which, MoveWord::Detached, "it left its NVE"),
        VmCommand::Arrived(which) => (which, MoveWord::Arrived, "it is at its new NVE"),
        VmCommand::Abort(which) => (which, MoveWord::Abort, "it stays at its NVE"),
        VmCommand::Renew(which) => (which, MoveWord::Renew, "it waits on"),
    };
    let WhichMove { name, nve, id } = which;
    let (attachment, nve) = (name.unwrap_or_default(), nve.unwrap_or_default());
    let request = v1::MoveSayRequest { word: word.into(), id, attachment, nve };
    let answer = client.move_say(ask(request, timeout)).await?.into_inner();
    if word == MoveWord::Detached {
        await_sending_on(client, answer.id, timeout).await?;
    }
    said(out, answer, what)
}

/// Waits until the old NVE sends on what comes for what has left it: nothing that comes from then on is lost. One that
/// does not say so in time is not waited for.
async fn await_sending_on(client: &mut Client, id: u64, timeout: Duration) -> Result<(), CtlError> {
    let began = Instant::now();
    while began.elapsed() < SENDING_ON.min(timeout) {
        let request = v1::MoveListRequest { id: Some(id), ..Default::default() };
        let list = client.move_list(ask(request, timeout)).await?.into_inner();
        if list.moves.first().is_none_or(|one| one.sends_on || one.state != "detached") {
            break;
        }
        tokio::time::sleep(LOOK_SOON).await;
    }
    Ok(())
}

/// Begins a move, and waits until both NVEs are ready.
async fn begin(
    out: &mut Output<'_>,
    client: &mut Client,
    args: MoveArgs,
    timeout: Duration,
) -> Result<(), CtlError> {
    let MoveArgs { name, from, to, port, vlan, mode, in_flight, no_wait } = args;
    let mode = match mode {
        Mode::Hot => MoveMode::Hot,
        Mode::Warm => MoveMode::Warm,
        Mode::Cold => MoveMode::Cold,
    };
    let in_flight = match in_flight {
        None => MoveInFlight::Unspecified,
        Some(InFlight::Auto) => MoveInFlight::Auto,
        Some(InFlight::Tunnel) => MoveInFlight::Tunnel,
        Some(InFlight::Retranslate) => MoveInFlight::Retranslate,
        Some(InFlight::Drop) => MoveInFlight::Drop,
    };
    let request = v1::MoveStartRequest {
        attachment: name.clone(),
        from: from.clone(),
        to,
        port,
        vlan: vlan.map(u32::from),
        mode: mode.into(),
        in_flight: in_flight.into(),
    };
    let v1::MoveAnswer { id, .. } = client.move_start(ask(request, timeout)).await?.into_inner();
    let began = Instant::now();
    loop {
        let request = v1::MoveListRequest { id: Some(id), ended: true, ..Default::default() };
        let list = client.move_list(ask(request, timeout)).await?.into_inner();
        let Some(one) = list.moves.into_iter().next() else {
            return Err(CtlError::Refused(format!(
                "move {id} is not known any more; `ilactl vm show {name}`"
            )));
        };
        match one.state.as_str() {
            "preparing" if !no_wait && began.elapsed() < timeout => tokio::time::sleep(LOOK).await,
            "aborting" | "aborted" => {
                let why = one.timeline.iter().rev().find(|moment| moment.what == "aborting");
                let why = why.map(|moment| moment.how.as_str()).unwrap_or_default();
                return Err(CtlError::Refused(format!("move {id} is aborted: {why}")));
            }
            _ if out.json() => return out.value(&view(one)),
            state @ ("preparing" | "prepared") => {
                let next = if state == "prepared" {
                    format!("; {name} may leave {from} now")
                } else {
                    String::new()
                };
                return out.line(&format!("move {id}: {state}{next}"));
            }
            state => return out.line(&format!("move {id}: {state}")),
        }
    }
}

/// What is there of these names, with its moves.
async fn vms(
    client: &mut Client,
    (nve, network, name): (Option<String>, Option<String>, Option<String>),
    timeout: Duration,
) -> Result<Vec<VmView>, CtlError> {
    let request = v1::MoveListRequest {
        attachment: name.clone().unwrap_or_default(),
        // Those that are over are many.
        ended: name.is_some(),
        ..Default::default()
    };
    let moves = client.move_list(ask(request, timeout)).await?.into_inner().moves;
    let moves: Vec<MoveView> = moves.into_iter().map(view).collect();
    let request = v1::ObjectListRequest {
        kind: v1::Kind::Attachment.into(),
        network: network.unwrap_or_default(),
        name: name.unwrap_or_default(),
        ..Default::default()
    };
    let objects = wanted::list(client, request).await?;
    let mut vms: Vec<VmView> = objects.into_iter().map(vm).collect();
    for one in moves.into_iter().rev() {
        // Where it is now, before its commit and after it.
        let is_before =
            matches!(one.state.as_str(), "preparing" | "prepared" | "detached" | "aborting" | "aborted");
        let nve = if is_before { &one.from } else { &one.to };
        let at = vms.iter().position(|vm| vm.name == one.attachment && vm.nve == *nve);
        let at = at.or_else(|| vms.iter().position(|vm| vm.name == one.attachment));
        if let Some(vm) = at.and_then(|at| vms.get_mut(at)) {
            vm.moves.push(one);
        }
    }
    for vm in &mut vms {
        vm.moves.sort_by_key(|one| std::cmp::Reverse(one.id));
        vm.state = vm_state(moving(vm));
    }
    vms.retain(|vm| {
        nve.as_ref().is_none_or(|nve| vm.nve == *nve || moving(vm).is_some_and(|one| one.to == *nve))
    });
    Ok(vms)
}

/// The move of one that is not over, the last one.
fn moving(vm: &VmView) -> Option<&MoveView> {
    vm.moves.iter().find(|one| !matches!(one.state.as_str(), "done" | "aborted"))
}

fn vm(object: v1::Object) -> VmView {
    let v1::Object { name, nve, port, vlan, mac, network, addresses, .. } = object;
    let state = vm_state(None);
    VmView { name, nve, state, port, vlan, mac, network, addresses, moves: Vec::new() }
}

/// The state of a VM by RFC 7666 (vmOperState): it migrates until it is at its new NVE, or stays at the old one. Which of
/// the other states it has its hypervisor knows.
fn vm_state(moving: Option<&MoveView>) -> &'static str {
    match moving.map(|one| one.state.as_str()) {
        Some("preparing" | "prepared" | "detached" | "aborting") => "migrating",
        _ => "running",
    }
}

fn view(one: v1::Move) -> MoveView {
    let v1::Move { id, attachment, from, to, mode, in_flight, state, overdue, .. } = one;
    let v1::Move { sirs, networks, left_ms, seeded_s, timeline, .. } = one;
    let timeline = timeline.into_iter().map(MomentView::of).collect();
    MoveView {
        id,
        attachment,
        from,
        to,
        mode,
        in_flight,
        state,
        overdue,
        sirs,
        networks,
        left_ms,
        seeded_s,
        timeline,
    }
}

fn show_list(out: &mut Output<'_>, vms: Vec<VmView>) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&vms);
    }
    let mut table = Table::new(&[
        "NAME",
        "NVE",
        "NETWORK",
        "STATE",
        ">MOVE",
        "MODE",
        "FROM",
        "TO",
        "MOVE STATE",
        ">LEFT",
        "ADDRESSES",
    ]);
    for vm in vms {
        let one = moving(&vm);
        let of = |what: fn(&MoveView) -> String| or_dash(one.map(what));
        table.row(vec![
            vm.name.clone(),
            vm.nve.clone(),
            or_dash(vm.network.clone()),
            vm.state.to_owned(),
            of(|one| one.id.to_string()),
            of(|one| one.mode.clone()),
            of(|one| one.from.clone()),
            of(|one| one.to.clone()),
            of(state),
            of(|one| or_dash(one.left_ms.map(seconds))),
            vm.addresses.join(" "),
        ]);
    }
    table.write(out)
}

fn state(one: &MoveView) -> String {
    if one.overdue { format!("{}, overdue", one.state) } else { one.state.clone() }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

fn show(out: &mut Output<'_>, vms: Vec<VmView>) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&vms);
    }
    for (n, vm) in vms.iter().enumerate() {
        if n > 0 {
            out.line("")?;
        }
        out.line(&format!("name       {}", vm.name))?;
        out.line(&format!("nve        {}", vm.nve))?;
        out.line(&format!("state      {}", vm.state))?;
        let vlan = vm.vlan.as_ref().map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
        out.line(&format!("port       {}{vlan}", vm.port))?;
        out.line(&format!("mac        {}", vm.mac))?;
        if let Some(network) = &vm.network {
            out.line(&format!("network    {network}"))?;
        }
        out.line(&format!("addresses  {}", vm.addresses.join(" ")))?;
        for one in &vm.moves {
            out.line("")?;
            show_move(out, one)?;
        }
    }
    Ok(())
}

/// A move, and what happened when: from its beginning in milliseconds.
fn show_move(out: &mut Output<'_>, one: &MoveView) -> Result<(), CtlError> {
    let MoveView { id, from, to, mode, in_flight, .. } = one;
    let left = one.left_ms.map(|ms| format!(", {} left", seconds(ms))).unwrap_or_default();
    out.line(&format!("move {id}  {} {mode} from {from} to {to}, in flight {in_flight}{left}", state(one)))?;
    if let Some(ago_s) = one.seeded_s {
        out.line(&format!("  last seed {ago_s} s ago"))?;
    }
    let Some(begin_ms) = one.timeline.first().map(|moment| moment.time_ms) else { return Ok(()) };
    out.line(&format!("  began {}", time(begin_ms)))?;
    let mut table = Table::new(&[">  AFTER MS", "WHAT", "BY", "HOW"]);
    for moment in &one.timeline {
        let [what, who, how] = moment.columns();
        table.row(vec![moment.time_ms.saturating_sub(begin_ms).to_string(), what, who, how]);
    }
    table.write(out)
}
