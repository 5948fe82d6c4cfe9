//! The kernel's interface under a port. Another one may get its name, and its number too: what tells them apart is the
//! inode of the directory in which the kernel shows the interface, as long as it lives and wherever it is moved to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The interface that a port was opened on, or that it made.
#[derive(Debug)]
pub(super) struct Underlay {
    /// Where the kernel shows the interfaces of this network namespace.
    all: PathBuf,
    name: String,
    inode: u64,
    /// MTU of the port, in bytes.
    mtu: u16,
    /// Whether the port made it.
    made: bool,
    /// Where the kernel tells of the files by which this process holds an interface that the port made. Such an
    /// interface is there as long as one of them is, also in another network namespace.
    files: Vec<PathBuf>,
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Unknown,
    Yes,
    No,
    /// The interface is set down.
    Down,
}

/// Where the interface is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here { renamed: bool, carrier: Carrier, mtu: Option<u32> },
    OtherNamespace,
    Gone { another: bool },
}

impl Underlay {
    /// Remembers the interface of this name as it is now; `None` if there is none.
    pub(super) fn of(interface: &str, mtu: u16) -> Option<Self> {
        Underlay::in_dir(Path::new("/sys/class/net"), interface, mtu)
    }

    /// Remembers the interface of this number, which a port of this process has just made by `/dev/net/tun`.
    pub(super) fn made(index: u32, mtu: u16) -> Option<Self> {
        let all = Path::new("/sys/class/net");
        let dir = find(all, |dir| number(dir, "ifindex") == Some(index))?;
        let (name, inode) = (dir.file_name()?.to_str()?.to_owned(), inode(&dir)?);
        let entries = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|file| holds(file).as_deref() == Some(&name));
        Some(Underlay { made: true, files: files.collect(), all: all.to_owned(), name, inode, mtu })
    }

    fn in_dir(all: &Path, interface: &str, mtu: u16) -> Option<Self> {
        let name = Some(interface).filter(|name| !name.contains('/'))?.to_owned();
        let inode = inode(&all.join(interface))?;
        Some(Underlay { all: all.to_owned(), name, inode, mtu, made: false, files: Vec::new() })
    }

    /// Whether the port itself made the interface.
    pub(super) fn is_made(&self) -> bool {
        self.made
    }

    /// The port closes the files by which it holds its interface. Those of other ports may get their numbers.
    pub(super) fn let_go(&mut self) {
        self.files.clear();
    }

    /// Whether it is gone and the port could be opened anew: another interface has its name, or the port makes one.
    pub(super) fn can_be_replaced(&self) -> bool {
        matches!(self.place(), Place::Gone { another } if another || self.is_made())
    }

    /// Whether the port can use it, and what is wrong with it; empty if nothing.
    pub(super) fn state(&self) -> (bool, &'static str) {
        judge(self.mtu, self.place())
    }

    fn place(&self) -> Place {
        let named = self.all.join(&self.name);
        let now = inode(&named);
        let is_it = |dir: &Path| inode(dir) == Some(self.inode);
        let held = self.files.iter().find_map(|file| holds(file));
        let here = match &held {
            _ if now == Some(self.inode) => Some(named.clone()),
            // The kernel tells its name by the file, in whichever namespace it is.
            Some(name) => Some(self.all.join(name)).filter(|dir| is_it(dir)),
            None => find(&self.all, is_it),
        };
        match here {
            Some(dir) => Place::Here {
                // Nobody wrote down the name of one that the port made.
                renamed: dir != named && !self.is_made(),
                carrier: carrier(&dir.join("carrier")),
                mtu: number(&dir, "mtu"),
            },
            None if held.is_some() => Place::OtherNamespace,
            None => Place::Gone { another: now.is_some() },
        }
    }
}

fn judge(mtu: u16, place: Place) -> (bool, &'static str) {
    match place {
        Place::Gone { another: false } => (false, "its interface is gone"),
        Place::Gone { another: true } => (false, "its interface was deleted and made again"),
        Place::Here { carrier: Carrier::Down, .. } => (false, "its interface is set down"),
        Place::Here { carrier: Carrier::No, .. } => (false, "its interface has no link"),
        Place::Here { mtu: Some(now), .. } if now < u32::from(mtu) => {
            (true, "the mtu of its interface is lower than that of the port; longer packets are lost")
        }
        Place::Here { renamed: true, .. } => {
            (true, "its interface has another name now; the next start will not find it")
        }
        Place::Here { .. } | Place::OtherNamespace => (true, ""),
    }
}

