//! Virtual networks as NVEs have them, in the operator's API.

use crate::api::manage as v1;
use crate::ila::SirPrefix;
use crate::nva::attached::NetworkAt;
use crate::nva::authority::Authority;
use crate::nva::inbox::AuthorityHandle;
use crate::nva::model::Network;
use crate::nva::scope::Sight;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Entries that one look goes through, besides the rest of a network: the authority does nothing else meanwhile.
const LOOK: usize = 1_000;
/// Pages that wait for an operator.
const WAITING: usize = 2;

/// What a list is to show.
struct Wanted {
    nve: String,
    network: String,
    sight: Sight,
}

impl Wanted {
    fn takes(&self, at: &NetworkAt<'_>) -> bool {
        let is_named = || at.declared == Some(&self.network) || self.network.parse() == Ok(at.network.1);
        let is_seen = self.sight.is_all() || at.declared.is_some_and(|name| self.sight.of_network(name));
        is_seen && (self.nve.is_empty() || self.nve == at.nve) && (self.network.is_empty() || is_named())
    }

    /// One look from behind `after`: what it takes, and where it ended, if there is more. It ends with a whole network.
    fn look(
        &self,
        authority: &Authority,
        after: Option<Network>,
    ) -> (Vec<v1::AttachedNetwork>, Option<Network>) {
        let (mut found, mut last) = (Vec::new(), None);
        for (n, at) in authority.networks_after(after).enumerate() {
            if n >= LOOK && last != Some(at.network) {
                return (found, last);
            }
            last = Some(at.network);
            if self.takes(&at) {
                found.push(write(&at));
            }
        }
        (found, None)
    }
}

/// The list, page by page.
pub(super) fn list(
    handle: AuthorityHandle,
    v1::AttachedNetworkListRequest { nve, network }: v1::AttachedNetworkListRequest,
    sight: Sight,
) -> ReceiverStream<Result<v1::AttachedNetworkPage, Status>> {
    let wanted = Arc::new(Wanted { nve, network, sight });
    let (sender, pages) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut after = None;
        loop {
            let wanted = wanted.clone();
            let looked = handle.look(move |authority: &Authority| wanted.look(authority, after)).await;
            let (networks, last) = match looked {
                Ok(looked) => looked,
                Err(gone) => {
                    let _ = sender.send(Err(gone.into())).await;
                    return;
                }
            };
            let is_some = !networks.is_empty();
            if is_some && sender.send(Ok(v1::AttachedNetworkPage { networks })).await.is_err() {
                return;
            }
            if last.is_none() || sender.is_closed() {
                return;
            }
            after = last;
        }
    });
    ReceiverStream::new(pages)
}

fn write(at: &NetworkAt<'_>) -> v1::AttachedNetwork {
    let NetworkAt { network: (sir_prefix, vnid), declared, nve, at, gateway_mac } = at;
    let subnet = |(prefix, gateway): &(String, String)| v1::AttachedSubnet {
        prefix: prefix.clone(),
        gateway: gateway.clone(),
    };
    v1::AttachedNetwork {
        vnid: *vnid,
        sir_prefix: SirPrefix(*sir_prefix).to_string(),
        network: declared.unwrap_or_default().to_owned(),
        nve: (*nve).to_owned(),
        name: at.name.clone(),
        gateway_mac: at.gateway_mac.to_string(),
        expected_mac: gateway_mac.to_string(),
        subnets: at.subnets.iter().map(subnet).collect(),
    }
}
