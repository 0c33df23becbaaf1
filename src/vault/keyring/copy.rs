//! A copy of the keyring in another place, read back before it counts.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Error, Keyring, Keys, file};
use crate::domain::id::Digest;
use crate::durable;

impl Keyring {
    /// Writes all keys to a new file, mode 0600, and reads it back. Never over a file in which something is.
    /// The digest is that of the keys as written.
    pub fn copy_to(&self, path: &Path) -> Result<Digest, Error> {
        let io = |source| Error::Io { path: path.into(), source };
        let mut copy = {
            let keys = self.read();
            Keys {
                vault: keys.vault,
                entries: keys.entries.clone(),
                gone: keys.gone.clone(),
                digest: keys.digest,
            }
        };
        // Takes the name, so that nobody's file of this name is replaced.
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(path) {
            // An empty one is what a crash of this left, perhaps with keys beside it, which are replaced with it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if path.metadata().map_err(io)?.len() > 0 {
                    return Err(Error::Exists(path.into()));
                }
            }
            opened => drop(opened.map_err(io)?),
        }
        let written = file::write(path, &mut copy).and_then(|()| file::read(path));
        match written {
            Ok(read) if read.digest == copy.digest && read.vault == copy.vault => Ok(read.digest),
            other => {
                durable::forget(path).map_err(io)?;
                Err(other.err().unwrap_or(Error::Damaged("its copy is not what was written")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::time::Timestamp;
    use crate::vault::keyring::Source;

    #[test]
    fn a_copy_opens_as_the_keyring_does_and_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let ring = Keyring::open(Source::File(path("keyring")), true, Timestamp::EPOCH).unwrap();
        let digest = ring.copy_to(&path("copy")).unwrap();
        assert_eq!(std::fs::metadata(path("copy")).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Keyring::open(Source::File(path("copy")), false, Timestamp::EPOCH).unwrap();
        assert_eq!((copy.vault_id(), copy.describe()), (ring.vault_id(), ring.describe()));
        assert_eq!(*copy.active_kek().unwrap().1, *ring.active_kek().unwrap().1);
        assert_eq!(copy.copy_to(&path("second")).unwrap(), digest);

        std::fs::write(path("theirs"), b"something").unwrap();
        assert!(matches!(ring.copy_to(&path("theirs")), Err(Error::Exists(_))));
        assert_eq!(std::fs::read(path("theirs")).unwrap(), b"something");
        assert!(ring.copy_to(&path("none/copy")).is_err());

        // A crash between its name and its bytes.
        std::fs::write(path("begun"), b"").unwrap();
        std::fs::write(path("begun.new"), b"half of the ke").unwrap();
        assert_eq!(ring.copy_to(&path("begun")).unwrap(), digest);
        assert!(!path("begun.new").exists());
    }
}