fn find(all: &Path, is_it: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find(|dir| is_it(dir))
}

/// What tells an interface from all others; `None` if there is none.
fn inode(dir: &Path) -> Option<u64> {
    Some(fs::metadata(dir).ok()?.ino())
}

/// The name of the interface that a file of this process holds; `None` if it holds none (any more).
fn holds(fdinfo: &Path) -> Option<String> {
    let text = fs::read_to_string(fdinfo).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("iff:"))?.trim();
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

fn number(dir: &Path, file: &str) -> Option<u32> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

fn carrier(file: &Path) -> Carrier {
    match fs::read_to_string(file) {
        Ok(text) if text.trim() == "1" => Carrier::Yes,
        Ok(_) => Carrier::No,
        Err(why) if why.raw_os_error() == Some(libc::EINVAL) => Carrier::Down,
        Err(_) => Carrier::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_can_use_an_interface_that_is_there_and_says_what_is_wrong() {
        let here = |carrier, mtu| judge(1500, Place::Here { renamed: false, carrier, mtu });
        assert_eq!(here(Carrier::Unknown, None), (true, ""));
        assert_eq!(here(Carrier::Yes, Some(9000)), (true, ""));
        assert_eq!(here(Carrier::No, Some(1500)), (false, "its interface has no link"));
        assert_eq!(here(Carrier::Down, Some(1499)), (false, "its interface is set down"));
        let (up, problem) = here(Carrier::Yes, Some(1499));
        assert!(up && problem.starts_with("the mtu of its interface is lower"), "{problem}");
        let renamed = judge(1500, Place::Here { renamed: true, carrier: Carrier::Yes, mtu: None });
        assert!(renamed.0 && renamed.1.contains("another name"), "{renamed:?}");
        assert_eq!(judge(1500, Place::OtherNamespace), (true, ""));
    }

    #[test]
    fn an_interface_is_the_same_whatever_its_name() {
        let underlay = Underlay::of("lo", 1500).unwrap();
        assert_eq!(underlay.state(), (true, ""));
        assert!(Underlay::of("no-such-if", 1500).is_none() && Underlay::of("../net/lo", 1500).is_none());
        let all = tempfile::tempdir().unwrap();
        let write = |interface: &str, carrier: &str| {
            let dir = all.path().join(interface);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("carrier"), carrier).unwrap();
        };
        write("fab0", "1\n");
        let underlay = Underlay::in_dir(all.path(), "fab0", 1500).unwrap();
        assert_eq!(underlay.state(), (true, ""));
        write("fab0", "0\n");
        assert_eq!(underlay.state().1, "its interface has no link");
        fs::rename(all.path().join("fab0"), all.path().join("fab1")).unwrap();
        write("fab1", "1\n");
        assert!(underlay.state().0 && underlay.state().1.contains("another name"));
        // One that gets its name meanwhile is not taken while it is there itself.
        write("fab0", "1\n");
        assert!(underlay.state().0 && !underlay.can_be_replaced());
        fs::remove_dir_all(all.path().join("fab1")).unwrap();
        assert!(underlay.state().1.contains("made again") && underlay.can_be_replaced());
        fs::remove_dir_all(all.path().join("fab0")).unwrap();
        assert_eq!(underlay.state(), (false, "its interface is gone"));
        assert!(!underlay.can_be_replaced());
    }

    #[test]
    fn an_interface_that_a_port_made_is_there_as_long_as_its_files_hold_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("23");
        let files = vec![dir.path().join("22"), file.clone()];
        let mut underlay = Underlay {
            all: dir.path().to_owned(),
            name: "tap0".into(),
            inode: 7,
            mtu: 1500,
            made: true,
            files,
        };
        fs::write(&file, "pos:\t0\niff:\teth9\n").unwrap();
        assert_eq!((underlay.state(), underlay.can_be_replaced()), ((true, ""), false));
        fs::write(&file, "pos:\t0\niff:\t\n").unwrap();
        assert_eq!((underlay.state().1, underlay.can_be_replaced()), ("its interface is gone", true));
        // The port could not be opened again, and another one has opened a file with the same number.
        underlay.let_go();
        fs::write(&file, "pos:\t0\niff:\ttap1\n").unwrap();
        assert_eq!((underlay.state().1, underlay.can_be_replaced()), ("its interface is gone", true));
    }
}
