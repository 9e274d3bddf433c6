//! A file of named tensors: safetensors, PyTorch, Keras's HDF5 or ONNX.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::onnx::proto::looks_like_model;
use super::stored::FileBytes;
use super::wrapper::wrapper_prefix;
use super::{StoredTensor, WeightsError, keras, onnx, pytorch, safetensors};
use crate::text::{distance, natural_cmp};

/// The format of a checkpoint, detected from its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [safetensors](https://huggingface.co/docs/safetensors): a JSON header and raw values.
    Safetensors,
    /// `torch.save`: a pickle with storages, in a zip, legacy or tar container.
    PyTorch,
    /// Keras' `.h5` or `.hdf5`: whole models and weights.
    Hdf5,
    /// The archive of Keras 3, `.keras`: a zip of the architecture and an HDF5 file.
    Keras,
    /// [ONNX](https://onnx.ai): a graph and its initializers in Protocol Buffers.
    Onnx,
}

/// The named tensors of one file, in natural order of their names (`layer1.2` before `layer1.10`).
///
/// Opening reads descriptions only. Values stay in the file until they are read.
#[derive(Debug)]
pub struct Checkpoint {
    path: Arc<Path>,
    format: Format,
    wrapper: String,
    tensors: Vec<StoredTensor>,
    metadata: BTreeMap<String, String>,
    /// Bytes of an ONNX file, for its graph.
    onnx: Option<Arc<FileBytes>>,
}

impl Checkpoint {
    /// Opens a safetensors file, a PyTorch checkpoint (`.pth`, `.pt`, `.th`, `.tar`, `.bin`), a Keras model (`.keras`, `.h5`,
    /// `.hdf5`) or an ONNX model, whose values may be in files beside it. The content decides the format. Nothing in a pickle is
    /// executed.
    ///
    /// Prefixes that training scripts add (`state_dict`, `model`, `module.`, `_orig_mod.`) are removed from the names. Optimizer
    /// state and counters are left out.
    ///
    /// The file is mapped into memory: do not truncate it while the checkpoint or a mapping of it is alive.
    ///
    /// # Errors
    /// [`WeightsError`] in one line: a missing file (with the nearest file name beside it), a folder, an empty, unreadable,
    /// damaged or truncated file, another format, or no tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let map = map_file(path)?;
        let shared: Arc<Path> = path.into();
        let mut onnx = None;
        let (format, mut tensors, metadata) = match sniff(&map) {
            Content::Safetensors => {
                let (tensors, metadata) = safetensors::read(&shared, FileBytes::Mapped(map))?;
                (Format::Safetensors, tensors, metadata)
            }
            Content::PyTorch => (Format::PyTorch, pytorch::read(&shared, &map)?, BTreeMap::new()),
            Content::Hdf5 => {
                let (tensors, metadata) = super::hdf5::read(&shared, FileBytes::Mapped(map))?;
                (Format::Hdf5, tensors, metadata)
            }
            Content::Onnx => {
                let file = onnx.insert(Arc::new(FileBytes::Mapped(map)));
                (Format::Onnx, onnx::tensors::read(&shared, file)?, BTreeMap::new())
            }
            Content::Keras => {
                let (tensors, metadata) = keras::archive::read(&shared, &map)?;
                (Format::Keras, tensors, metadata)
            }
            Content::Other(what) => return Err(WeightsError::format(path, what)),
        };
        if tensors.is_empty() {
            return Err(WeightsError::format(
                path,
                match format {
                    Format::Safetensors => "it is a safetensors file without a tensor",
                    Format::PyTorch => "it is a Python pickle without a tensor in it (nothing in it was executed)",
                    Format::Keras => "it is a .keras archive without a tensor in its model.weights.h5",
                    Format::Hdf5 => "it is an HDF5 file without a tensor where Keras keeps its weights",
                    Format::Onnx => "it is an ONNX model without a tensor",
                },
            ));
        }
        // A file that describes its network may use any layer name.
        let wrapper = match format {
            Format::Hdf5 | Format::Keras | Format::Onnx => String::new(),
            _ => wrapper_prefix(tensors.iter().map(|tensor| tensor.name.as_str())),
        };
        if !wrapper.is_empty() {
            tensors.retain_mut(|tensor| match tensor.name.strip_prefix(&wrapper) {
                Some(name) => {
                    tensor.name = name.to_owned();
                    true
                }
                None => false,
            });
        }
        tensors.sort_by(|a, b| natural_cmp(&a.name, &b.name));
        Ok(Self { path: shared, format, wrapper, tensors, metadata, onnx })
    }

    /// A safetensors file in the binary, with `name` for messages.
    ///
    /// # Errors
    /// [`WeightsError`] if it is damaged.
    pub fn included(name: &str, bytes: &'static [u8]) -> Result<Self, WeightsError> {
        let path: Arc<Path> = Path::new(name).into();
        let (mut tensors, metadata) = safetensors::read(&path, FileBytes::Included(bytes))?;
        tensors.sort_by(|a, b| natural_cmp(&a.name, &b.name));
        Ok(Self { path, format: Format::Safetensors, wrapper: String::new(), tensors, metadata, onnx: None })
    }

    /// This file with other tensors, derived from its own.
    pub(crate) fn with_tensors(&self, mut tensors: Vec<StoredTensor>) -> Self {
        tensors.sort_by(|a, b| natural_cmp(&a.name, &b.name));
        let (path, wrapper, metadata) = (self.path.clone(), self.wrapper.clone(), self.metadata.clone());
        Self { path, wrapper, metadata, tensors, onnx: self.onnx.clone(), ..*self }
    }

    /// Bytes of an ONNX file.
    pub(crate) fn onnx(&self) -> Option<&Arc<FileBytes>> {
        self.onnx.as_ref()
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The prefix removed from every name, such as `state_dict.module.`; empty for a plain state dict.
    pub fn wrapper(&self) -> &str {
        &self.wrapper
    }

    /// All tensors of the network, including integers such as `num_batches_tracked`.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        let index = self.tensors.binary_search_by(|tensor| natural_cmp(&tensor.name, name)).ok()?;
        Some(&self.tensors[index])
    }

    /// `__metadata__` of a safetensors file. A Keras model has its architecture under [`KERAS_CONFIG`](super::KERAS_CONFIG).
    /// PyTorch files have none.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

