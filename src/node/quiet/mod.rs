//! Keeps the kernel of the host quiet on the interfaces that ports use.
//!
//! A port on AF_PACKET or AF_XDP reads the frames of an interface that stays the kernel's. Unless it is silenced, the
//! kernel answers there as well: it takes router advertisements, answers ARP, Neighbour Discovery and TCP, and forwards
//! copies of packets by its own routes. A node silences it before it opens a port, and restores what it found when it
//! ends. An interface that serves the host is refused, never silenced.
//!
//! `plan` decides, `kernel`, `ethtool` and `link` read and set, `record` remembers across a node that was killed.

mod ethtool;
mod kernel;
mod link;
mod netlink;
mod plan;
mod record;

use kernel::Kernel;
use plan::{Change, Facts, Peer};
use record::{Content, Record, RecordError};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long `ilagate restore` may have the record of a node that starts.
const RESTORING: Duration = Duration::from_secs(2);
/// Time between two looks whether it still has.
const LOOK: Duration = Duration::from_millis(20);

/// Why an interface is not the node's.
#[derive(Debug, thiserror::Error)]
pub enum QuietError {
    /// There is no such interface.
    #[error(
        "port {port}: interface {interface} cannot be looked at: {why}; see ip link, and the network namespace of \
             this process"
    )]
    Unknown {
        /// The port.
        port: String,
        /// The interface.
        interface: String,
        /// What the operating system says.
        why: io::Error,
    },
    /// The interface serves the host.
    #[error("port {port}: interface {interface} {does}")]
    Occupied {
        /// The port.
        port: String,
        /// The interface.
        interface: String,
        /// What it does for the host, and the way out.
        does: String,
    },
    /// The kernel does not take a setting.
    #[error(
        "the kernel answers on interface {interface} beside this node, and it cannot be silenced: {why}; run as root \
             with a writable /proc/sys, or type before the start: {commands}"
    )]
    Denied {
        /// The interface.
        interface: String,
        /// What the operating system says.
        why: io::Error,
        /// What does the same by hand.
        commands: String,
    },
    /// The kernel does not take back a setting.
    #[error(
        "what {path} says is not restored: {why}; run as root with a writable /proc/sys, or type: {commands}, and \
             remove the file"
    )]
    NotRestored {
        /// The record, which stays.
        path: PathBuf,
        /// What the operating system says of the first one.
        why: io::Error,
        /// What does it by hand.
        commands: String,
    },
    /// Another process has the node's record.
    #[error("{0} is locked by a node that runs; stop it, or give each node a name of its own")]
    Held(PathBuf),
    /// The record cannot be kept.
    #[error(
        "{path}: what is changed at interfaces cannot be kept there: {why}; run as root, or set RUNTIME_DIRECTORY"
    )]
    Record {
        /// The record.
        path: PathBuf,
        /// What the operating system says.
        why: io::Error,
    },
    /// The interfaces are in another network namespace.
    #[error(
        "{0} is of another network namespace; run this there (ip netns exec NAME), or remove the file if that \
             namespace is gone"
    )]
    Namespace(PathBuf),
}

/// The kernel's silence on the interfaces of a node's ports. Dropping it restores what was before.
pub struct Quiet {
    kernel: Kernel,
    path: PathBuf,
    record: Option<Record>,
    content: Content,
}

impl Quiet {
    /// Silences the kernel on interfaces, each with the name of its port, for the node of this name.
    ///
    /// All interfaces are looked at before the first one is changed.
    ///
    /// # Errors
    /// [`QuietError`]; nothing is changed then.
    pub fn start(node: &str, ports: &[(String, String)]) -> Result<Quiet, QuietError> {
        Quiet::start_in(&record::directory(), node, ports)
    }

