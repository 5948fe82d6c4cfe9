//! The watch on real files in directories of their own.

use super::*;
use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind, RenameMode};
use std::io::Write;
use std::sync::mpsc::channel;

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
    let file = MappingFile { file: path.clone(), watch: true, max_bytes: 1 << 20, max_deletions_percent: 20 };
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
    let file =
        MappingFile { file: at("mappings.yaml"), watch: true, max_bytes: 1 << 20, max_deletions_percent: 20 };
    let seen = Fingerprint::of(&file.file);
    let _watch = start(&file, seen, config, move |news| tell.send(news).is_ok()).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let news = told.recv_timeout(Duration::from_secs(4)).unwrap().unwrap();
    assert!(format!("{news:?}").contains("fd00:1:0:3"), "{news:?}");
}

#[test]
fn a_file_that_is_being_written_is_read_when_it_is_complete_and_never_before() {
    let dir = tempfile::tempdir().unwrap();
    let (path, told, _watch) = watched(dir.path());
    // Until the directory is watched, a file that does not change for a second counts as complete.
    let new = dir.path().join("new");
    std::fs::write(&new, mapping("fd00:1:0:3::/64")).unwrap();
    std::fs::rename(&new, &path).unwrap();
    told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    let line = |n: u32| format!("  - {{sir: \"2001:db8:dddd:0:2000::{n}\", blackhole: true}}\n");
    // In place from the start, at the end, and by a link to it: each time half of the file is a whole one.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for (n, (name, append)) in [(&path, false), (&path, true), (&link, true)].into_iter().enumerate() {
        let before = if append { n as u32 } else { 0 };
        let mut file =
            std::fs::File::options().write(true).truncate(!append).append(append).open(name).unwrap();
        let half = if append { line(10 * n as u32) } else { format!("mappings:\n{}", line(7)) };
        file.write_all(half.as_bytes()).unwrap();
        // Something else happens in the directory: the watch looks around.
        std::fs::write(dir.path().join("other"), "x").unwrap();
        assert!(told.recv_timeout(Duration::from_millis(800)).is_err(), "half a file was read");
        file.write_all(line(10 * n as u32 + 1).as_bytes()).unwrap();
        drop(file);
        let records = told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(records.len() as u32, 2 + 2 * before);
    }
}

#[test]
fn a_file_that_changed_before_its_directory_was_watched_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mappings.yaml");
    std::fs::write(&path, mapping("fd00:1:0:2::/64")).unwrap();
    let config = Arc::new(Config::parse(CONFIG, "test.yaml").unwrap());
    let (tell, told) = channel();
    let file = MappingFile { file: path, watch: true, max_bytes: 1 << 20, max_deletions_percent: 20 };
    let _watch = start(&file, None, config, move |news| tell.send(news).is_ok()).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap().len(), 1);
}

#[test]
fn what_is_no_file_is_told_of_and_a_file_after_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (path, told, _watch) = watched(dir.path());
    let (pipe, new) = (dir.path().join("pipe"), dir.path().join("new"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::rename(&pipe, &path).unwrap();
    let why = told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err().to_string();
    assert!(why.contains("named pipe"), "{why}");
    std::fs::write(&new, mapping("fd00:1:0:3::/64")).unwrap();
    std::fs::rename(&new, &path).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap().len(), 1);
}

#[test]
fn a_write_is_the_beginning_and_a_close_or_another_file_the_end() {
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    let closed = |mode| EventKind::Access(AccessKind::Close(mode));
    for (kind, of_ours, of_another) in [
        (data, Change::Written, Change::None),
        (closed(AccessMode::Write), Change::Closed, Change::Complete),
        (closed(AccessMode::Read), Change::None, Change::None),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), Change::None, Change::None),
        (renamed, Change::Closed, Change::Complete),
        (EventKind::Remove(RemoveKind::File), Change::Closed, Change::Complete),
        (EventKind::Create(CreateKind::File), Change::None, Change::None),
        (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), Change::None, Change::None),
        (EventKind::Other, Change::Unknown, Change::Unknown),
    ] {
        let of = |name: &str| {
            let event = notify::Event::new(kind).add_path(Path::new("/d").join(name));
            change(&event, Path::new("/d/mappings.yaml"))
        };
        assert_eq!((of("mappings.yaml"), of("another")), (of_ours, of_another), "{kind:?}");
    }
}

#[test]
fn dropping_the_watch_ends_its_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (_, told, watch) = watched(dir.path());
    drop(watch);
    assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap_err(), RecvTimeoutError::Disconnected);
}
