//! What is shown as it is: node, ports, neighbours, routes, losses.

use super::client::Client;
use super::error::CtlError;
use super::output::{Output, Table, bytes, duration, or_dash, si};
use crate::api::v1;
use crate::api::views::{
    AuthorityView, DropView, NeighbourView, NodeView, PortView, ReloadView, RouteView, TableView, WorkerView,
};
use crate::api::wire::Wire;

/// `node show`
pub(super) async fn node(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let view: NodeView = Wire::read(client.calls().node_show(v1::NodeShowRequest {}).await?.into_inner())?;
    if out.json() {
        return out.value(&view);
    }
    out.line(&format!("node         {} (ilagate {})", view.name, view.version))?;
    out.line(&format!("up           {}", duration(view.uptime_s)))?;
    out.line(&format!("config       {}", view.config))?;
    out.line(&format!(
        "revision     {} (snapshot {}, last update took {} us)",
        view.revision, view.snapshot, view.last_update_us
    ))?;
    out.line(&format!("mbufs        {} of {} in use", view.mbufs_in_use, view.mbufs))?;
    out.line(&format!("originated   {} packets", view.originated))?;
    if let Some(authority) = &view.authority {
        out.line(&format!("authority    {}", authority_line(authority)))?;
    }
    for warning in &view.warnings {
        out.line(&format!("warning      {warning}"))?;
    }
    out.line("")?;
    tables(&view.tables, out)?;
    out.line("")?;
    workers(&view.workers, out)
}

fn authority_line(authority: &AuthorityView) -> String {
    let AuthorityView { session, applied, registered, refused, left_out, stale_s, grace_over } = *authority;
    let mut line = match session {
        true => format!("session, revision {applied} applied, {registered} identifiers registered"),
        false => {
            let too_long = if grace_over { ", longer than nva.grace_s" } else { "" };
            format!("no session for {}{too_long}, revision {applied} applied", duration(stale_s))
        }
    };
    for (count, what) in [(refused, "identifiers refused"), (left_out, "mappings left out")] {
        if count > 0 {
            line += &format!(", {count} {what}: see the log");
        }
    }
    line
}

fn tables(tables: &[TableView], out: &mut Output<'_>) -> Result<(), CtlError> {
    let mut table = Table::new(&["DOMAIN", "SIR PREFIX", "CHECKSUM", ">MAPPINGS", ">CAPACITY", ">MEMORY"]);
    for view in tables {
        table.row(vec![
            view.domain.clone(),
            view.sir_prefix.clone(),
            view.checksum.clone(),
            view.mappings.to_string(),
            view.capacity.to_string(),
            bytes(view.memory_bytes),
        ]);
    }
    table.write(out)
}

/// Totals of workers.
pub(super) fn workers(workers: &[WorkerView], out: &mut Output<'_>) -> Result<(), CtlError> {
    let mut table = Table::new(&[
        ">WORKER",
        ">CORE",
        ">RECEIVED",
        ">FORWARDED",
        ">REPLIED",
        ">PUNTED",
        ">DROPPED",
        ">WAITING",
        ">BURST",
        ">IDLE",
        ">SNAPSHOT",
    ]);
    for view in workers {
        let fates = &view.fates;
        table.row(vec![
            view.worker.to_string(),
            view.core.to_string(),
            fates.received.to_string(),
            fates.forwarded.to_string(),
            fates.replied.to_string(),
            fates.punted.to_string(),
            fates.dropped.to_string(),
            fates.waiting.to_string(),
            format!("{:.1}", view.burst_fill),
            format!("{:.1}%", view.idle_ratio * 100.0),
            view.snapshot.to_string(),
        ]);
    }
    table.write(out)
}

/// `node reload`
pub(super) async fn reload(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().node_reload(v1::NodeReloadRequest {}).await?.into_inner();
    let view: ReloadView = Wire::read(answer)?;
    if out.json() {
        return out.value(&view);
    }
    if view.applied.is_empty() && view.mappings.is_none() {
        return out.line("nothing differs");
    }
    for path in &view.applied {
        out.line(&format!("applied {path}"))?;
    }
    match view.mappings {
        Some(done) => out.line(&format!(
            "mappings: {} created, {} changed, {} deleted, revision {}",
            done.created, done.changed, done.deleted, done.revision
        )),
        None => Ok(()),
    }
}

