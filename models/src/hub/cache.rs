//! The hub's cache, shared with other tools: the path of a file, and its integrity.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use super::address::is_path_part;
use super::{HubAddress, HubOptions, choose_file};
use crate::formats::WeightsError;
use crate::text::one_line;

/// One revision of one repository, in the cache and on the hub.
pub(super) struct Hub<'a> {
    pub(super) address: &'a HubAddress,
    pub(super) options: &'a HubOptions,
    pub(super) cache: Cache,
}

impl<'a> Hub<'a> {
    pub(super) fn new(address: &'a HubAddress, options: &'a HubOptions) -> Self {
        Self { address, options, cache: Cache::new(options.home.join("hub")) }
    }

    pub(super) fn repo(&self) -> Repo {
        let HubAddress { repo, revision, .. } = self.address.clone();
        Repo::with_revision(repo, RepoType::Model, revision)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.cache.repo(self.repo()).pointer_path(commit)
    }

    /// Path for a file that is downloaded by hand: the snapshot named after the revision. For a commit this is the regular path;
    /// the commit of a branch is known to the hub only.
    fn path(&self, file: &str) -> PathBuf {
        self.snapshot(&self.address.revision).join(file)
    }

    /// The wanted or chosen file, if it is in the cache.
    pub(super) fn cached(&self) -> Option<(String, PathBuf)> {
        let refs = self.cache.path().join(self.repo().folder_name()).join("refs");
        let commit = fs::read_to_string(refs.join(&self.address.revision)).unwrap_or_default();
        let known = Some(commit.trim()).filter(|commit| is_path_part(commit));
        let snapshots = known.into_iter().chain([self.address.revision.as_str()]).map(|commit| self.snapshot(commit));
        snapshots.into_iter().find_map(|snapshot| {
            let file = match &self.address.file {
                Some(file) => file.clone(),
                None => {
                    let entries = fs::read_dir(&snapshot).ok()?;
                    let files: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
                    choose_file(self.address, &files).ok()?
                }
            };
            let path = snapshot.join(&file);
            path.is_file().then_some((file, path))
        })
    }

    pub(super) fn url(&self, file: &str) -> String {
        let HubAddress { repo, revision, .. } = self.address;
        format!("{}/{repo}/resolve/{}/{file}", self.options.endpoint, revision.replace('/', "%2F"))
    }

    /// The path, if the file has the announced size and the SHA-256 of its name in the cache.
    pub(super) fn verified(&self, file: &str, path: PathBuf, size: Option<u64>) -> Result<PathBuf, WeightsError> {
        let unreadable = |error: io::Error| WeightsError::read(&path, error);
        let blob = path.canonicalize().map_err(unreadable)?;
        let length = fs::metadata(&blob).map_err(unreadable)?.len();
        let mut difference = None;
        if let Some(size) = size.filter(|&size| size != length) {
            difference = Some(format!("{length} bytes came, the hub announced {size}"));
        } else if let Some(expected) = sha256_name(&blob) {
            let actual = sha256(&blob).map_err(unreadable)?;
            if actual != expected {
                difference = Some(format!("its SHA-256 is {actual}, the hub's is {expected}"));
            }
        }
        let Some(reason) = difference else {
            return Ok(path);
        };
        for bad in [&blob, &path] {
            match fs::remove_file(bad) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let reason = format!("it is damaged ({reason}) and cannot be deleted: {error}");
                    return Err(WeightsError::read(bad, reason));
                }
                _ => {}
            }
        }
        Err(WeightsError::Damaged { url: self.url(file), path, reason })
    }

    pub(super) fn unavailable(&self, file: &str, reason: impl Display) -> WeightsError {
        let (url, path) = (self.url(file), self.path(file));
        WeightsError::Hub { file: file.to_owned(), url, reason: one_line(reason), path }
    }
}

/// The SHA-256 in the cache's name of a file: the hub's etag of a large file.
fn sha256_name(blob: &Path) -> Option<String> {
    let name = blob.file_name()?.to_str()?;
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_ascii_lowercase())
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => {
                return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            count => hasher.update(&block[..count]),
        }
    }
}
