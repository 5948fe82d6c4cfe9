//! The lease of this run of an authority: what it says of sessions ends with it.

use super::link::{Link, answer};
use crate::config::EtcdConfig;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So long etcd keeps what an authority said that is gone.
const LIFETIME: Duration = Duration::from_secs(15);
/// Time between two signs of life, and before another try.
const BEAT: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_secs(1);

/// Has a lease and keeps it alive, as long as somebody wants to know.
pub(super) async fn keep(config: Arc<EtcdConfig>, lease: watch::Sender<Option<i64>>) {
    let mut link = Link::new(config);
    let mut alive = Instant::now();
    while !lease.is_closed() {
        let known = *lease.borrow();
        match beat(&mut link, known).await {
            Ok(id) => {
                alive = Instant::now();
                lease.send_if_modified(|known| known.replace(id) != Some(id));
                tokio::time::sleep(BEAT).await;
            }
            Err(why) => {
                tracing::debug!(why, "the lease is not kept alive");
                link.failed();
                // It is gone, or will be before it is kept alive again.
                if alive.elapsed() >= LIFETIME {
                    lease.send_if_modified(|known| known.take().is_some());
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The lease, which lives on: this one or a new one.
async fn beat(link: &mut Link, known: Option<i64>) -> Result<i64, String> {
    let mut client = link.client().await.map_err(|why| why.why())?;
    if let Some(id) = known {
        match answer(client.lease_keep_alive(id)).await {
            Ok(_) => return Ok(id),
            Err(why) => {
                let why = why.why();
                if !why.contains("lease not found") {
                    return Err(why);
                }
            }
        }
    }
    let granted = answer(client.lease_grant(LIFETIME.as_secs() as i64, None)).await;
    granted.map(|granted| granted.id()).map_err(|why| why.why())
}