pub(super) fn map_file(path: &Path) -> Result<Mmap, WeightsError> {
    let cannot = |error: std::io::Error| WeightsError::read(path, describe_io(path, &error));
    let about = fs::metadata(path).map_err(cannot)?;
    if about.is_dir() {
        return Err(WeightsError::read(path, "it is a folder; name the weights file in it"));
    }
    if !about.is_file() {
        return Err(WeightsError::read(path, "it is not a regular file"));
    }
    if about.len() == 0 {
        return Err(WeightsError::read(path, "it is empty (0 bytes)"));
    }
    let file = File::open(path).map_err(cannot)?;
    // SAFETY: the map is read-only and only ever seen as bytes or plain numbers, for which any content is valid. Another process
    // may truncate the file under the map. The docs state this; the result is SIGBUS.
    unsafe { Mmap::map(&file) }.map_err(cannot)
}

/// An I/O error, with the nearest file name if the folder exists and the file does not.
fn describe_io(path: &Path, error: &std::io::Error) -> String {
    if error.kind() != std::io::ErrorKind::NotFound {
        return error.to_string();
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else {
        return format!("there is no folder {}", folder.display());
    };
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let nearest = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .map(|name| (distance(&wanted, &name), name))
        .filter(|(distance, name)| *distance * 3 <= name.chars().count())
        .min();
    match nearest {
        Some((_, name)) => format!("no such file; did you mean {}?", folder.join(name).display()),
        None => "no such file".into(),
    }
}

enum Content {
    Safetensors,
    PyTorch,
    Hdf5,
    Onnx,
    Keras,
    Other(String),
}

/// Detects the format from the first bytes.
fn sniff(bytes: &[u8]) -> Content {
    let header_length = bytes.first_chunk().map_or(u64::MAX, |length| u64::from_le_bytes(*length));
    // Before the pickle test: the low byte of a header length may be a pickle's first byte.
    if header_length <= safetensors::MAX_HEADER && bytes.get(8) == Some(&b'{') {
        return Content::Safetensors;
    }
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Content::Hdf5;
    }
    if bytes.starts_with(b"PK\x03\x04") {
        // The directory at the end of a `.keras` zip lists its weights file.
        let tail = &bytes[bytes.len().saturating_sub(4096)..];
        let keras = tail.windows(16).any(|window| window == b"model.weights.h5");
        return if keras { Content::Keras } else { Content::PyTorch };
    }
    let tar = bytes.get(257..262) == Some(b"ustar");
    // The opcode PROTO begins pickles of protocol 2 and up. Older protocols occur in legacy files only, which begin with a magic
    // number.
    if tar || bytes.first() == Some(&0x80) || bytes.starts_with(b"L119547037146038801333356") {
        return Content::PyTorch;
    }
    if looks_like_model(bytes) {
        return Content::Onnx;
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim_start().to_ascii_lowercase();
    Content::Other(if start.starts_with("version https://git-lfs") {
        "it is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from".into()
    } else if start.starts_with("<!doctype html") || start.starts_with("<html") {
        "it is a web page, not the file itself: download it by the address of its raw content".into()
    } else {
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!(
            "it is neither safetensors nor a PyTorch checkpoint nor a Keras file nor ONNX (it starts with bytes {})",
            first.join(" ")
        )
    })
}
