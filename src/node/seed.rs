//! The seed of the tables, kept in `node.state_dir`: with it a flow keeps its locator over a restart.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The seed that the node of this name keeps in a directory. One that cannot be read is replaced by `new`.
///
/// # Errors
/// It can neither be read nor written; nothing is kept then.
pub fn kept(directory: &Path, node: &str, new: u64) -> io::Result<u64> {
    let path = directory.join(format!("{node}.seed"));
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(9).read_to_end(&mut bytes)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    if let Ok(seed) = bytes.try_into() {
        return Ok(u64::from_be_bytes(seed));
    }
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    // Whoever is killed here leaves the file as it was.
    let beside = directory.join(format!("{node}.seed.new"));
    let _ = fs::remove_file(&beside);
    // For this user only: outsiders must not know the seed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&new.to_be_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_seed_is_drawn_once_for_each_node_and_known_to_its_user_only() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        assert_eq!(kept(&place, "n1", 7).unwrap(), 7);
        assert_eq!(kept(&place, "n1", 8).unwrap(), 7);
        assert_eq!(kept(&place, "n2", 8).unwrap(), 8);
        let file = place.join("n1.seed");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_replaced_and_a_place_that_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for damaged in [&b""[..], b"1234567", b"123456789", &[0; 4096]] {
            fs::write(directory.path().join("n1.seed"), damaged).unwrap();
            // Left by one that was killed.
            fs::write(directory.path().join("n1.seed.new"), "1").unwrap();
            assert_eq!(kept(directory.path(), "n1", 5).unwrap(), 5);
            assert_eq!(kept(directory.path(), "n1", 6).unwrap(), 5);
        }
        let file = directory.path().join("n1.seed");
        assert!(kept(&file, "n1", 5).is_err());
    }
}
