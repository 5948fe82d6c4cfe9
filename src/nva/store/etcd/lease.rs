//! The lease of this run of an authority: what it says of sessions ends with it.

use super::link::{Failure, Link, answer};
use crate::config::EtcdConfig;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So long etcd keeps what an authority said that is gone.
const LIFETIME: Duration = Duration::from_secs(15);
/// Time between two signs of life, and before another try.
const BEAT: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_secs(1);

/// A lease, or why etcd gives none; nothing is known of that before it answered.
pub(super) type Lent = Result<i64, Option<String>>;

/// Has a lease and keeps it alive, as long as somebody wants to know.
pub(super) async fn keep(config: Arc<EtcdConfig>, lease: watch::Sender<Lent>) {
    let mut link = Link::new(config);
    let mut alive = Instant::now();
    while !lease.is_closed() {
        let known = lease.borrow().as_ref().ok().copied();
        match beat(&mut link, known).await {
            Ok(id) => {
                alive = Instant::now();
                lease.send_if_modified(|known| std::mem::replace(known, Ok(id)) != Ok(id));
                tokio::time::sleep(BEAT).await;
            }
            Err(why) => {
                let refused = match &why {
                    Failure::Refused(why) => Some(why.clone()),
                    Failure::Unknown(_) => None,
                };
                let is_new = lease.borrow().is_err();
                let text = why.why();
                if refused.is_some() && is_new && *lease.borrow() != Err(refused.clone()) {
                    tracing::error!(why = text, "etcd gives no lease, and nothing is registered without one");
                }
                tracing::debug!(why = text, "the lease is not kept alive");
                link.failed();
                // It is gone, or will be before it is kept alive again.
                if is_new || alive.elapsed() >= LIFETIME {
                    lease.send_if_modified(|known| {
                        let now = Err(refused);
                        let differs = *known != now;
                        *known = now;
                        differs
                    });
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The lease, which lives on: this one or a new one.
async fn beat(link: &mut Link, known: Option<i64>) -> Result<i64, Failure> {
    let mut client = link.client().await?;
    if let Some(id) = known {
        match answer(client.lease_keep_alive(id)).await {
            Ok(_) => return Ok(id),
            Err(Failure::Refused(why)) if why.contains("lease not found") => {}
            Err(why) => return Err(why),
        }
    }
    let granted = answer(client.lease_grant(LIFETIME.as_secs() as i64, None)).await;
    granted.map(|granted| granted.id())
}
