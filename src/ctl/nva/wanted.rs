//! `ilactl nva network`, `ilactl nva attachment` and `ilactl nva policy`: what operators want at NVEs.

use crate::api::manage as v1;
use crate::api::manage::{Action, Kind};
use crate::ctl::args::{
    PolicyArgs, WantedAttachment, WantedAttachmentCommand, WantedNetworkCommand, WantedPolicyCommand,
};
use crate::ctl::authority::Client;
use crate::ctl::client::ask;
use crate::ctl::error::CtlError;
use crate::ctl::output::{Output, Table, or_dash};
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct RefusalView {
    nve: String,
    object: String,
    why: String,
}

#[derive(Serialize)]
struct NetworkView {
    name: String,
    vnid: String,
    domain: String,
    prefixes: Vec<String>,
    attachments: u64,
    identifiers: u64,
    max_identifiers: Option<u64>,
    sequence: u64,
    refused: Vec<RefusalView>,
    #[serde(skip_serializing_if = "String::is_empty")]
    document: String,
}

#[derive(Serialize)]
struct AttachmentView {
    nve: String,
    name: String,
    port: String,
    vlan: Option<String>,
    mac: String,
    network: Option<String>,
    addresses: Vec<String>,
    sequence: u64,
    refused: Vec<RefusalView>,
    #[serde(skip_serializing_if = "String::is_empty")]
    document: String,
}

#[derive(Serialize)]
struct PolicyView {
    from: String,
    to: String,
    via: Option<String>,
    sequence: u64,
    refused: Vec<RefusalView>,
}

#[derive(Serialize)]
struct WrittenView {
    sequence: u64,
    revision: u64,
    addresses: Vec<String>,
    vnid: Option<String>,
}

/// The entry of a policy.
#[derive(Serialize)]
struct PolicyDocument {
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
}

/// The entry of a tenant.
#[derive(Serialize)]
struct TenantDocument {
    name: Option<String>,
    port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    mac: Option<String>,
    network: Option<String>,
    addresses: Vec<String>,
}

pub(super) fn refusal(v1::Refusal { nve, object, why }: v1::Refusal) -> RefusalView {
    RefusalView { nve, object, why }
}

pub(super) async fn network(
    client: &mut Client,
    out: &mut Output<'_>,
    command: WantedNetworkCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    let kind = Kind::Network.into();
    let (action, request) = match command {
        WantedNetworkCommand::List => {
            let list = list(client, v1::ObjectListRequest { kind, ..Default::default() }).await?;
            return show_networks(out, list.into_iter().map(network_view).collect());
        }
        WantedNetworkCommand::Show { network } => {
            let request =
                v1::ObjectListRequest { kind, name: network.clone(), documents: true, ..Default::default() };
            let Some(found) = list(client, request).await?.into_iter().next() else {
                return Err(CtlError::Values(format!(
                    "network {network} is not there; `ilactl nva network list` shows what is"
                )));
            };
            let view = network_view(found);
            if out.json() {
                return out.value(&view);
            }
            out.line(&format!("# sequence {}, {} attachments", view.sequence, view.attachments))?;
            return show_document(out, &view.document, &view.refused);
        }
        WantedNetworkCommand::Add { file } => (Action::Add, of_file(&file)?),
        WantedNetworkCommand::Set { file, sequence } => {
            (Action::Set, v1::ObjectWriteRequest { sequence, ..of_file(&file)? })
        }
        WantedNetworkCommand::Del { network, sequence } => {
            (Action::Delete, v1::ObjectWriteRequest { name: network, sequence, ..Default::default() })
        }
    };
    let request = v1::ObjectWriteRequest { kind, action: action.into(), ..request };
    write(client, out, request, timeout).await
}

