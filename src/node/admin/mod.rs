//! The admin API: gRPC over the node's Unix socket (`proto/ilagate/admin/v1/admin.proto`).
//!
//! It judges what can be judged by the configuration alone, asks the control thread for the rest, and never touches
//! tables or packets itself.

mod service;
mod socket;
pub mod wire;

pub use service::Service;
pub use socket::{Socket, SocketError};

use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// Messages, client and server, made from the `.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("ilagate.admin.v1");
}

/// Most changes of one batch.
pub const MAX_BATCH: usize = 10_000;
/// Largest request: a full batch with every locator.
pub const MAX_REQUEST_BYTES: usize = 32 << 20;
/// Time for calls in flight to end when the node stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves `service` at `socket` until `stop` comes true, and removes the socket.
///
/// # Errors
/// When the socket fails.
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
            // A watcher that never hangs up must not keep the node.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GRACE).await;
        } => Ok(()),
    }
}
