//! Sockets that a process left when it was killed: a device that listens there could not open.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Removes the socket at which this device will listen if nobody listens there. Anything else stays.
pub(super) fn remove(device: &str) {
    let Some(path) = listens_at(device).map(Path::new) else { return };
    if !is_socket(path) || !refuses(path) {
        return;
    }
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(socket = %path.display(), "removed: nobody listens there any more"),
        Err(why) => {
            tracing::warn!(socket = %path.display(), %why, "cannot be removed, and nobody listens there")
        }
    }
}

/// Whether somebody listens at a socket of this path.
pub(super) fn somebody_listens(path: &Path) -> bool {
    is_socket(path) && !refuses(path)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Whether nobody listens at a socket. Who listens and takes no connections is not waited for.
fn refuses(path: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let Ok(address) = UnixAddr::new(path) else { return false };
    let Ok(own) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else { return false };
    connect(own.as_raw_fd(), &address) == Err(Errno::ECONNREFUSED)
}

/// The path at which a device listens; `None` for one that connects, or has no socket in the file system.
fn listens_at(device: &str) -> Option<&str> {
    let argument = |key| device.split(',').skip(1).find_map(|part| part.strip_prefix(key));
    let path = if device.starts_with("net_memif") {
        let server = matches!(argument("role="), Some("server" | "master"));
        // Its sockets are abstract unless it is told otherwise: whatever has that path is somebody else's.
        let in_file_system = argument("socket-abstract=") == Some("no");
        argument("socket=").filter(|_| server && in_file_system)
    } else if device.starts_with("net_vhost") || device.starts_with("eth_vhost") {
        argument("iface=").filter(|_| argument("client=") != Some("1"))
    } else if device.starts_with("net_virtio_user") {
        argument("path=").filter(|_| argument("server=") == Some("1"))
    } else {
        None
    };
    path.filter(|path| !path.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, listen};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_devices_that_listen_have_a_socket_to_clear() {
        let memif = "net_memif0,role=server,id=1,socket-abstract=no,socket=/s";
        assert_eq!(listens_at(memif), Some("/s"));
        assert_eq!(listens_at("net_vhost0,iface=/s,queues=1"), Some("/s"));
        assert_eq!(listens_at("net_virtio_user0,path=/s,server=1"), Some("/s"));
        for other in [
            "net_memif0,socket=/s,socket-abstract=no",
            "net_memif0,role=client,socket=/s,socket-abstract=no",
            "net_memif0,role=server,socket=@s,socket-abstract=no",
            "net_memif0,role=server,socket=/s",
            "net_memif0,role=server,socket=/s,socket-abstract=yes",
            "net_vhost0,iface=/s,client=1",
            "net_virtio_user0,path=/s",
            "net_af_packet0,iface=s",
        ] {
            assert_eq!(listens_at(other), None, "{other}");
        }
    }

    #[test]
    fn a_socket_is_removed_only_when_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let device = format!("net_vhost0,iface={}", path.display());
        remove(&device);
        let listener = UnixListener::bind(&path).unwrap();
        remove(&device);
        assert!(path.exists() && somebody_listens(&path));
        // As many connections as it has room for, and none is taken: nobody waits for it.
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let waiting = |path: &Path| {
            let flags = SockFlag::SOCK_NONBLOCK;
            let own = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
            connect(own.as_raw_fd(), &UnixAddr::new(path).unwrap()).map(|()| own)
        };
        let waiting: Vec<_> = std::iter::from_fn(|| waiting(&path).ok()).take(100).collect();
        assert!(waiting.len() < 100);
        remove(&device);
        assert!(path.exists() && somebody_listens(&path), "it is busy");
        drop((listener, waiting));
        assert!(!somebody_listens(&path));
        remove(&device);
        assert!(!path.exists(), "its process is gone");
        fs::write(&path, "a file").unwrap();
        remove(&device);
        assert!(path.exists() && !somebody_listens(&path), "no socket");
    }
}