pub(in crate::ctl) async fn attachment(
    client: &mut Client,
    out: &mut Output<'_>,
    command: WantedAttachmentCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    let kind = Kind::Attachment.into();
    let (action, request) = match command {
        WantedAttachmentCommand::List { nve, network } => {
            let (nve, network) = (nve.unwrap_or_default(), network.unwrap_or_default());
            let list =
                list(client, v1::ObjectListRequest { kind, nve, network, ..Default::default() }).await?;
            return show_attachments(out, list.into_iter().map(attachment_view).collect());
        }
        WantedAttachmentCommand::Show { nve, name } => {
            let (wanted, at) = (name.clone(), nve.clone());
            let request = v1::ObjectListRequest { kind, nve, name, documents: true, ..Default::default() };
            let Some(found) = list(client, request).await?.into_iter().next() else {
                return Err(CtlError::Values(format!(
                    "attachment {wanted} is not wanted at {at}; `ilactl nva attachment list` shows what is"
                )));
            };
            let view = attachment_view(found);
            if out.json() {
                return out.value(&view);
            }
            out.line(&format!("# sequence {}, at {}", view.sequence, view.nve))?;
            return show_document(out, &view.document, &view.refused);
        }
        WantedAttachmentCommand::Add(attachment) => (Action::Add, of_attachment(attachment)?),
        WantedAttachmentCommand::Set { attachment, sequence } => {
            (Action::Set, v1::ObjectWriteRequest { sequence, ..of_attachment(attachment)? })
        }
        WantedAttachmentCommand::Del { nve, name, sequence } => {
            (Action::Delete, v1::ObjectWriteRequest { nve, name, sequence, ..Default::default() })
        }
    };
    let request = v1::ObjectWriteRequest { kind, action: action.into(), ..request };
    write(client, out, request, timeout).await
}

pub(super) async fn policy(
    client: &mut Client,
    out: &mut Output<'_>,
    command: WantedPolicyCommand,
    timeout: Duration,
) -> Result<(), CtlError> {
    let kind = Kind::Policy.into();
    let (action, request) = match command {
        WantedPolicyCommand::List { network } => {
            let network = network.unwrap_or_default();
            let list = list(client, v1::ObjectListRequest { kind, network, ..Default::default() }).await?;
            return show_policies(out, list.into_iter().map(policy_view).collect());
        }
        WantedPolicyCommand::Add { policy: PolicyArgs { from, to }, via } => {
            let document = json(&PolicyDocument { from, to, via })?;
            (Action::Add, v1::ObjectWriteRequest { document, ..Default::default() })
        }
        WantedPolicyCommand::Del(PolicyArgs { from, to }) => {
            (Action::Delete, v1::ObjectWriteRequest { name: from, to, ..Default::default() })
        }
    };
    let request = v1::ObjectWriteRequest { kind, action: action.into(), ..request };
    write(client, out, request, timeout).await
}

pub(in crate::ctl) async fn list(
    client: &mut Client,
    request: v1::ObjectListRequest,
) -> Result<Vec<v1::Object>, CtlError> {
    let mut pages = client.object_list(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(page) = pages.message().await? {
        all.extend(page.objects);
    }
    Ok(all)
}

async fn write(
    client: &mut Client,
    out: &mut Output<'_>,
    request: v1::ObjectWriteRequest,
    timeout: Duration,
) -> Result<(), CtlError> {
    let v1::ObjectWritten { sequence, revision, addresses, vnid } =
        client.object_write(ask(request, timeout)).await?.into_inner();
    let vnid = (!vnid.is_empty()).then_some(vnid);
    if out.json() {
        return out.value(&WrittenView { sequence, revision, addresses, vnid });
    }
    let vnid = vnid.map(|vnid| format!(", VNID {vnid}")).unwrap_or_default();
    let at: String = addresses.iter().map(|address| format!(", {address}")).collect();
    out.line(&format!("sequence {sequence}, revision {revision}{vnid}{at}"))
}

fn of_file(file: &Path) -> Result<v1::ObjectWriteRequest, CtlError> {
    let document = match file.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(file),
    };
    let document = document.map_err(|why| CtlError::Values(format!("{}: {why}", file.display())))?;
    Ok(v1::ObjectWriteRequest { document, ..Default::default() })
}

