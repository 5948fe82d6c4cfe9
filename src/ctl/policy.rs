//! `ilactl policy …` and `ilactl peer …`

use super::args::PolicyArgs;
use super::client::Client;
use super::error::CtlError;
use super::output::{Output, Table, or_dash};
use crate::api::v1;
use crate::api::views::{PeerView, PolicyView};
use crate::api::wire::Wire;
use serde::Serialize;

/// What was done, for programs.
#[derive(Serialize)]
struct Done<'d> {
    result: &'d str,
}

/// `policy list`
pub(super) async fn list(client: &mut Client, out: &mut Output<'_>) -> Result<(), CtlError> {
    let answer = client.calls().policy_list(v1::PolicyListRequest {}).await?.into_inner();
    let views: Vec<PolicyView> = Wire::read(answer.policies)?;
    if out.json() {
        return out.value(&views);
    }
    policies(&views, out)
}

/// The table of policies.
pub(super) fn policies(views: &[PolicyView], out: &mut Output<'_>) -> Result<(), CtlError> {
    let mut table = Table::new(&["FROM", "TO", "VIA", "ORIGIN"]);
    for PolicyView { from, to, via, origin } in views.iter().cloned() {
        table.row(vec![from, to, or_dash(via), origin]);
    }
    table.write(out)
}

/// `policy add`
pub(super) async fn add(
    client: &mut Client,
    out: &mut Output<'_>,
    PolicyArgs { from, to }: PolicyArgs,
    via: Option<String>,
) -> Result<(), CtlError> {
    let what = format!("policy from {from} to {to}");
    client.calls().policy_add(v1::PolicyAddRequest { from, to, via }).await?;
    done(out, &what, "added")
}

/// `policy del`
pub(super) async fn del(
    client: &mut Client,
    out: &mut Output<'_>,
    PolicyArgs { from, to }: PolicyArgs,
) -> Result<(), CtlError> {
    let what = format!("policy from {from} to {to}");
    client.calls().policy_delete(v1::PolicyDeleteRequest { from, to }).await?;
    done(out, &what, "deleted")
}

/// `peer list`
pub(super) async fn peers(
    client: &mut Client,
    out: &mut Output<'_>,
    network: Option<String>,
) -> Result<(), CtlError> {
    let answer = client.calls().peer_list(v1::PeerListRequest { network }).await?.into_inner();
    let views: Vec<PeerView> = Wire::read(answer.peers)?;
    if out.json() {
        return out.value(&views);
    }
    peer_table(&views, out)
}

/// The table of peers.
pub(super) fn peer_table(views: &[PeerView], out: &mut Output<'_>) -> Result<(), CtlError> {
    let mut table = Table::new(&["NETWORK", "ADDRESS", "TO", "OF", "ORIGIN"]);
    for PeerView { network, address, to, of, origin } in views.iter().cloned() {
        table.row(vec![network, address, to, or_dash(of), origin]);
    }
    table.write(out)
}

/// `peer add`
pub(super) async fn add_peer(
    client: &mut Client,
    out: &mut Output<'_>,
    request: v1::PeerAddRequest,
) -> Result<(), CtlError> {
    let what = format!("peer {} of network {}", request.address, request.network);
    client.calls().peer_add(request).await?;
    done(out, &what, "added")
}

/// `peer del`
pub(super) async fn del_peer(
    client: &mut Client,
    out: &mut Output<'_>,
    request: v1::PeerDeleteRequest,
) -> Result<(), CtlError> {
    let what = format!("peer {} of network {}", request.address, request.network);
    client.calls().peer_delete(request).await?;
    done(out, &what, "deleted")
}

fn done(out: &mut Output<'_>, what: &str, result: &str) -> Result<(), CtlError> {
    if out.json() {
        return out.value(&Done { result });
    }
    out.line(&format!("{what}: {result}"))
}
