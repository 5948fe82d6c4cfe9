//! A registry moves from a file into etcd, and a backup is put there: into an empty prefix, as a new history.
//!
//! The file is held all the while, so that no authority runs on it. Once everything is in etcd, the file is fenced, and
//! then etcd gets its head. Whenever that is interrupted, at most one of both is a registry that an authority starts on:
//! the file until the fence, etcd after the head, and none between, where the next run goes on.

use super::backup::{begin_anew, open_whole, read};
use super::embedded::Moved;
use super::etcd::Filling;
use super::interface::{EPOCH, Progress, StoreError, Summary};
use crate::config::{EtcdConfig, StoreConfig};
use std::path::Path;

/// Copies a registry from a file into etcd, and fences the file. `epoch` is that of the new history, and `now_s` are the
/// seconds since 1970. Gives what is copied; nothing if that was done before.
///
/// # Errors
/// A process has the file open, it is damaged or moved elsewhere, the prefix is in use, or etcd refuses or does not answer.
pub fn migrate(
    from: &Path,
    to: &EtcdConfig,
    epoch: [u8; EPOCH],
    now_s: u64,
    progress: &mut Progress<'_>,
) -> Result<Option<Summary>, StoreError> {
    let source = open_whole(from, progress)?;
    let mut stored = source.read(progress)?;
    let (history, place) = (stored.epoch, StoreConfig::Etcd(to.clone()).to_string());
    let moved = source.moved()?;
    // Its members may be others, or called otherwise.
    if let Some(moved) = moved.as_ref().filter(|moved| !is_in(&moved.to, &to.prefix)) {
        let why = format!(
            "{}: its registry moved to {}, and not to {place}; make a backup there and restore it here",
            from.display(),
            moved.to
        );
        return Err(StoreError(why));
    }
    begin_anew(&mut stored, moved.as_ref().map_or(epoch, |moved| moved.epoch), (now_s, 0));
    let Some(mut filling) = Filling::begin(to, stored.epoch, history, from, moved.is_some())? else {
        return Ok(None);
    };
    filling.copy(&stored, progress)?;
    source.fence(&Moved { epoch: stored.epoch, to: place })?;
    filling.end(stored.revision)?;
    Ok(Some(Summary::of(&stored)))
}

/// Puts a backup into etcd, as a new history with this epoch. `now_s` are the seconds since 1970.
///
/// # Errors
/// The backup is damaged, the prefix is in use, or etcd refuses or does not answer.
pub fn restore(
    from: &Path,
    to: &EtcdConfig,
    epoch: [u8; EPOCH],
    now_s: u64,
    progress: &mut Progress<'_>,
) -> Result<Summary, StoreError> {
    let mut stored = read(from, progress)?;
    let history = stored.epoch;
    begin_anew(&mut stored, epoch, (now_s, 0));
    // An epoch that was just drawn is nowhere.
    if let Some(mut filling) = Filling::begin(to, stored.epoch, history, from, false)? {
        filling.copy(&stored, progress)?;
        filling.end(stored.revision)?;
    }
    Ok(Summary::of(&stored))
}

/// Whether a place in etcd, as a configuration shows it, is below this prefix.
fn is_in(place: &str, prefix: &str) -> bool {
    place.rsplit(' ').next() == Some(prefix)
}
