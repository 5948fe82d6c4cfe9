//! The admin API: gRPC over the node's Unix socket (`proto/ilagate/admin/v1/admin.proto`).
//!
//! It judges what the configuration alone decides, and asks the control thread for the rest. It never touches
//! tables or packets.

mod caller;
mod control;
mod judge;
mod listing;
mod service;
mod socket;
mod streams;

pub use service::Service;
pub use socket::{Socket, SocketError};

use crate::api::{MAX_REQUEST_BYTES, v1};
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// Time for calls in flight to end when the node stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves `service` at `socket` until `stop` comes true, and removes the socket.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    mut socket: Socket,
    service: Service,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let Some(listener) = socket.take_listener() else { return Ok(()) };
    let (stopping, mut stopped) = watch::channel(false);
    let service = v1::admin_server::AdminServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES);
    let serving = Server::builder()
        .concurrency_limit_per_connection(32)
        .max_concurrent_streams(64)
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            stop.await;
            stopping.send_replace(true);
        });
    tokio::select! {
        ended = serving => ended,
        () = async {
            // A call without an end must not keep the node from stopping.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GRACE).await;
        } => Ok(()),
    }
}
