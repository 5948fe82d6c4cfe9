//! The stream to an authority, from the connection to its end.

use super::{Event, revocation};
use crate::config::{NvaEndpoint, TlsFiles};
use crate::node::stats::Stats;
use crate::nva::codec::read_down_and_count;
use crate::nva::v1::nva_client::NvaClient;
use crate::tls::client::Peer;
use crate::tls::connect::connect_without;
use crate::tls::{Identity, Role};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Messages of a stream that wait, each way.
pub(super) const WAITING: usize = 1_024;
/// Largest message in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// One stream, from the connection to its end.
pub(super) async fn stream(
    endpoint: &NvaEndpoint,
    (tls, list): (Option<&TlsFiles>, Option<&Path>),
    node: &str,
    number: u64,
    (events, stats): (&mpsc::Sender<Event>, &Arc<Stats>),
) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| why.to_string();
    let is_own = |identity: &Identity| {
        let is_own = identity.role() == Role::Nve && identity.name() == node;
        is_own
            .then_some(())
            .ok_or_else(|| format!("it is of {identity}, and this node is the NVE {node}; name another one"))
    };
    let peer = Peer::default();
    let revoked = revocation::read(list, stats).map_err(|why| failed(&why))?;
    let channel = connect_without(endpoint, tls, is_own, (revoked, peer.clone())).await?;
    let list = list.map(Path::to_owned);
    let session = session(channel, number, (events, stats));
    tokio::select! {
        ended = session => ended,
        why = revocation::is_revoked(peer, list, stats.clone()) => Err(why),
    }
}

/// A session over a connection, to its end.
async fn session(
    channel: Channel,
    number: u64,
    (events, stats): (&mpsc::Sender<Event>, &Stats),
) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| why.to_string();
    let mut client = NvaClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (up, ups) = mpsc::channel(WAITING);
    let gone = |_| "the node is shutting down".to_owned();
    // The authority answers once the stream is there, and the first message may come before.
    events.send(Event::Opened(number, up)).await.map_err(gone)?;
    let mut downs = client.session(ReceiverStream::new(ups)).await.map_err(|why| failed(&why))?.into_inner();
    while let Some(message) = downs.message().await.map_err(|why| failed(&why))? {
        let mut odd = 0;
        let down = read_down_and_count(message, &mut odd).map_err(|why| failed(&why))?;
        if odd > 0 {
            stats.nva.left_out(odd);
            tracing::error!(mappings = odd, "mappings of the authority cannot be read, and are left out");
        }
        events.send(Event::Down(number, down)).await.map_err(gone)?;
    }
    Ok(())
}
