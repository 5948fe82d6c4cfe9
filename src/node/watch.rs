//! Watches the mapping file on a thread of its own, and reads it again when it changed.
//!
//! The thread watches the directory, not the file, so that it sees a file that is put in place by renaming.
//! It also checks the file every 5 s, for file systems that report no changes. A file that is wrong is
//! reported with all its errors.

use crate::config::{Config, ConfigErrors, Fingerprint, MappingFile, mappings};
use crate::mapping::MappingRecord;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Quiet time after a change before the file is read.
const QUIET: Duration = Duration::from_millis(200);
/// A file that changes without a pause is read after this.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two checks without a report of a change.
const CHECK: Duration = Duration::from_secs(5);

/// What a reading of the file gave.
pub type News = Result<Vec<MappingRecord>, ConfigErrors>;

enum Wake {
    Changed,
    Stop,
}

/// A watch; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    _watcher: Option<RecommendedWatcher>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread ends by itself if it is gone already.
        let _ = self.wake.send(Wake::Stop);
    }
}

/// Watches `file`, which was in the state `seen` when it was read last. Every later reading goes to `report`,
/// which says whether anybody still listens.
///
/// # Errors
/// The operating system starts no thread.
pub fn start(
    file: &MappingFile,
    seen: Option<Fingerprint>,
    config: Arc<Config>,
    report: impl Fn(News) -> bool + Send + 'static,
) -> std::io::Result<Watch> {
    let (wake, woken) = channel();
    let directory = match file.file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => Path::new(".").to_owned(),
    };
    let changed = wake.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an event too. It is no change.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = changed.send(Wake::Changed);
        }
    })
    .and_then(|mut watcher| watcher.watch(&directory, RecursiveMode::NonRecursive).map(|()| watcher));
    let watcher = match watcher {
        Ok(watcher) => Some(watcher),
        Err(why) => {
            tracing::warn!(directory = %directory.display(), %why, "changes to mappings are seen only every 5 s");
            None
        }
    };
    let path = file.file.clone();
    std::thread::Builder::new()
        .name("ilagate-watch".into())
        .spawn(move || watch(&path, seen, &config, &woken, report))?;
    Ok(Watch { wake, _watcher: watcher })
}

fn watch(
    path: &Path,
    mut seen: Option<Fingerprint>,
    config: &Config,
    woken: &Receiver<Wake>,
    report: impl Fn(News) -> bool,
) {
    loop {
        match woken.recv_timeout(CHECK) {
            Ok(Wake::Changed) if !settle(woken) => return,
            Ok(Wake::Changed) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Fingerprint::of(path);
        if now == seen {
            continue;
        }
        seen = now;
        // A file that is gone is an error to report. Between removal and renaming it is only not there yet.
        if !report(mappings::load(path, config)) {
            return;
        }
    }
}

/// Waits until nothing changes for 0.2 s, at most 2 s; `false`: stop.
fn settle(woken: &Receiver<Wake>) -> bool {
    let start = Instant::now();
    while start.elapsed() < SETTLE_TIMEOUT {
        match woken.recv_timeout(QUIET) {
            Ok(Wake::Changed) => {}
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
ports: [{name: f, device: net_null0, role: fabric, addresses: ["fd00:1::1/64"]}]
"#;

    fn mapping(locator: &str) -> String {
        format!("mappings:\n  - {{sir: \"2001:db8:dddd:0:2000::1\", locators: [\"{locator}\"]}}\n")
    }

    fn watched(dir: &Path) -> (PathBuf, Receiver<News>, Watch) {
        let path = dir.join("mappings.yaml");
        std::fs::write(&path, mapping("fd00:1:0:2::/64")).unwrap();
        let config = Arc::new(Config::parse(CONFIG, "test.yaml").unwrap());
        let (tell, told) = channel();
        let file = MappingFile { file: path.clone(), watch: true, max_bytes: 1 << 20 };
        let seen = Fingerprint::of(&path);
        let watch = start(&file, seen, config, move |news| tell.send(news).is_ok()).unwrap();
        (path, told, watch)
    }

    #[test]
    fn a_file_put_in_place_by_renaming_is_read_and_a_broken_one_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (path, told, _watch) = watched(dir.path());
        let other = dir.path().join("new");
        std::fs::write(&other, mapping("fd00:1:0:3::/64")).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let news = told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        assert!(format!("{news:?}").contains("fd00:1:0:3"), "{news:?}");
        std::fs::write(&path, "mappings: [{sir: nonsense}]").unwrap();
        assert!(told.recv_timeout(Duration::from_secs(10)).unwrap().is_err());
        std::fs::write(&other, "something else happens in the directory").unwrap();
        assert!(told.recv_timeout(Duration::from_millis(600)).is_err());
    }

    #[test]
    fn a_file_that_vanishes_is_told_of_and_read_again_when_it_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, told, _watch) = watched(dir.path());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let why = told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err().to_string();
        assert!(why.contains("cannot be read"), "{why}");
        std::fs::write(&path, "").unwrap();
        assert!(told.recv_timeout(Duration::from_secs(10)).unwrap().is_err());
        std::fs::write(&path, text).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn a_link_that_is_swapped_as_kubernetes_does_is_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, locator) in [("..1", "fd00:1:0:2::/64"), ("..2", "fd00:1:0:3::/64")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("mappings.yaml"), mapping(locator)).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/mappings.yaml", at("mappings.yaml")).unwrap();
        let config = Arc::new(Config::parse(CONFIG, "test.yaml").unwrap());
        let (tell, told) = channel();
        let file = MappingFile { file: at("mappings.yaml"), watch: true, max_bytes: 1 << 20 };
        let seen = Fingerprint::of(&file.file);
        let _watch = start(&file, seen, config, move |news| tell.send(news).is_ok()).unwrap();
        symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        let news = told.recv_timeout(Duration::from_secs(4)).unwrap().unwrap();
        assert!(format!("{news:?}").contains("fd00:1:0:3"), "{news:?}");
    }

    #[test]
    fn dropping_the_watch_ends_its_thread() {
        let dir = tempfile::tempdir().unwrap();
        let (_, told, watch) = watched(dir.path());
        drop(watch);
        assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap_err(), RecvTimeoutError::Disconnected);
    }
}
