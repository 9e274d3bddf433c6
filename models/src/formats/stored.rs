//! One tensor of a checkpoint, still in its file.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use convscope_engine::kernels::finite::first_non_finite;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;

use super::{Layout, WeightsError};

/// Element type of a stored tensor, by safetensors' name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum StoredType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl StoredType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether the type holds weights; the others hold counters, masks and quantised values.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// A tensor of a [`Checkpoint`](super::Checkpoint): its description, with values on demand.
///
/// Values are little-endian, contiguous and row-major.
#[derive(Clone)]
pub struct StoredTensor {
    /// Dotted name, without the prefix of a training script.
    pub name: String,
    /// Element type in the file.
    pub dtype: StoredType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    pub(super) data: Data,
    /// Path of the file, for messages.
    pub(super) path: Arc<Path>,
}

/// A file in memory.
#[derive(Debug)]
pub enum FileBytes {
    /// A file on the disk.
    Mapped(Mmap),
    /// A part of the binary.
    Included(&'static [u8]),
    /// Extracted from an archive, or computed.
    Owned(Vec<u8>),
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Included(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Location of the bytes.
#[derive(Clone)]
pub(super) enum Data {
    /// A range of a safetensors or ONNX file, or of a file beside it.
    Mapped(Arc<FileBytes>, Range<usize>),
    /// A PyTorch checkpoint, read (and, for a strided view, gathered) on demand. `limit` bounds the size by the file's.
    PyTorch { tensor: pytorch_reader::Tensor, limit: u64 },
    /// An HDF5 file, read on demand, with the same limit.
    Hdf5 { dataset: Arc<hdf5_reader::Dataset>, limit: u64 },
    /// Another tensor's values in another order.
    Rearranged(Box<StoredTensor>, Layout),
}

impl fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.dtype, self.shape)
    }
}

impl StoredTensor {
    /// A vector of these values, as if the file at `path` held it.
    pub(crate) fn of_values(name: String, values: &[f64], path: &Path) -> Self {
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let bytes = bytemuck::cast_slice(&values).to_vec();
        let range = 0..bytes.len();
        let data = Data::Mapped(Arc::new(FileBytes::Owned(bytes)), range);
        Self { name, dtype: StoredType::F32, shape: vec![values.len()], data, path: path.into() }
    }

