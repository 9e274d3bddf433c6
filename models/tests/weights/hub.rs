//! Downloads from a hub: the cache, the choice of a file, verification, and repairs.

use std::fs;
use std::path::PathBuf;

use convscope_models::weights::{DownloadProgress, HubAddress, HubOptions, WeightsError, fetch};

use crate::assert_says;
use crate::fake_hub::{COMMIT, FakeHub, HubFile, sha256};

pub const FILE: &str = "model.safetensors";

pub struct Setup {
    pub hub: FakeHub,
    pub home: tempfile::TempDir,
}

impl Setup {
    pub fn new(files: Vec<HubFile>) -> Self {
        Self::with(FakeHub::start(files))
    }

    pub fn with(hub: FakeHub) -> Self {
        Self { hub, home: tempfile::tempdir().unwrap() }
    }

    fn options(&self, offline: bool) -> HubOptions {
        HubOptions { home: self.home.path().to_owned(), endpoint: self.hub.endpoint.clone(), offline }
    }

    pub fn fetch(&self, address: &str) -> Result<PathBuf, WeightsError> {
        fetch(&address.parse().unwrap(), &self.options(false), &mut ())
    }

    pub fn fetch_offline(&self, address: &str) -> Result<PathBuf, WeightsError> {
        fetch(&address.parse().unwrap(), &self.options(true), &mut ())
    }

    /// A path in the cache of `owner/repo`.
    pub fn cache(&self, path: &str) -> PathBuf {
        self.home.path().join("hub/models--owner--repo").join(path)
    }
}