    fn start_in(directory: &Path, node: &str, ports: &[(String, String)]) -> Result<Quiet, QuietError> {
        let kernel = Kernel::open();
        let path = Record::path(directory, node);
        let record = patiently(|| Record::open(&path)).map_err(|why| refused(&path, why))?;
        let namespace = kernel::namespace().map_err(|why| refused(&path, why.into()))?;
        let mut left = record.as_ref().map(Record::read).unwrap_or_default();
        if left.namespace != namespace && !left.changes.is_empty() {
            let file = path.display();
            tracing::warn!(%file, "interfaces of another network namespace are not restored");
            left.changes.clear();
        }
        let (mut planned, mut used) = (Vec::new(), BTreeSet::new());
        for (port, interface) in ports {
            let facts = look(&kernel, port, interface)?;
            planned.extend(plan::changes(&facts));
            used.insert(facts.index);
            if facts.peer == Peer::OtherNamespace {
                tracing::info!(
                    port,
                    interface,
                    "the other end of this pair is in another network namespace: see that it leaves no checksums and \
                     segments to the device (ethtool -K DEV tx off)"
                );
            }
            if let Peer::Here { index, .. } = facts.peer {
                used.insert(index);
            }
        }
        // What only the node before this one used, which was killed, is restored now.
        let (kept, gone): (Vec<_>, Vec<_>) =
            left.changes.into_iter().partition(|change| used.contains(&change.index));
        let not_restored = remaining(restore(&kernel, &gone).failed, &path);
        let mut changes = kept;
        if let Some((still, why)) = not_restored {
            tracing::warn!("{why}");
            changes.extend(still);
        }
        let mut quiet = Quiet { kernel, path, record, content: Content { namespace, changes } };
        quiet.make(planned)?;
        Ok(quiet)
    }

    /// Silences the kernel on an interface that a port made by itself (TAP). It is gone with the port, and nothing is
    /// restored. In another network namespace it has the settings of that.
    ///
    /// # Errors
    /// [`QuietError::Unknown`] and [`QuietError::Denied`].
    pub fn hush_made(&self, port: &str, index: u32) -> Result<(), QuietError> {
        let Some(interface) = kernel::named(index) else { return Ok(()) };
        let facts = self.kernel.facts(&interface).map_err(|why| unknown(port, &interface, why))?;
        // It is not there before the start. What is made later takes over the settings of `default`.
        apply(&self.kernel, &plan::changes(&facts)).map_err(|why| match why {
            QuietError::Denied { interface, why, commands } => {
                let commands = commands.replace(&format!("/conf/{interface}/"), "/conf/default/");
                QuietError::Denied { interface, why, commands }
            }
            why => why,
        })
    }

    /// Silences the kernel on one more interface, or on one that was made anew.
    ///
    /// # Errors
    /// As of [`Quiet::start`]; the interface may be changed in part then, which is restored at the end.
    pub fn add(&mut self, port: &str, interface: &str) -> Result<(), QuietError> {
        let facts = look(&self.kernel, port, interface)?;
        // What is gone is not restored. An interface that comes again and again leaves nothing behind.
        let kernel = &self.kernel;
        self.content.changes.retain(|change| kernel.today(change).is_some());
        self.make(plan::changes(&facts))
    }

    /// Records changes, and makes them.
    fn make(&mut self, changes: Vec<Change>) -> Result<(), QuietError> {
        if !changes.is_empty() && self.record.is_none() {
            self.record =
                Some(patiently(|| Record::create(&self.path)).map_err(|why| refused(&self.path, why))?);
        }
        self.content.changes = plan::merge(std::mem::take(&mut self.content.changes), changes.clone());
        if let Some(record) = &self.record {
            record.write(&self.content).map_err(|why| refused(&self.path, why.into()))?;
        }
        for change in &changes {
            tracing::info!(interface = change.interface, "kernel is kept quiet: {change}");
        }
        apply(&self.kernel, &changes)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let Restored { failed, .. } = restore(&self.kernel, &self.content.changes);
        let Some(record) = self.record.take() else { return };
        let why = match remaining(failed, &self.path) {
            None => record.remove().err(),
            Some((changes, why)) => {
                tracing::warn!("{why}");
                self.content.changes = changes;
                record.write(&self.content).err()
            }
        };
        if let Some(why) = why {
            tracing::warn!(file = %self.path.display(), %why, "record of changed interfaces is not renewed");
        }
    }
}

/// Restores what nodes that were killed have changed; the commands that did it, in words.
///
/// # Errors
/// A node that runs, interfaces of another network namespace, or no permission. Other records are restored all the
/// same.
pub fn restore_all() -> (Vec<String>, Vec<QuietError>) {
    restore_in(&record::directory())
}

fn restore_in(directory: &Path) -> (Vec<String>, Vec<QuietError>) {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    let kernel = Kernel::open();
    for path in record::all(directory) {
        match restore_one(&kernel, &path) {
            Ok((commands, failed)) => {
                done.extend(commands);
                errors.extend(failed);
            }
            Err(why) => errors.push(why),
        }
    }
    (done, errors)
}