    /// The values' bytes in the stored type: borrowed from a mapped file, or read from a PyTorch one.
    ///
    /// # Errors
    /// [`WeightsError`] if the file is unreadable or inconsistent, or the tensor claims more bytes than the file has.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, WeightsError> {
        match &self.data {
            Data::Mapped(map, range) => Ok(Cow::Borrowed(&map[range.clone()])),
            Data::PyTorch { tensor, limit } => {
                self.refuse_excess(tensor.byte_len(), *limit)?;
                tensor.read().map(Cow::Owned).map_err(|error| self.error(format!("cannot be read: {error}")))
            }
            Data::Hdf5 { dataset, limit } => {
                let cannot = |error| self.error(format!("cannot be read: {error}"));
                self.refuse_excess(dataset.raw_byte_len().map_err(cannot)?, *limit)?;
                dataset.read_native_bytes().map(Cow::Owned).map_err(cannot)
            }
            Data::Rearranged(of, layout) => {
                let bytes = of.bytes()?;
                Ok(Cow::Owned(match self.dtype {
                    StoredType::F64 => rearrange::<f64>(of, layout, bytes, f64::from),
                    StoredType::F32 => rearrange::<f32>(of, layout, bytes, |value| value),
                    StoredType::F16 => rearrange::<f16>(of, layout, bytes, f16::from_f32),
                    StoredType::BF16 => rearrange::<bf16>(of, layout, bytes, bf16::from_f32),
                    other => return Err(self.error(format!("is stored as {other}, not as a floating-point type"))),
                }))
            }
        }
    }

    fn refuse_excess(&self, claimed: usize, limit: u64) -> Result<(), WeightsError> {
        match claimed as u64 > limit {
            true => Err(self.error(format!("claims {claimed} bytes, more than its whole file can hold ({limit} bytes)"))),
            false => Ok(()),
        }
    }

    /// The mapped file and the tensor's byte range in it, for use without a copy. Only aligned f32 tensors of a safetensors file
    /// have one.
    pub fn mapped(&self) -> Option<(Arc<FileBytes>, Range<usize>)> {
        let aligned = |start: *const u8| (start as usize).is_multiple_of(align_of::<f32>());
        match &self.data {
            Data::Mapped(map, range) if self.dtype == StoredType::F32 && aligned(map[range.clone()].as_ptr()) => {
                Some((Arc::clone(map), range.clone()))
            }
            _ => None,
        }
    }

    /// The values as f32, from any floating-point type.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); and [`WeightsError`] if the stored type is not a floating-point one.
    pub fn to_f32(&self) -> Result<Vec<f32>, WeightsError> {
        self.values().map(Cow::into_owned)
    }

    /// As [`to_f32`](Self::to_f32), but refuses NaN and infinity.
    ///
    /// # Errors
    /// As [`to_f32`](Self::to_f32), and [`WeightsError::NotFinite`] with the counts and the first index.
    pub fn to_f32_checked(&self) -> Result<Vec<f32>, WeightsError> {
        let values = self.values()?;
        self.refuse_non_finite(&values)?;
        Ok(values.into_owned())
    }

    /// Checks for NaN and infinity, without a copy of [`mapped`](Self::mapped) values.
    ///
    /// # Errors
    /// As [`to_f32_checked`](Self::to_f32_checked).
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        self.refuse_non_finite(&self.values()?)
    }

    fn values(&self) -> Result<Cow<'_, [f32]>, WeightsError> {
        if !self.dtype.is_float() {
            return Err(self.error(format!("is stored as {}, not as a floating-point type", self.dtype)));
        }
        let bytes = self.bytes()?;
        Ok(match self.dtype {
            StoredType::F32 => pods::<f32>(bytes),
            StoredType::F16 => Cow::Owned(pods::<f16>(bytes).to_f32_vec()),
            StoredType::BF16 => Cow::Owned(pods::<bf16>(bytes).to_f32_vec()),
            _ => Cow::Owned(pods::<f64>(bytes).iter().map(|&value| value as f32).collect()),
        })
    }

    fn refuse_non_finite(&self, values: &[f32]) -> Result<(), WeightsError> {
        let Some(first) = first_non_finite(values) else {
            return Ok(());
        };
        let nan = values.iter().filter(|value| value.is_nan()).count();
        let infinite = values.iter().filter(|value| value.is_infinite()).count();
        let name = crate::text::one_line(&self.name);
        Err(WeightsError::NotFinite { path: self.path.to_path_buf(), name, nan, infinite, first })
    }

    fn error(&self, reason: impl fmt::Display) -> WeightsError {
        WeightsError::tensor(&self.path, &self.name, reason)
    }
}

/// The bytes of `of`, values of `T`, in another order.
fn rearrange<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    of: &StoredTensor,
    layout: &Layout,
    bytes: Cow<'_, [u8]>,
    filled: impl Fn(f32) -> T,
) -> Vec<u8> {
    bytemuck::cast_slice(&layout.apply(&of.shape, &pods::<T>(bytes), filled)).to_vec()
}

/// Bytes as values of `T`: in place where they are aligned, else copied.
fn pods<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(bytes: Cow<'_, [u8]>) -> Cow<'_, [T]> {
    match bytes {
        Cow::Borrowed(bytes) => match bytemuck::try_cast_slice(bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        },
        Cow::Owned(bytes) => Cow::Owned(bytemuck::pod_collect_to_vec(&bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_and_sizes() {
        assert_eq!(StoredType::BF16.to_string(), "bf16");
        assert_eq!(StoredType::F64.size(), 8);
        assert!(StoredType::F16.is_float() && !StoredType::U8.is_float());
    }
}
