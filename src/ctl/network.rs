//! `ilactl vn …`, `ilactl attachment …` and `ilactl group …`

use super::client::Client;
use super::error::CtlError;
use super::output::{Output, Table, or_dash};
use super::policy;
use crate::api::v1;
use crate::api::views::{AttachmentView, GroupView, NetworkDetailView, NetworkView, RefusedView};
use crate::api::wire::Wire;

/// `vn list`
pub(super) async fn list(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().network_list(v1::NetworkListRequest {}).await?.into_inner();
    let views: Vec<NetworkView> = Wire::read(answer.networks)?;
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&[
        "NETWORK",
        ">VNID",
        "DOMAIN",
        ">ATTACHED",
        ">MAPPINGS",
        ">SENT",
        ">RECEIVED",
        ">DROPPED",
        "ORIGIN",
        "PREFIXES",
    ]);
    for view in views {
        let prefixes: Vec<String> = view.prefixes.into_iter().map(|prefix| prefix.prefix).collect();
        let counters = view.counters;
        // What is counted for several together is no network's own.
        let counted = |value: u64| if counters.own { value.to_string() } else { "-".to_owned() };
        table.row(vec![
            view.name,
            view.vnid.to_string(),
            view.domain,
            view.attachments.to_string(),
            view.mappings.to_string(),
            counted(counters.from_tenants),
            counted(counters.to_tenants),
            counted(counters.dropped),
            view.origin,
            prefixes.join(" "),
        ]);
    }
    table.write(out)
}

/// `vn get`
pub(super) async fn get(client: &mut Client, out: &mut Output<'_>, network: String) -> Result<(), CtlError> {
    let answer = client.calls().network_get(v1::NetworkGetRequest { network }).await?.into_inner();
    let view: NetworkDetailView = Wire::read(answer)?;
    if out.json() {
        return out.value(&view);
    }
    let NetworkDetailView { network, policies, peers } = view;
    out.line(&format!("network      {}", network.name))?;
    out.line(&format!("vnid         {}", network.vnid))?;
    out.line(&format!("domain       {}", network.domain))?;
    for prefix in &network.prefixes {
        let gateway = prefix.gateway.as_ref().map(|gateway| format!(" (gateway {gateway})"));
        out.line(&format!("prefix       {}{}", prefix.prefix, gateway.unwrap_or_default()))?;
    }
    out.line(&format!("mac          {}", network.mac))?;
    out.line(&format!("mtu          {}", network.mtu))?;
    out.line(&format!("origin       {}", network.origin))?;
    out.line(&format!("attachments  {}", network.attachments))?;
    out.line(&format!("mappings     {}", network.mappings))?;
    let counters = &network.counters;
    let with = if counters.own { "" } else { ", with all networks beyond the limit" };
    out.line(&format!(
        "sent         {} packets, {} bytes{with}",
        counters.from_tenants, counters.from_tenants_bytes
    ))?;
    out.line(&format!(
        "received     {} packets, {} bytes{with}",
        counters.to_tenants, counters.to_tenants_bytes
    ))?;
    out.line(&format!("dropped      {} packets{with}", counters.dropped))?;
    out.line("")?;
    policy::policies(&policies, out)?;
    if !peers.is_empty() {
        out.line("")?;
        policy::peer_table(&peers, out)?;
    }
    Ok(())
}

/// `attachment list`
pub(super) async fn attachments(
    client: &mut Client,
    out: &mut Output<'_>,
    network: Option<String>,
) -> Result<(), CtlError> {
    let mut views = all(client).await?;
    if let Some(network) = network {
        client.calls().network_get(v1::NetworkGetRequest { network: network.clone() }).await?;
        views.retain(|view| view.network.as_ref() == Some(&network));
    }
    if out.json() {
        return out.value(&views);
    }
    let mut table =
        Table::new(&["ATTACHMENT", "PORT", ">VLAN", "MAC", "NETWORK", "ORIGIN", "PRESENCE", "ADDRESSES"]);
    for view in views {
        // A task is known by its SIR addresses, a tenant by those of its network.
        let addresses = if view.network.is_some() { view.addresses } else { view.identifiers };
        table.row(vec![
            view.name,
            view.port,
            or_dash(view.vlan.map(|vlan| vlan.to_string())),
            view.mac,
            or_dash(view.network),
            view.origin,
            // A node of an earlier release does not say.
            or_dash((!view.presence.is_empty()).then_some(view.presence)),
            addresses.join(" "),
        ]);
    }
    table.write(out)
}

/// `attachment get`
pub(super) async fn attachment(
    client: &mut Client,
    out: &mut Output<'_>,
    name: &str,
) -> Result<(), CtlError> {
    let found = all(client).await?.into_iter().find(|view| view.name == name);
    let Some(view) = found else {
        return Err(CtlError::Refused(format!(
            "`{name}` is no attachment of this node; `ilactl attachment list` shows them"
        )));
    };
    if out.json() {
        return out.value(&view);
    }
    out.line(&format!("attachment   {}", view.name))?;
    out.line(&format!("port         {}", view.port))?;
    if let Some(vlan) = view.vlan {
        out.line(&format!("vlan         {vlan}"))?;
    }
    out.line(&format!("mac          {}", view.mac))?;
    out.line(&format!("origin       {}", view.origin))?;
    if !view.presence.is_empty() {
        out.line(&format!("presence     {}", view.presence))?;
    }
    if let Some(network) = &view.network {
        out.line(&format!("network      {network}"))?;
    }
    for address in &view.addresses {
        out.line(&format!("address      {address}"))?;
    }
    for identifier in &view.identifiers {
        out.line(&format!("identifier   {identifier}"))?;
    }
    for RefusedView { kind, packets } in view.refused.iter().filter(|refused| refused.packets > 0) {
        out.line(&format!("refused      {packets} {kind}"))?;
    }
    if view.quarantined {
        out.line("quarantine   yes")?;
    }
    for address in &view.silent {
        out.line(&format!("silent       {address}"))?;
    }
    Ok(())
}

/// `group list`
pub(super) async fn groups(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().group_list(v1::GroupListRequest {}).await?.into_inner();
    let views: Vec<GroupView> = Wire::read(answer.groups)?;
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&["NETWORK", "GROUP", "MEMBER", "KIND", ">EXPIRES", "LOCATORS"]);
    for GroupView { network, group, attachment, kind, expires_s, locators } in views {
        table.row(vec![
            network,
            or_dash(group),
            or_dash(attachment),
            kind,
            or_dash(expires_s.map(|seconds| format!("{seconds} s"))),
            or_dash((!locators.is_empty()).then(|| locators.join(" "))),
        ]);
    }
    table.write(out)
}

async fn all(client: &mut Client) -> Result<Vec<AttachmentView>, CtlError> {
    let answer = client.calls().attachment_list(v1::AttachmentListRequest {}).await?.into_inner();
    Ok(Wire::read(answer.attachments)?)
}