fn of_attachment(attachment: WantedAttachment) -> Result<v1::ObjectWriteRequest, CtlError> {
    let WantedAttachment { nve, name, file, port, vlan, mac, network, addresses } = attachment;
    let request = match file {
        Some(file) => of_file(&file)?,
        None => {
            let document = json(&TenantDocument { name, port, vlan, mac, network, addresses })?;
            v1::ObjectWriteRequest { document, ..Default::default() }
        }
    };
    Ok(v1::ObjectWriteRequest { nve, ..request })
}

fn json<T: Serialize>(document: &T) -> Result<String, CtlError> {
    serde_json::to_string(document).map_err(|why| CtlError::Values(why.to_string()))
}

fn network_view(object: v1::Object) -> NetworkView {
    let v1::Object { name, vnid, domain, prefixes, attachments, identifiers, max_identifiers, .. } = object;
    let v1::Object { sequence, document, .. } = object;
    let refused = object.refused.into_iter().map(refusal).collect();
    NetworkView {
        name,
        vnid,
        domain,
        prefixes,
        attachments,
        identifiers,
        max_identifiers,
        sequence,
        refused,
        document,
    }
}

fn attachment_view(object: v1::Object) -> AttachmentView {
    let v1::Object { nve, name, port, vlan, mac, network, addresses, sequence, refused, document, .. } =
        object;
    let refused = refused.into_iter().map(refusal).collect();
    AttachmentView { nve, name, port, vlan, mac, network, addresses, sequence, refused, document }
}

fn policy_view(object: v1::Object) -> PolicyView {
    let v1::Object { name, to, via, sequence, refused, .. } = object;
    PolicyView { from: name, to, via, sequence, refused: refused.into_iter().map(refusal).collect() }
}

fn show_networks(out: &mut Output<'_>, views: Vec<NetworkView>) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&[
        "NETWORK",
        ">VNID",
        "DOMAIN",
        ">ATTACHED",
        ">IDENTIFIERS",
        ">MOST",
        ">SEQUENCE",
        "REFUSED BY",
        "PREFIXES",
    ]);
    for view in views {
        table.row(vec![
            view.name,
            view.vnid,
            view.domain,
            view.attachments.to_string(),
            view.identifiers.to_string(),
            view.max_identifiers.map_or_else(|| "-".to_owned(), |most| most.to_string()),
            view.sequence.to_string(),
            nves(&view.refused),
            view.prefixes.join(" "),
        ]);
    }
    table.write(out)
}

fn show_attachments(out: &mut Output<'_>, views: Vec<AttachmentView>) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&[
        "NVE",
        "NAME",
        "PORT",
        ">VLAN",
        "MAC",
        "NETWORK",
        ">SEQUENCE",
        "REFUSED BY",
        "ADDRESSES",
    ]);
    for view in views {
        table.row(vec![
            view.nve,
            view.name,
            view.port,
            or_dash(view.vlan),
            view.mac,
            or_dash(view.network),
            view.sequence.to_string(),
            nves(&view.refused),
            view.addresses.join(" "),
        ]);
    }
    table.write(out)
}

fn show_policies(out: &mut Output<'_>, views: Vec<PolicyView>) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&views);
    }
    let mut table = Table::new(&["FROM", "TO", "VIA", ">SEQUENCE", "REFUSED BY"]);
    for view in views {
        let refused = nves(&view.refused);
        table.row(vec![view.from, view.to, or_dash(view.via), view.sequence.to_string(), refused]);
    }
    table.write(out)
}

/// What was written, and who refuses it, as comments.
fn show_document(out: &mut Output<'_>, document: &str, refused: &[RefusalView]) -> Result<(), CtlError> {
    for RefusalView { nve, why, .. } in refused {
        out.line(&format!("# refused by {nve}: {why}"))?;
    }
    out.line(document.trim_end())
}

fn nves(refused: &[RefusalView]) -> String {
    let names: Vec<&str> = refused.iter().map(|refused| refused.nve.as_str()).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}
