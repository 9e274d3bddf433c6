//! Atomic file writes: a file appears under its name complete or not at all.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A complete temporary file beside its destination. Drop removes it.
///
/// An existing file of the same name stays intact until [`publish`](Self::publish) replaces it. A memory map of the old file
/// keeps the old content.
#[derive(Debug)]
pub struct Pending {
    temporary: PathBuf,
    path: PathBuf,
}

impl Pending {
    /// Writes a temporary file in the folder of `path` through `write`.
    ///
    /// # Errors
    /// The path names no file, or a folder; its folder does not exist; or a write fails.
    pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not name a file"));
        };
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let (file, temporary) = create_beside(path, name)?;
        let pending = Self { temporary, path: path.to_owned() };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(pending)
    }

    /// Renames the file to its destination.
    ///
    /// # Errors
    /// The rename fails.
    pub fn publish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        // After the rename, drop has no file to remove.
        self.temporary.clear();
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates a hidden file of an unused name in the folder of `path`.
fn create_beside(path: &Path, name: &OsStr) -> io::Result<(File, PathBuf)> {
    for attempt in 0..1000 {
        let mut hidden = OsStr::new(".").to_owned();
        hidden.push(name);
        hidden.push(format!(".{}-{attempt}.part", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(path).display();
                return Err(io::Error::new(error.kind(), format!("there is no folder {folder}")));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("a thousand temporary files lie beside it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_before_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let count = || fs::read_dir(folder.path()).unwrap().count();
        fs::write(&path, "old").unwrap();
        let put = |text: &'static str| Pending::write(&path, move |out| out.write_all(text.as_bytes())).unwrap();
        let (dropped, first, second) = (put("dropped"), put("first"), put("second"));
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), count()), ("old", 4));
        drop(dropped);
        first.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        second.publish().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), count()), ("second", 1));
        let half = Pending::write(&path, |out| out.write_all(b"half").and(Err(io::Error::other("full"))));
        assert_eq!(half.unwrap_err().to_string(), "full");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), count()), ("second", 1));
    }
}