fn restore_one(kernel: &Kernel, path: &Path) -> Result<(Vec<String>, Option<QuietError>), QuietError> {
    let record = Record::open(path).map_err(|why| refused(path, why))?;
    let Some(record) = record else { return Ok((Vec::new(), None)) };
    let content = record.read();
    let namespace = kernel::namespace().map_err(|why| refused(path, why.into()))?;
    if content.namespace != namespace && !content.changes.is_empty() {
        return Err(QuietError::Namespace(path.to_owned()));
    }
    let Restored { done, failed } = restore(kernel, &content.changes);
    let Some((changes, why)) = remaining(failed, path) else {
        record.remove().map_err(|why| refused(path, why.into()))?;
        return Ok((done, None));
    };
    record.write(&Content { changes, ..content }).map_err(|why| refused(path, why.into()))?;
    Ok((done, Some(why)))
}

/// Looks at the interface of a port, and refuses one that serves the host.
fn look(kernel: &Kernel, port: &str, interface: &str) -> Result<Facts, QuietError> {
    let facts = kernel.facts(interface).map_err(|why| unknown(port, interface, why))?;
    if let Some(does) = plan::occupied(&facts) {
        let (port, interface) = (port.to_owned(), interface.to_owned());
        return Err(QuietError::Occupied { port, interface, does });
    }
    Ok(facts)
}

/// Makes changes, up to the first one that the kernel refuses.
fn apply(kernel: &Kernel, changes: &[Change]) -> Result<(), QuietError> {
    for (n, change) in changes.iter().enumerate() {
        kernel.set(change, &change.after).map_err(|why| QuietError::Denied {
            interface: change.interface.clone(),
            why,
            commands: changes[n..].iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })?;
    }
    Ok(())
}

/// What became of changes that were to be taken back.
#[derive(Default)]
struct Restored {
    /// The commands that would do it.
    done: Vec<String>,
    /// What the kernel refused, in the order in which it was tried.
    failed: Vec<(Change, io::Error)>,
}

/// What is left to restore, in the order in which it was changed, and the words for it; `None`: nothing.
fn remaining(failed: Vec<(Change, io::Error)>, path: &Path) -> Option<(Vec<Change>, QuietError)> {
    let commands: Vec<String> = failed.iter().map(|(change, _)| change.reversed().to_string()).collect();
    let (mut changes, mut causes): (Vec<Change>, Vec<io::Error>) = failed.into_iter().unzip();
    changes.reverse();
    causes.truncate(1);
    let (path, commands) = (path.to_owned(), commands.join("; "));
    causes.pop().map(|why| (changes, QuietError::NotRestored { path, why, commands }))
}

/// Takes changes back, the last one first. What somebody else has set since stays.
fn restore(kernel: &Kernel, changes: &[Change]) -> Restored {
    let mut restored = Restored::default();
    for change in changes.iter().rev().filter_map(|change| kernel.today(change)) {
        let current = kernel.current(&change);
        if current.as_ref() != Some(&change.after) || change.before == change.after {
            continue;
        }
        let back = change.reversed();
        match kernel.set(&change, &change.before) {
            Ok(()) => restored.done.push(back.to_string()),
            Err(why) => restored.failed.push((change, why)),
        }
    }
    restored
}

/// Gets a record that `ilagate restore` has for a moment, and not one of a node that runs.
fn patiently<T>(get: impl Fn() -> Result<T, RecordError>) -> Result<T, RecordError> {
    let begun = Instant::now();
    loop {
        match get() {
            Err(RecordError::Held) if begun.elapsed() < RESTORING => std::thread::sleep(LOOK),
            got => return got,
        }
    }
}

fn unknown(port: &str, interface: &str, why: io::Error) -> QuietError {
    QuietError::Unknown { port: port.to_owned(), interface: interface.to_owned(), why }
}

