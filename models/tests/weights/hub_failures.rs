//! Failures of a hub.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use convscope_models::weights::WeightsError;

use crate::assert_says;
use crate::fake_hub::{COMMIT, FakeHub, HubFile, http};
use crate::hub::{FILE, Setup, content};

/// The message for an unavailable file: name, source, reason, path for a copy by hand, alternatives.
#[track_caller]
fn assert_unavailable(setup: &Setup, error: WeightsError, file: &str, why: &str) {
    let (endpoint, path) = (&setup.hub.endpoint, setup.cache("snapshots/main").join(file));
    let path = path.display();
    assert_says(
        error,
        &format!("cannot get {file} from {endpoint}/owner/repo/resolve/main/{file}: .. {why} .. save it as {path}, .. -w FILE"),
    );
}

#[test]
fn a_missing_file_or_repository() {
    let setup = Setup::new(vec![]);
    let why = "the hub has no such file, revision or repository (404)";
    assert_unavailable(&setup, setup.fetch("hf:owner/repo/vgg.pth").unwrap_err(), "vgg.pth", why);
    let setup = Setup::with(FakeHub::answering(|_| http("401 Unauthorized", &[], b"")));
    let why = "no access (401): the repository is private, gated or misspelt";
    assert_unavailable(&setup, setup.fetch("hf:owner/repo").unwrap_err(), FILE, why);
    let setup = Setup::with(FakeHub::answering(|_| http("503 Service Unavailable", &[], b"")));
    assert_unavailable(&setup, setup.fetch("hf:owner/repo").unwrap_err(), FILE, "status 503");
}

#[test]
fn no_network() {
    let mut setup = Setup::new(vec![]);
    // A port on which nobody listens any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let real = std::mem::replace(&mut setup.hub.endpoint, format!("http://127.0.0.1:{port}"));
    let named = setup.fetch("hf:owner/repo/vgg.pth").unwrap_err();
    assert_unavailable(&setup, named, "vgg.pth", "refused");
    let unnamed = setup.fetch("hf:owner/repo").unwrap_err();
    assert_unavailable(&setup, unnamed, FILE, "refused");
    setup.hub.endpoint = real;
}

#[test]
fn offline_uses_the_cache_only() {
    let setup = Setup::new(vec![HubFile::lfs(FILE, &content())]);
    let why = "not in the cache, and HF_HUB_OFFLINE forbids the network";
    assert_unavailable(&setup, setup.fetch_offline("hf:owner/repo").unwrap_err(), FILE, why);
    assert!(setup.hub.requests().is_empty());

    // A file at the path of the message is found.
    let Err(WeightsError::Hub { path, .. }) = setup.fetch_offline("hf:owner/repo/model.safetensors") else { panic!() };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"by hand").unwrap();
    assert_eq!(setup.fetch_offline("hf:owner/repo/model.safetensors").unwrap(), path);
    assert_eq!(setup.fetch_offline("hf:owner/repo").unwrap(), path);
}

#[test]
fn servers_that_are_no_hub() {
    let answers: [(&str, Vec<u8>); 6] = [
        ("a page", http("200 OK", &[("content-type", "text/html")], b"<html>Log in to this network</html>")),
        ("a redirect to nowhere", http("302 Found", &[("x-repo-commit", COMMIT), ("x-linked-etag", "\"ab\"")], b"")),
        ("an etag that leaves the cache", hostile("\"../../../evil\"", COMMIT)),
        ("a commit that leaves the cache", hostile("\"ab\"", "../../evil")),
        ("no length", http("200 OK", &[("x-repo-commit", COMMIT), ("etag", "\"ab\""), ("content-range", "?")], b"x")),
        ("noise", b"\x16\x03\x01 what?\r\n\r\n".to_vec()),
    ];
    for (what, answer) in answers {
        let setup = Setup::with(FakeHub::answering(move |_| answer.clone()));
        for address in ["hf:owner/repo/model.safetensors", "hf:owner/repo"] {
            let error = setup.fetch(address).unwrap_err();
            assert!(matches!(error, WeightsError::Hub { .. }), "{what}: {error}");
            assert_says(&error, "cannot get model.safetensors");
        }
        assert!(files_below(setup.home.path()).is_empty(), "{what} left something behind");
    }
}

fn hostile(etag: &str, commit: &str) -> Vec<u8> {
    http("206 Partial Content", &[("content-range", "bytes 0-0/1"), ("x-repo-commit", commit), ("etag", etag)], b"x")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.iter().flat_map(|path| if path.is_dir() { files_below(path) } else { vec![path.clone()] }).collect()
}
