//! Errors on the way from a file or hub address to a network's parameters.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use crate::text::one_line;

/// A failure to read, match, fetch or write weights.
///
/// Every message is one line, apart from [`Mismatch`], whose lists follow its first line. Text from a file or a server is
/// shortened and shown without control characters.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The path is missing, a folder, unreadable or empty.
    #[error("cannot read weights {}: {reason}", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The defect and, if known, the correction.
        reason: String,
    },
    /// The file is not a checkpoint, or a damaged one.
    #[error("{} cannot be used as weights: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The defect in the content.
        reason: String,
    },
    /// One tensor of an otherwise readable file cannot be used.
    #[error("{}: tensor {name} {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// The defect, as the rest of a sentence.
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
    /// The tensors of the checkpoint do not match the network's.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// The text after `-w` starts with `hf:` but is not a hub address.
    #[error("{address} is no hub address: {reason}; write hf:owner/repo, hf:owner/repo/FILE or hf:owner/repo@revision/FILE")]
    HubAddress {
        /// The address as given.
        address: String,
        /// The defect.
        reason: String,
    },
    /// The hub repository has no unique weights file.
    #[error("{address} {reason}")]
    HubChoice {
        /// The address as given.
        address: String,
        /// The reason, as the rest of a sentence, with the files of the repository.
        reason: String,
    },
    /// A hub file is neither in the cache nor downloadable.
    #[error(
        "cannot get {file} from {url}: {reason}; save it as {}, or give a local copy with -w FILE",
        path.display()
    )]
    Hub {
        /// File name inside the repository.
        file: String,
        /// Full address of the file.
        url: String,
        /// The reason for a failed or refused download.
        reason: String,
        /// Path for a file that is downloaded by hand.
        path: PathBuf,
    },
    /// A hub file differs from its announced size or hash. It is deleted from the cache.
    #[error("{} from {url} is damaged: {reason}; it was deleted from the cache, run again to download it anew", path.display())]
    Damaged {
        /// Path of the damaged file.
        path: PathBuf,
        /// Full address of the file.
        url: String,
        /// The difference.
        reason: String,
    },
    /// The output cannot be written. No partial file remains.
    #[error("cannot write weights {}: {reason}", path.display())]
    Write {
        /// The output path as given.
        path: PathBuf,
        /// The reason.
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

/// A tensor without a counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The most likely intended name on the other side: a similar unmatched name, else the nearest of all.
    pub nearest: Option<String>,
}

/// A tensor that both sides have, in shapes that do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The network's name for it.
    pub name: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub stored: Vec<usize>,
}

/// All differences between a checkpoint and a network.
///
/// `Display` gives one line and then the lists, each cut after [`Mismatch::SHOWN`] lines. The fields hold the whole lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// File name of the checkpoint.
    pub file: String,
    /// Name of the network.
    pub model: String,
    /// Expected tensors that the file lacks.
    pub missing: Vec<Unmatched>,
    /// Tensors of the file that the network lacks.
    pub unexpected: Vec<Unmatched>,
    /// Tensors of both, with different shapes.
    pub misshapen: Vec<Misshapen>,
}

impl Mismatch {
    /// Maximum lines of each list in [`Display`](fmt::Display).
    pub const SHOWN: usize = 10;
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts =
            [(self.missing.len(), "missing"), (self.unexpected.len(), "unexpected"), (self.misshapen.len(), "misshapen")];
        let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        write!(f, "{} does not fit {}: {}", one_line(&self.file), self.model, counts.join(", "))?;
        let unmatched = |tensor: &Unmatched, side: &str| match &tensor.nearest {
            Some(nearest) => format!("{} {:?} (nearest in the {side}: {nearest})", tensor.name, tensor.shape),
            None => format!("{} {:?}", tensor.name, tensor.shape),
        };
        list(f, "missing", &self.missing, |tensor| unmatched(tensor, "file"))?;
        list(f, "unexpected", &self.unexpected, |tensor| unmatched(tensor, "network"))?;
        list(f, "misshapen", &self.misshapen, |tensor| {
            format!("{} is {:?} in the file, {:?} in the network", tensor.name, tensor.stored, tensor.expected)
        })
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, what: &str, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    for item in items.iter().take(Mismatch::SHOWN) {
        write!(f, "\n  {what:<10} {}", line(item))?;
    }
    match items.len().saturating_sub(Mismatch::SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  {what:<10} ... and {more} more"),
    }
}

impl std::error::Error for Mismatch {}
