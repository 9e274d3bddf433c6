//! What can go wrong between a file or hub address and a network's parameters.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use crate::text::one_line;

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

/// A tensor that only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The name on the other side that was most likely meant: one that is left over there, if one is alike, else any.
    pub nearest: Option<String>,
}

/// A tensor that both sides have, in shapes that cannot be told apart by grouping trailing dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The network's name for it.
    pub name: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub stored: Vec<usize>,
}

/// Every way in which a checkpoint does not fit a network.
///
/// Displayed as one head line and, below it, the lists, each cut after [`Mismatch::SHOWN`] lines; the whole lists are
/// in the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// File name of the checkpoint.
    pub file: String,
    /// Name of the network.
    pub model: String,
    /// Expected, but not in the file.
    pub missing: Vec<Unmatched>,
    /// In the file, but not expected.
    pub unexpected: Vec<Unmatched>,
    /// In both, with shapes that do not agree.
    pub misshapen: Vec<Misshapen>,
}

impl Mismatch {
    /// Lines of each list that [`Display`](fmt::Display) shows.
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
