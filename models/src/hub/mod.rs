//! Files of the Hugging Face hub, through its shared cache.

mod address;
mod cache;
mod download;

pub use address::HubAddress;

use std::path::PathBuf;

use crate::formats::WeightsError;
use crate::text::one_line;
use address::is_path_part;
use cache::Hub;

/// Locations of the hub and its cache, and the permission to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// Hugging Face's folder; the cache is its subfolder `hub`.
    pub home: PathBuf,
    /// Address of the hub, without a trailing slash.
    pub endpoint: String,
    /// Use the cache only.
    pub offline: bool,
}

impl HubOptions {
    /// Options from the environment, by the rules of Hugging Face's own library: `HF_HOME` (else `$XDG_CACHE_HOME/huggingface`,
    /// else `~/.cache/huggingface`), `HF_ENDPOINT` (else `https://huggingface.co`) and `HF_HUB_OFFLINE` (1, true, yes or on).
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let home = var("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let caches = var("XDG_CACHE_HOME").map(PathBuf::from);
            let caches = caches.or_else(|| Some(std::env::home_dir()?.join(".cache")));
            caches.unwrap_or_else(std::env::temp_dir).join("huggingface")
        });
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let offline =
            var("HF_HUB_OFFLINE").is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()));
        Self { home, endpoint: endpoint.trim_end_matches('/').to_owned(), offline }
    }
}

/// Callbacks of a download. A file in the cache causes none.
pub trait DownloadProgress {
    /// Called once, before the first byte, with the file's name and its size in bytes.
    fn init(&mut self, file: &str, total: u64);
    /// `bytes` more bytes are on the disk. The rest of an interrupted download is reported at once.
    fn advance(&mut self, bytes: u64);
    /// All bytes are here.
    fn finish(&mut self);
}

/// A callback that does nothing.
impl DownloadProgress for () {
    fn init(&mut self, _file: &str, _total: u64) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}

/// The path of a hub file in the cache, after a download if the cache lacks it.
///
/// An address without a file stands for the repository's weights: `model.safetensors`, else `pytorch_model.bin`, else its only
/// safetensors file, else its only PyTorch file. A file in the cache causes no request. A file whose name in the cache is a
/// SHA-256, as for all large files, is verified against it on every call; the size is verified after a download.
///
/// # Errors
/// [`WeightsError`] if the file cannot be downloaded (the message gives its address and a path for a copy by hand) or is damaged
/// (it is deleted), or if the repository has no unique weights file.
pub fn fetch(address: &HubAddress, options: &HubOptions, progress: &mut dyn DownloadProgress) -> Result<PathBuf, WeightsError> {
    let hub = Hub::new(address, options);
    if let Some((file, path)) = hub.cached() {
        return hub.verified(&file, path, None);
    }
    let usual = address.file.as_deref().unwrap_or(PREFERRED[0]);
    if options.offline {
        return Err(hub.unavailable(usual, "it is not in the cache, and HF_HUB_OFFLINE forbids the network"));
    }
    let api = hub.api().map_err(|error| hub.unavailable(usual, error))?;
    let file = match &address.file {
        Some(file) => file.clone(),
        None => choose_file(address, &hub.files(&api).map_err(|reason| hub.unavailable(usual, reason))?)?,
    };
    let (path, size) = hub.download(&api, &file, progress)?;
    hub.verified(&file, path, Some(size))
}

/// The usual names of a repository's weights, best first.
const PREFERRED: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Picks the weights among a repository's files.
fn choose_file(address: &HubAddress, files: &[String]) -> Result<String, WeightsError> {
    if let Some(usual) = PREFERRED.into_iter().find(|usual| files.iter().any(|file| file == usual)) {
        return Ok(usual.to_owned());
    }
    let of_kind = |extensions: &[&str]| -> Vec<&str> {
        let is_kind = |file: &&str| extensions.iter().any(|extension| file.ends_with(extension));
        let safe = |file: &&str| file.split('/').all(is_path_part);
        files.iter().map(String::as_str).filter(safe).filter(is_kind).collect()
    };
    let kinds = [of_kind(&[".safetensors"]), of_kind(&[".bin", ".pth", ".pt", ".th"])];
    let reason = match kinds.iter().find(|files| !files.is_empty()).map(Vec::as_slice) {
        Some([only]) => return Ok((*only).to_owned()),
        Some(several) => {
            let (example, list) = (several[0], several.join(", "));
            format!("holds several weights files; name one, as in {address}/{example}: {list}")
        }
        None => format!("holds no weights of a kind that is read, only: {}", files.join(", ")),
    };
    Err(WeightsError::HubChoice { address: address.to_string(), reason: one_line(reason) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn options_follow_the_environment() {
        let options = |vars: &[(&str, &str)]| {
            let vars: Vec<(String, String)> = vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            HubOptions::from_vars(|name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        };
        let plain = options(&[]);
        assert!(plain.home.ends_with("huggingface") && !plain.offline);
        assert_eq!(plain.endpoint, "https://huggingface.co");
        let set = options(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_ENDPOINT", "http://localhost:1/")]);
        assert_eq!((set.home.as_path(), set.endpoint.as_str()), (Path::new("/h"), "http://localhost:1"));
        assert_eq!(options(&[("XDG_CACHE_HOME", "/x")]).home, Path::new("/x/huggingface"));
        for (value, offline) in [("1", true), ("True", true), ("on", true), ("0", false), ("", false), ("no", false)] {
            assert_eq!(options(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }

    #[test]
    fn the_file_is_chosen_or_asked_for() {
        let address: HubAddress = "hf:o/r".parse().unwrap();
        let choose = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| file.to_string()).collect();
            choose_file(&address, &files).map_err(|error| error.to_string())
        };
        assert_eq!(choose(&["pytorch_model.bin", "README.md", "model.safetensors"]).unwrap(), "model.safetensors");
        assert_eq!(choose(&["pytorch_model.bin", "x.safetensors"]).unwrap(), "pytorch_model.bin");
        assert_eq!(choose(&["a.txt", "x.safetensors", "y.pth"]).unwrap(), "x.safetensors");
        assert_eq!(choose(&["a.txt", "y.pth"]).unwrap(), "y.pth");
        assert_eq!(
            choose(&["a.pth", "b.pth"]).unwrap_err(),
            "hf:o/r holds several weights files; name one, as in hf:o/r/a.pth: a.pth, b.pth"
        );
        assert!(choose(&["README.md", "../evil.pth"]).unwrap_err().contains("no weights"));
    }
}
