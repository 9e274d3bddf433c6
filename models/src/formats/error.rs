//! What can go wrong between a file or hub address and a network's parameters.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::text::one_line;
use crate::weights::Mismatch;

/// Why weights could not be read, matched, fetched or written.
///
/// Every message is one line, apart from [`Mismatch`], whose first line is followed by its lists. Text that comes
/// out of a file or from a server is shown without control characters and shortened.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The path is missing, a folder, unreadable or empty.
    #[error("cannot read weights {}: {reason}", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it, and what would be right where that is known.
        reason: String,
    },
    /// The file is no checkpoint, or a damaged one.
    #[error("{} cannot be used as weights: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        reason: String,
    },
    /// One tensor of an otherwise readable file cannot be used.
    #[error("{}: tensor {name} {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}: tensor {name} holds {nan} NaN and {infinite} infinite values, the first at index {first}: \
         the file is damaged or its training diverged",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Number of NaN values.
        nan: usize,
        /// Number of infinite values.
        infinite: usize,
        /// Flat row-major index of the first of either.
        first: usize,
    },
    /// The checkpoint's tensors are not the network's.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// The text after `-w` starts with `hf:` but is no hub address.
    #[error("{address} is no hub address: {reason}; write hf:owner/repo, hf:owner/repo/FILE or hf:owner/repo@revision/FILE")]
    HubAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub repository does not say which file is meant.
    #[error("{address} {reason}")]
    HubChoice {
        /// The address as given.
        address: String,
        /// Why no file could be chosen, as the rest of a sentence, with the files there are.
        reason: String,
    },
    /// A file of the hub is neither in the cache nor to be had.
    #[error(
        "cannot get {file} from {url}: {reason}; save it as {}, or give a local copy with -w FILE",
        place.display()
    )]
    Hub {
        /// File name inside the repository.
        file: String,
        /// Full address of the file.
        url: String,
        /// Why the download failed or was not tried.
        reason: String,
        /// Where a file saved by hand will be found.
        place: PathBuf,
    },
    /// A file of the hub is not what the hub says it is. It has been deleted from the cache.
    #[error("{} from {url} is damaged: {reason}; it was deleted from the cache, run again to download it anew", path.display())]
    Damaged {
        /// Where the bad file was.
        path: PathBuf,
        /// Full address of the file.
        url: String,
        /// The difference found.
        reason: String,
    },
    /// The output could not be written. Nothing half-written is left.
    #[error("cannot write weights {}: {reason}", path.display())]
    Write {
        /// The output path as given.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

impl WeightsError {
    pub(crate) fn read(path: &Path, reason: impl Display) -> Self {
        Self::Read { path: path.to_owned(), reason: one_line(reason) }
    }

    pub(crate) fn format(path: &Path, reason: impl Display) -> Self {
        Self::Format { path: path.to_owned(), reason: one_line(reason) }
    }

    pub(crate) fn tensor(path: &Path, name: &str, reason: impl Display) -> Self {
        Self::Tensor { path: path.to_owned(), name: one_line(name), reason: one_line(reason) }
    }

    pub(crate) fn write(path: &Path, reason: impl Display) -> Self {
        Self::Write { path: path.to_owned(), reason: one_line(reason) }
    }
}
