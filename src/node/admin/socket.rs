//! The operator's Unix socket. One node at a time has it; only owner and group can connect, from its first
//! moment on.
//!
//! The node that holds the lock of the file beside it (`….sock.lock`) owns the socket, and only that node
//! removes a socket that a dead node left. The lock ends with the process; the file stays.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixSocket};

/// Owner and group may connect.
const MODE: u32 = 0o660;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another node has it.
    #[error("admin.socket: another node serves {0}; stop it, or give each node a socket of its own")]
    Served(PathBuf),
    /// There is something else.
    #[error("admin.socket: {0} is there and is no socket; remove it, or choose another path")]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("admin.socket: cannot {what} {path}: {why}; check the directory and its permissions")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system says.
        why: io::Error,
    },
}

/// A bound socket; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode of what was bound: nothing else is removed.
    file: Option<(u64, u64)>,
    _lock: File,
}

impl Socket {
    /// Binds `path` with mode 0660, and its directory if that does not exist. A socket that nobody serves any
    /// more is replaced. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// Another node that serves the path, a file that is no socket, or a call that the operating system
    /// refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
            made.map_err(|why| refused("create", directory, why))?;
        }
        let lock = lock(path)?;
        remove_stale(path)?;
        let socket = UnixSocket::new_stream().map_err(|why| refused("create", path, why))?;
        // Linux gives the file the mode of the unbound socket, less the umask, so it is never wider than
        // MODE.
        nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::from_bits_truncate(MODE))
            .map_err(|why| refused("restrict", path, why.into()))?;
        socket.bind(path).map_err(|why| refused("bind", path, why))?;
        std::fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|why| refused("open to the group", path, why))?;
        let listener = socket.listen(BACKLOG).map_err(|why| refused("listen at", path, why))?;
        let file = inode(path);
        Ok(Socket { listener: Some(listener), path: path.to_owned(), file, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once.
    pub(super) fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.file.is_some() && inode(&self.path) == self.file {
            // If it cannot be removed, the next node finds it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn refused(what: &'static str, path: &Path, why: io::Error) -> SocketError {
    SocketError::Refused { what, path: path.to_owned(), why }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Takes the lock beside the socket.
fn lock(path: &Path) -> Result<File, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let file = options.map_err(|why| refused("open", &name, why))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SocketError::Served(path.to_owned())),
        Err(TryLockError::Error(why)) => Err(refused("lock", &name, why)),
    }
}

/// Removes a socket that nobody serves.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(refused("look at", path, why)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // The lock is ours, but another program may listen there without one.
    match std::os::unix::net::UnixStream::connect(path) {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|why| refused("remove the stale", path, why))
        }
        Err(why) => Err(refused("connect to", path, why)),
        Ok(_) => Err(SocketError::Served(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn bound_for_owner_and_group_and_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/n.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("run/n.sock.lock"))), (0o660, 0o600));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.sock");
        let socket = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::Served(_)) && error.to_string().contains("n.sock"), "{error}");
        assert!(path.exists());
        drop(socket);

        // Somebody listens without a lock.
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::Served(_))));
        // They died and left the file.
        drop(other);
        assert!(path.exists());
        let _socket = Socket::bind(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn other_files_and_links_are_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");

        let link = dir.path().join("l.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Socket::bind(&link), Err(SocketError::NotASocket(_))));
    }

    #[tokio::test]
    async fn a_socket_of_a_successor_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.sock");
        let socket = Socket::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "other").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
