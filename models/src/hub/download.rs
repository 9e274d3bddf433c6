//! Download of a hub file into the cache, through hf-hub.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, Metadata};

use super::DownloadProgress;
use super::address::is_path_part;
use super::cache::Hub;
use crate::formats::WeightsError;

/// Retries of an interrupted download, each from the end of the last.
const RETRIES: usize = 3;

impl Hub<'_> {
    pub(super) fn api(&self) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.options.endpoint.clone())
            .with_retries(RETRIES)
            .with_progress(false)
            .build()
    }

    /// The repository's files, or the reason for their absence.
    pub(super) fn files(&self, api: &Api) -> Result<Vec<String>, String> {
        let info = guarded(|| api.repo(self.repo()).info()).map_err(|error| describe(&error))?;
        Ok(info.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
    }

    /// Downloads the file; returns its path in the cache and the announced size.
    pub(super) fn download(
        &self,
        api: &Api,
        file: &str,
        progress: &mut dyn DownloadProgress,
    ) -> Result<(PathBuf, u64), WeightsError> {
        let failed = |error: ApiError| self.unavailable(file, describe(&error));
        let about = guarded(|| api.metadata(&self.url(file))).map_err(failed)?;
        // Both become file names.
        let etag = about.etag().strip_prefix("W/").unwrap_or(about.etag());
        if !is_path_part(etag) || !is_path_part(about.commit_hash()) {
            return Err(self.unavailable(file, "the server's etag or commit is not one of a hub"));
        }
        self.clear_remains(file, &about);
        let watched = Watched { progress, file, position: 0, reported: None };
        let path = guarded(|| api.repo(self.repo()).download_with_progress(file, watched)).map_err(failed)?;
        Ok((path, about.size() as u64))
    }

    /// Removes files on which hf-hub would fail forever: a link without its blob, and a part file that already has all its bytes
    /// or more.
    fn clear_remains(&self, file: &str, about: &Metadata) {
        let link = self.snapshot(about.commit_hash()).join(file);
        if link.is_symlink() && !link.exists() {
            let _ = fs::remove_file(&link);
        }
        let part = self.cache.repo(self.repo()).blob_path(about.etag()).with_extension("part");
        if fs::metadata(&part).is_ok_and(|part| part.len() >= about.size() as u64) {
            let _ = fs::remove_file(&part);
        }
    }
}

/// A call into hf-hub, which panics on unexpected answers of the server, such as a redirect without a target.
fn guarded<T>(call: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(ApiError::IoError(io::Error::other("the server's answer is not one of a hub"))))
}

/// A message for an error of hf-hub.
fn describe(error: &ApiError) -> String {
    match error {
        ApiError::RequestError(request) => {
            let request = request.to_string();
            match request.strip_prefix("http status: ") {
                Some("404") => "the hub has no such file, revision or repository (404)".into(),
                Some(code @ ("401" | "403")) => {
                    format!("the hub gives no access ({code}): the repository is private, gated or misspelt")
                }
                Some(code) => format!("the hub answered with status {code}"),
                None => request,
            }
        }
        ApiError::TooManyRetries(last) => {
            format!("the transfer broke off again and again: {}", describe(last))
        }
        ApiError::MissingHeader(_) | ApiError::InvalidHeader(_) => {
            format!("the server's answer is not one of a hub ({error})")
        }
        other => other.to_string(),
    }
}

/// Progress that never goes back, from hf-hub's calls, which restart at each retry.
struct Watched<'a> {
    progress: &'a mut dyn DownloadProgress,
    file: &'a str,
    /// Bytes on the disk.
    position: u64,
    /// Bytes reported after `init`.
    reported: Option<u64>,
}

impl Progress for Watched<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        self.position = 0;
        if self.reported.is_none() {
            self.progress.init(self.file, size as u64);
            self.reported = Some(0);
        }
    }

    fn update(&mut self, size: usize) {
        self.position += size as u64;
        if let Some(reported) = self.reported.as_mut().filter(|reported| **reported < self.position) {
            self.progress.advance(self.position - *reported);
            *reported = self.position;
        }
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_only_goes_forward() {
        #[derive(Default)]
        struct Log(Vec<String>);
        impl DownloadProgress for Log {
            fn init(&mut self, file: &str, total: u64) {
                self.0.push(format!("init {file} {total}"));
            }
            fn advance(&mut self, bytes: u64) {
                self.0.push(format!("advance {bytes}"));
            }
            fn finish(&mut self) {
                self.0.push("finish".into());
            }
        }
        let mut log = Log::default();
        let mut watched = Watched { progress: &mut log, file: "f", position: 0, reported: None };
        watched.init(10, "f");
        watched.init(10, "f");
        watched.update(0);
        watched.update(6);
        // The download breaks off; the part file has 6 bytes.
        watched.init(10, "f");
        watched.update(6);
        watched.update(4);
        watched.finish();
        assert_eq!(log.0, ["init f 10", "advance 6", "advance 4", "finish"]);
    }
}