/// 300 kB without repetition.
pub fn content() -> Vec<u8> {
    (0..75_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[derive(Default)]
struct Log {
    inits: Vec<(String, u64)>,
    bytes: u64,
    finished: usize,
}

impl DownloadProgress for Log {
    fn init(&mut self, file: &str, total: u64) {
        self.inits.push((file.to_owned(), total));
    }
    fn advance(&mut self, bytes: u64) {
        assert_eq!((self.inits.len(), self.finished), (1, 0));
        self.bytes += bytes;
    }
    fn finish(&mut self) {
        self.finished += 1;
    }
}

#[test]
fn a_file_is_downloaded_once_into_the_standard_cache() {
    let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
    let address: HubAddress = "hf:owner/repo/model.safetensors".parse().unwrap();
    let mut log = Log::default();
    let path = fetch(&address, &setup.options(false), &mut log).unwrap();
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!((log.inits, log.bytes, log.finished), (vec![(FILE.to_string(), 300_000)], 300_000, 1));

    // The layout that Python's library and others share.
    assert_eq!(path, setup.cache(&format!("snapshots/{COMMIT}/{FILE}")));
    assert_eq!(path.canonicalize().unwrap(), setup.cache(&format!("blobs/{}", sha256(&content()))).canonicalize().unwrap());
    assert_eq!(fs::read_to_string(setup.cache("refs/main")).unwrap(), COMMIT);

    let requests = setup.hub.requests().len();
    let mut log = Log::default();
    assert_eq!(fetch(&address, &setup.options(false), &mut log).unwrap(), path);
    assert_eq!(setup.fetch_offline("hf:owner/repo/model.safetensors").unwrap(), path);
    assert_eq!(setup.fetch_offline("hf:owner/repo").unwrap(), path);
    assert_eq!(setup.hub.requests().len(), requests, "the cache needs no network");
    assert!(log.inits.is_empty() && log.finished == 0);
}

#[test]
fn the_repository_is_asked_for_its_weights() {
    let small = |name| HubFile { etag: "0f1e2d3c".repeat(5), lfs: false, ..HubFile::lfs(name, b"small") };
    let setup = Setup::new(vec![small("README.md"), HubFile::lfs("pytorch_model.bin", &content()), small("x.safetensors")]);
    let path = setup.fetch("hf:owner/repo").unwrap();
    assert!(path.ends_with("pytorch_model.bin"), "{}", path.display());
    // A small file is no LFS file: its etag is a git hash, and it comes without a redirect.
    assert_eq!(fs::read(setup.fetch("hf:owner/repo/x.safetensors").unwrap()).unwrap(), b"small");

    let setup = Setup::new(vec![small("README.md"), small("odd-name.pth")]);
    let path = setup.fetch("hf:owner/repo").unwrap();
    assert!(path.ends_with("odd-name.pth"));
    assert_eq!(setup.fetch_offline("hf:owner/repo").unwrap(), path);

    let setup = Setup::new(vec![small("a.safetensors"), small("b.safetensors")]);
    assert_says(setup.fetch("hf:owner/repo").unwrap_err(), "several weights files .. hf:owner/repo/a.safetensors");
    let setup = Setup::new(vec![small("README.md")]);
    assert_says(setup.fetch("hf:owner/repo").unwrap_err(), "hf:owner/repo holds no weights .. README.md");
}

#[test]
fn a_revision_is_asked_for_and_kept_apart() {
    let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
    let path = setup.fetch("hf:owner/repo@refs/pr/7/model.safetensors").unwrap();
    assert!(setup.hub.requests()[0].starts_with("/owner/repo/resolve/refs%2Fpr%2F7/model.safetensors"));
    assert_eq!(fs::read_to_string(setup.cache("refs/refs/pr/7")).unwrap(), COMMIT);
    assert_eq!(setup.fetch_offline("hf:owner/repo@refs/pr/7").unwrap(), path);
    // A commit is shared between tools; another branch is not.
    assert_eq!(setup.fetch_offline(&format!("hf:owner/repo@{COMMIT}/model.safetensors")).unwrap(), path);
    assert!(setup.fetch_offline("hf:owner/repo/model.safetensors").is_err());
}

#[test]
fn a_wrong_checksum_is_found_and_the_file_deleted() {
    let wrong = HubFile { etag: sha256(b"something else"), ..HubFile::lfs(FILE, &content()) };
    let setup = Setup::new(vec![wrong.clone()]);
    let error = setup.fetch("hf:owner/repo/model.safetensors").unwrap_err();
    let expected = format!("is damaged .. SHA-256 is {} .. {} .. deleted from the cache", sha256(&content()), wrong.etag);
    assert_says(error, &expected);
    assert!(!setup.cache(&format!("blobs/{}", wrong.etag)).exists());
    assert!(!setup.cache(&format!("snapshots/{COMMIT}/{FILE}")).is_symlink());
    // Nothing of it is used later.
    assert_says(setup.fetch_offline("hf:owner/repo").unwrap_err(), "not in the cache");
}

#[test]
fn a_cached_file_that_rots_is_found_and_can_be_fetched_anew() {
    let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
    let path = setup.fetch("hf:owner/repo").unwrap();
    let mut rotten = content();
    rotten[200_000] ^= 1;
    fs::write(path.canonicalize().unwrap(), rotten).unwrap();
    assert_says(setup.fetch("hf:owner/repo").unwrap_err(), "is damaged .. run again");
    assert_eq!(fs::read(setup.fetch("hf:owner/repo").unwrap()).unwrap(), content());
}

#[test]
fn a_link_without_its_blob_is_repaired() {
    let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
    let path = setup.fetch("hf:owner/repo").unwrap();
    fs::remove_file(path.canonicalize().unwrap()).unwrap();
    assert_eq!(fs::read(setup.fetch("hf:owner/repo").unwrap()).unwrap(), content());
}

#[test]
fn a_transfer_that_breaks_off_is_continued() {
    let setup = Setup::new(vec![HubFile { breaks: 2, ..HubFile::lfs(FILE, &content()) }]);
    let mut log = Log::default();
    let path = fetch(&"hf:owner/repo/model.safetensors".parse().unwrap(), &setup.options(false), &mut log).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    assert_eq!((log.inits.len(), log.bytes, log.finished), (1, 300_000, 1));
    let requests = setup.hub.requests();
    assert!(requests.contains(&"/cdn/model.safetensors bytes=150000-".to_string()), "{requests:?}");
    assert!(requests.contains(&"/cdn/model.safetensors bytes=225000-".to_string()), "{requests:?}");
}

#[test]
fn what_an_earlier_run_left_is_continued_or_dropped() {
    for (left, first_range) in
        [(content()[..1000].to_vec(), "bytes=1000-"), (content(), "bytes=0-"), (vec![7; 400_000], "bytes=0-")]
    {
        let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
        let part = setup.cache(&format!("blobs/{}.part", sha256(&content())));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, left).unwrap();
        assert_eq!(fs::read(setup.fetch("hf:owner/repo/model.safetensors").unwrap()).unwrap(), content());
        assert!(setup.hub.requests().contains(&format!("/cdn/model.safetensors {first_range}")));
    }
}
