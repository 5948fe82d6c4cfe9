//! The list of authorities that are trusted no longer (`nva.tls.revoked`): read for each session, and again while it lasts.

use super::super::stats::Stats;
use crate::tls::TlsError;
use crate::tls::client::Peer;
use crate::tls::revoked::Revoked;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time between two looks at the list.
const RELOOK: Duration = Duration::from_secs(3);

/// Reads the list; there is none without a file. Operators are told once that it cannot be read, and once that it can be
/// again.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(list: Option<&Path>, stats: &Stats) -> Result<Revoked, TlsError> {
    let read = Revoked::read(list);
    let is_bad = u64::from(read.is_err());
    let was_bad = stats.nva.unread_revocations.swap(is_bad, Ordering::Relaxed);
    match &read {
        Err(why) if was_bad == 0 => {
            tracing::warn!(%why, "the list of revoked certificates cannot be read: no session with an authority begins");
        }
        Ok(_) if was_bad != 0 => tracing::info!("the list of revoked certificates is read again"),
        Ok(_) | Err(_) => {}
    }
    read
}

/// Waits until an authority is on the list of those who are trusted no longer. A list that cannot be read changes nothing.
pub(super) async fn is_revoked(peer: Peer, list: Option<PathBuf>, stats: Arc<Stats>) -> String {
    let Some(list) = list else { return std::future::pending().await };
    loop {
        tokio::time::sleep(RELOOK).await;
        if let Ok(Err(why)) = read(Some(&list), &stats).map(|revoked| peer.judge(&revoked)) {
            return why.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_shows_until_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("revoked");
        let stats = Stats::new("n".into(), Vec::new(), &[], 0);
        let shows = || stats.nva.unread_revocations.load(Ordering::Relaxed);
        assert!(read(None, &stats).is_ok() && shows() == 0);
        for _ in 0..2 {
            assert!(read(Some(&list), &stats).is_err() && shows() == 1);
        }
        std::fs::write(&list, "what is no entry").unwrap();
        assert!(read(Some(&list), &stats).is_err() && shows() == 1);
        std::fs::write(&list, "# nobody\n").unwrap();
        assert!(read(Some(&list), &stats).is_ok() && shows() == 0);
    }
}
