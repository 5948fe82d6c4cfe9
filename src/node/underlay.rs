//! The kernel's interface under a port: judged by its number, because another interface may get its name.

use std::fs;
use std::path::{Path, PathBuf};

/// The interface that a port was opened on.
#[derive(Debug)]
pub(super) struct Underlay {
    dir: PathBuf,
    index: u32,
    /// MTU of the port, in bytes.
    mtu: u16,
}

/// What the kernel shows of the interface now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    /// `None`: there is no interface of this name.
    index: Option<u32>,
    /// `None`: the kernel does not say.
    carrier: Option<bool>,
    mtu: Option<u32>,
}

impl Underlay {
    /// Remembers the interface of this name as it is now; `None` if there is none.
    pub(super) fn of(interface: &str, mtu: u16) -> Option<Self> {
        Underlay::in_dir(Path::new("/sys/class/net"), interface, mtu)
    }

    fn in_dir(all: &Path, interface: &str, mtu: u16) -> Option<Self> {
        let dir = Some(all.join(interface)).filter(|_| !interface.contains('/'))?;
        Some(Underlay { index: number(&dir, "ifindex")?, dir, mtu })
    }

    /// Its name.
    pub(super) fn interface(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether another interface has its name now.
    pub(super) fn is_another(&self) -> bool {
        number(&self.dir, "ifindex").is_some_and(|now| now != self.index)
    }

    /// Whether the port can use it, and what is wrong with it; empty if nothing.
    pub(super) fn state(&self) -> (bool, &'static str) {
        let shown = Shown {
            index: number(&self.dir, "ifindex"),
            carrier: carrier(&self.dir.join("carrier")),
            mtu: number(&self.dir, "mtu"),
        };
        judge(self.index, self.mtu, shown)
    }
}

fn judge(index: u32, mtu: u16, shown: Shown) -> (bool, &'static str) {
    match shown {
        Shown { index: None, .. } => (false, "its interface is gone"),
        Shown { index: Some(now), .. } if now != index => (
            false,
            "its interface was deleted and made again; restart the node if the port does not come back by itself",
        ),
        Shown { carrier: Some(false), .. } => (false, "its interface has no link"),
        Shown { mtu: Some(now), .. } if now < u32::from(mtu) => {
            (true, "the mtu of its interface is lower than that of the port; longer packets are lost")
        }
        _ => (true, ""),
    }
}

fn number(dir: &Path, file: &str) -> Option<u32> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// Whether the kernel sees a link; `None` when it does not say.
fn carrier(file: &Path) -> Option<bool> {
    match fs::read_to_string(file) {
        Ok(text) => Some(text.trim() == "1"),
        // An interface that is down has no carrier.
        Err(why) if why.raw_os_error() == Some(libc::EINVAL) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_the_same_only_with_its_number() {
        let shown = |index| Shown { index, carrier: Some(true), mtu: Some(1500) };
        assert_eq!(judge(7, 1500, shown(Some(7))), (true, ""));
        assert_eq!(judge(7, 1500, shown(None)), (false, "its interface is gone"));
        let (up, problem) = judge(7, 1500, shown(Some(8)));
        assert!(!up && problem.contains("made again"), "{problem}");
    }

    #[test]
    fn a_link_that_the_kernel_does_not_tell_of_is_up_and_a_lowered_mtu_is_seen() {
        let shown = |carrier, mtu| judge(7, 1500, Shown { index: Some(7), carrier, mtu });
        assert_eq!(shown(None, None), (true, ""));
        assert_eq!(shown(Some(false), Some(1500)), (false, "its interface has no link"));
        let (up, problem) = shown(Some(true), Some(1499));
        assert!(up && problem.starts_with("the mtu of its interface is lower"), "{problem}");
        assert_eq!(shown(Some(true), Some(9000)), (true, ""));
    }

    #[test]
    fn what_the_kernel_shows_is_read() {
        let underlay = Underlay::of("lo", 1500).unwrap();
        assert_eq!(underlay.state(), (true, ""));
        assert!(Underlay::of("no-such-if", 1500).is_none() && Underlay::of("../net/lo", 1500).is_none());
        let all = tempfile::tempdir().unwrap();
        let dir = all.path().join("fab0");
        fs::create_dir(&dir).unwrap();
        let write = |file: &str, text: &str| fs::write(dir.join(file), text).unwrap();
        write("ifindex", "7\n");
        let underlay = Underlay::in_dir(all.path(), "fab0", 1500).unwrap();
        assert_eq!(underlay.state(), (true, ""));
        write("carrier", "0\n");
        assert_eq!(underlay.state().1, "its interface has no link");
        write("ifindex", "9\n");
        assert!(underlay.state().1.contains("made again"));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(underlay.state(), (false, "its interface is gone"));
    }
}
