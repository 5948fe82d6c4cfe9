//! `ilactl nva networks`: virtual networks as NVEs have them.

use crate::api::manage as v1;
use crate::api::manage::manage_client::ManageClient;
use crate::ctl::error::CtlError;
use crate::ctl::output::{List, Output};
use serde::Serialize;
use tonic::transport::Channel;

#[derive(Serialize)]
struct SubnetView {
    prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
}

#[derive(Serialize)]
struct NetworkAtView {
    vnid: u32,
    sir_prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    network: String,
    nve: String,
    name: String,
    gateway_mac: String,
    expected_mac: String,
    subnets: Vec<SubnetView>,
}

pub(super) async fn list(
    client: &mut ManageClient<Channel>,
    out: &mut Output<'_>,
    request: v1::AttachedNetworkListRequest,
) -> Result<(), CtlError> {
    let mut pages = client.attached_network_list(request).await?.into_inner();
    let mut list = List::new(&[">VNID", "NETWORK", "NVE", "NAME THERE", "GATEWAY MAC", "SUBNETS"]);
    while let Some(page) = pages.message().await? {
        list.page(out, page.networks.into_iter().map(|network| Ok(view(network))), row)?;
    }
    list.end(out)
}

fn view(network: v1::AttachedNetwork) -> NetworkAtView {
    let v1::AttachedNetwork { vnid, sir_prefix, network, nve, name, gateway_mac, expected_mac, subnets } =
        network;
    let subnet = |v1::AttachedSubnet { prefix, gateway }| SubnetView { prefix, gateway };
    let subnets = subnets.into_iter().map(subnet).collect();
    NetworkAtView { vnid, sir_prefix, network, nve, name, gateway_mac, expected_mac, subnets }
}

fn row(view: NetworkAtView) -> Vec<String> {
    let gateway = match view.gateway_mac == view.expected_mac {
        true => view.gateway_mac,
        false => format!("{} (should be {})", view.gateway_mac, view.expected_mac),
    };
    let subnets: Vec<String> = view.subnets.into_iter().map(|subnet| subnet.prefix).collect();
    let network = if view.network.is_empty() { "-".to_owned() } else { view.network };
    vec![view.vnid.to_string(), network, view.nve, view.name, gateway, subnets.join(" ")]
}