/// `port list`
pub(super) async fn ports(client: &mut Client, out: &mut Output<'_>, xstats: bool) -> Result<(), CtlError> {
    let answer = client.calls().port_list(v1::PortListRequest { xstats }).await?.into_inner();
    let views: Vec<PortView> = Wire::read(answer.ports)?;
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&[
        "PORT",
        "ROLE",
        "LINK",
        ">SPEED",
        ">MTU",
        ">QUEUES",
        "RSS",
        "MAC",
        "DEVICE",
        "ADDRESSES",
    ]);
    for view in &views {
        let speed = if view.speed_mbps == 0 { "-".to_owned() } else { si(f64::from(view.speed_mbps) * 1e6) };
        let mut addresses = view.addresses.clone();
        addresses.push(view.link_local.to_string());
        table.row(vec![
            view.name.clone(),
            view.role.clone(),
            if view.up { "up" } else { "down" }.to_owned(),
            speed,
            view.mtu.to_string(),
            view.queues.to_string(),
            view.rss.clone(),
            view.mac.clone(),
            view.device.clone(),
            addresses.join(" "),
        ]);
    }
    table.write(out)?;
    for view in views.iter().filter(|view| !view.problem.is_empty()) {
        out.line(&format!("{}: {}", view.name, view.problem))?;
    }
    out.line("")?;
    traffic(&views, out)?;
    for view in views.iter().filter(|view| !view.xstats.is_empty()) {
        out.line("")?;
        out.line(&format!("{} ({})", view.name, view.device))?;
        let mut table = Table::new(&["COUNTER", ">VALUE"]);
        for (name, value) in &view.xstats {
            table.row(vec![name.clone(), value.to_string()]);
        }
        table.write(out)?;
    }
    Ok(())
}

/// Totals of ports.
pub(super) fn traffic(ports: &[PortView], out: &mut Output<'_>) -> Result<(), CtlError> {
    let mut table = Table::new(&[
        "PORT",
        ">RECEIVED",
        ">BYTES",
        ">FORWARDED",
        ">REPLIED",
        ">PUNTED",
        ">DROPPED",
        ">WAITING",
        ">COPIED",
        ">LOST COPIES",
        ">SENT",
        ">SENT BYTES",
        ">UNSENT",
    ]);
    for view in ports {
        let fates = &view.counters;
        let mut row = vec![view.name.clone()];
        row.extend(
            [
                fates.received,
                fates.received_bytes,
                fates.forwarded,
                fates.replied,
                fates.punted,
                fates.dropped,
                fates.waiting,
                fates.copied,
                fates.lost_copies,
                view.sent,
                view.sent_bytes,
                view.unsent,
            ]
            .map(|value| value.to_string()),
        );
        table.row(row);
    }
    table.write(out)
}

/// `neigh list`
pub(super) async fn neighbours(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().neighbour_list(v1::NeighbourListRequest {}).await?.into_inner();
    let views: Vec<NeighbourView> = Wire::read(answer.neighbours)?;
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&["PORT", "ADDRESS", "MAC", "STATE", ">AGE", "USE"]);
    for view in views {
        table.row(vec![
            view.port,
            view.address.to_string(),
            or_dash(view.mac),
            view.state,
            duration(view.age_ms / 1000),
            if view.next_hop { "next hop" } else { "-" }.to_owned(),
        ]);
    }
    table.write(out)
}

/// `route list`
pub(super) async fn routes(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().route_list(v1::RouteListRequest {}).await?.into_inner();
    let views: Vec<RouteView> = Wire::read(answer.routes)?;
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&["PREFIX", "KIND", "VIA", "PORT", ">WEIGHT", "STATE"]);
    for view in views {
        let (mut prefix, mut kind) = (view.prefix, view.kind);
        if view.next_hops.is_empty() {
            let dash = || "-".to_owned();
            table.row(vec![prefix, kind, dash(), dash(), dash(), dash()]);
            continue;
        }
        // The further next hops of a route stand below the first.
        for hop in view.next_hops {
            table.row(vec![
                std::mem::take(&mut prefix),
                std::mem::take(&mut kind),
                or_dash(hop.via.map(|via| via.to_string())),
                hop.port,
                hop.weight.to_string(),
                hop.state,
            ]);
        }
    }
    table.write(out)
}

/// `drops`
pub(super) async fn drops(client: &mut Client, out: &mut Output<'_>, all: bool) -> Result<(), CtlError> {
    let answer = client.calls().drops(v1::DropsRequest {}).await?.into_inner();
    let mut views: Vec<DropView> = Wire::read(answer.drops)?;
    views.retain(|view| all || view.dropped > 0 || view.answered > 0 || view.lost_copies > 0);
    if out.json() {
        return out.value(&views);
    }
    if views.is_empty() {
        return out.line("no packet was dropped");
    }
    let mut table = Table::new(&["REASON", ">DROPPED", ">ANSWERED", ">LOST COPIES", "MEANING"]);
    for view in views {
        let [dropped, answered, copies] =
            [view.dropped, view.answered, view.lost_copies].map(|count| count.to_string());
        table.row(vec![view.reason, dropped, answered, copies, view.sentence]);
    }
    table.write(out)
}