fn refused(path: &Path, why: RecordError) -> QuietError {
    match why {
        RecordError::Held => QuietError::Held(path.to_owned()),
        RecordError::Refused(why) => QuietError::Record { path: path.to_owned(), why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_of_the_host_is_refused_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let start = |interface: &str| {
            Quiet::start_in(dir.path(), "n", &[("fab".into(), interface.into())])
                .err()
                .map(|why| why.to_string())
        };
        let text = start("lo").unwrap();
        assert!(text.starts_with("port fab: interface lo has addresses of this host (127.0.0.1"), "{text}");
        let text = start("no-such-if").unwrap();
        assert!(text.contains("no-such-if") && text.contains("ip link"), "{text}");
        assert!(record::all(dir.path()).is_empty());
    }

    #[test]
    fn a_node_without_such_ports_keeps_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = Quiet::start_in(&dir.path().join("never"), "n", &[]).unwrap();
        drop(quiet);
        assert!(!dir.path().join("never").exists());
    }

    #[test]
    fn the_record_of_a_node_that_runs_is_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Record::path(dir.path(), "n");
        let running = Record::create(&path).unwrap();
        running.write(&Content { namespace: kernel::namespace().unwrap(), changes: Vec::new() }).unwrap();
        assert!(matches!(Quiet::start_in(dir.path(), "n", &[]), Err(QuietError::Held(_))));
        let (done, errors) = restore_in(dir.path());
        assert!(done.is_empty() && matches!(errors[..], [QuietError::Held(_)]) && path.exists());
        drop(running);
        let (done, errors) = restore_in(dir.path());
        assert!(done.is_empty() && errors.is_empty() && !path.exists());
    }

    #[test]
    fn a_start_waits_for_who_restores_what_is_left_of_the_node_before() {
        let dir = tempfile::tempdir().unwrap();
        let restoring = Record::create(&Record::path(dir.path(), "n")).unwrap();
        let (begun, wait) = (Instant::now(), Duration::from_millis(200));
        let restores = std::thread::spawn(move || {
            std::thread::sleep(wait);
            restoring.remove().unwrap();
        });
        drop(Quiet::start_in(dir.path(), "n", &[]).unwrap());
        assert!(begun.elapsed() >= wait);
        restores.join().unwrap();
    }

    #[test]
    fn what_the_kernel_does_not_take_back_stays_in_the_record_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = Record::path(dir.path(), "n");
        let kernel = Kernel::open();
        let facts = kernel.facts("lo").unwrap();
        let value = facts.sysctls["ipv4/forwarding"].clone();
        // A value that nobody may set, root neither.
        let change = |before: &str, after: &str| Change {
            interface: "lo".into(),
            index: facts.index,
            inode: facts.inode,
            setting: plan::Setting::Sysctl("ipv4/forwarding".into()),
            before: before.into(),
            after: after.into(),
        };
        let changes = vec![change("no number", &value), change("0", "something else by now")];
        let record = Record::create(&path).unwrap();
        let namespace = kernel::namespace().unwrap();
        record.write(&Content { namespace, changes: changes.clone() }).unwrap();
        drop(record);
        for _ in 0..2 {
            let (done, errors) = restore_in(dir.path());
            let [why @ QuietError::NotRestored { .. }] = &errors[..] else { panic!("{errors:?}") };
            let why = why.to_string();
            assert!(done.is_empty() && why.contains("net/ipv4/conf/lo/forwarding=no number"), "{why}");
            let left = Record::open(&path).unwrap().unwrap().read();
            assert_eq!(left, Content { namespace, changes: changes[..1].to_vec() });
        }
        // The end of a node keeps it as well.
        drop(Quiet::start_in(dir.path(), "n", &[]).unwrap());
        assert_eq!(Record::open(&path).unwrap().unwrap().read().changes, changes[..1]);
    }

    #[test]
    fn an_interface_that_comes_again_and_again_leaves_no_trace() {
        let kernel = Kernel::open();
        let facts = kernel.facts("lo").unwrap();
        let change = |interface: &str, index, inode| Change {
            interface: interface.into(),
            index,
            inode,
            setting: plan::Setting::Sysctl("ipv4/forwarding".into()),
            before: "1".into(),
            after: "0".into(),
        };
        let today = |change: Change| kernel.today(&change).map(|change| change.interface);
        let (index, inode) = (facts.index, facts.inode);
        for there in [change("lo", index, inode), change("renamed", index, inode), change("lo", index, 0)] {
            assert_eq!(today(there).as_deref(), Some("lo"));
        }
        for gone in
            [change("lo", index, inode + 1), change("lo", index + 1, 0), change("no-such-if", index, 0)]
        {
            assert_eq!(today(gone), None);
        }
    }

    #[test]
    fn a_record_of_another_network_namespace_stays_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::create(&Record::path(dir.path(), "n")).unwrap();
        let change = Change {
            interface: "fab0".into(),
            index: 1,
            inode: 0,
            setting: plan::Setting::Sysctl("ipv4/forwarding".into()),
            before: "1".into(),
            after: "0".into(),
        };
        record.write(&Content { namespace: 1, changes: vec![change] }).unwrap();
        drop(record);
        let (_, errors) = restore_in(dir.path());
        assert!(matches!(errors[..], [QuietError::Namespace(_)]));
        assert_eq!(record::all(dir.path()).len(), 1);
        // A new start of that node takes the record over.
        drop(Quiet::start_in(dir.path(), "n", &[]).unwrap());
        assert!(record::all(dir.path()).is_empty());
    }
}
