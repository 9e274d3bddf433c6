//! Writing of weights as a safetensors file, atomically.
//!
//! ```
//! use convscope_models::weights::{Checkpoint, SaveType, TensorToSave, write_safetensors};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("tiny.safetensors");
//! let tensor = TensorToSave { name: "fc.weight", shape: &[2, 3], values: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
//! write_safetensors(&path, &[tensor], SaveType::F16, &Default::default())?;
//! let checkpoint = Checkpoint::open(&path)?;
//! let stored = checkpoint.get("fc.weight").unwrap();
//! assert_eq!((&stored.shape[..], &stored.to_f32()?[4..]), (&[2, 3][..], &[5.0, 6.0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use half::vec::HalfFloatVecExt;
use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::files::Pending;
use crate::formats::WeightsError;
use crate::text::one_line;

/// Element type of written tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaveType {
    /// 4 bytes, exact.
    #[default]
    F32,
    /// 2 bytes, 11 significant bits, up to 65504.
    F16,
    /// 2 bytes, 8 significant bits, the range of f32.
    BF16,
}

impl SaveType {
    /// Name and element size in bytes of the type.
    fn describe(self) -> (&'static str, usize) {
        match self {
            Self::F32 => ("F32", 4),
            Self::F16 => ("F16", 2),
            Self::BF16 => ("BF16", 2),
        }
    }

    /// Little-endian bytes of the values, rounded to nearest even; `None` if a finite value overflows.
    fn encode(self, values: &[f32]) -> Option<Cow<'_, [u8]>> {
        fn checked<T: bytemuck::NoUninit>(
            rounded: Vec<T>,
            values: &[f32],
            is_infinite: fn(T) -> bool,
        ) -> Option<Cow<'static, [u8]>> {
            let overflow = rounded.iter().zip(values).any(|(&r, v)| is_infinite(r) && v.is_finite());
            (!overflow).then(|| Cow::Owned(bytemuck::cast_slice(&rounded).to_vec()))
        }
        match self {
            Self::F32 => Some(Cow::Borrowed(bytemuck::cast_slice(values))),
            Self::F16 => checked(Vec::<f16>::from_f32_slice(values), values, f16::is_infinite),
            Self::BF16 => checked(Vec::<bf16>::from_f32_slice(values), values, bf16::is_infinite),
        }
    }
}

/// A tensor for writing.
#[derive(Debug, Clone, Copy)]
pub struct TensorToSave<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Extents, outermost first; their product is the number of values.
    pub shape: &'a [usize],
    /// The values, row-major.
    pub values: &'a [f32],
}

/// Writes a safetensors file with the tensors in the given order. The same input gives the same bytes.
///
/// The file is written beside its destination and renamed when complete. A memory map of a replaced file keeps the old content.
///
/// # Errors
/// [`WeightsError`] for repeated or reserved names, a shape that does not match the number of values, a value too large for f16
/// or bf16, or an I/O error. No partial file remains, and an existing file stays intact.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[TensorToSave<'_>],
    dtype: SaveType,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let header = header(tensors, dtype, metadata).map_err(|reason| WeightsError::write(path, reason))?;
    Pending::write(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for tensor in tensors {
            let bytes = dtype.encode(tensor.values).ok_or_else(|| {
                io::Error::other(format!("tensor {} holds a value too large for {}", tensor.name, dtype.describe().0))
            })?;
            out.write_all(&bytes)?;
        }
        Ok(())
    })
    .and_then(Pending::publish)
    .map_err(|error| WeightsError::write(path, error))
}

/// The format's JSON header, padded to 8 bytes for aligned values.
fn header(tensors: &[TensorToSave<'_>], dtype: SaveType, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    const METADATA: &str = "__metadata__";
    let (code, size) = dtype.describe();
    let mut entries = Map::new();
    if !metadata.is_empty() {
        entries.insert(METADATA.into(), json!(metadata));
    }
    let mut names = HashSet::from([METADATA]);
    let mut offset = 0;
    for TensorToSave { name, shape, values } in tensors {
        if !names.insert(name) {
            return Err(format!("the tensor name {} is taken", one_line(name)));
        }
        if shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)) != Some(values.len()) {
            return Err(format!("tensor {} has {} values, which is not its shape {shape:?}", one_line(name), values.len()));
        }
        let end = offset + values.len() * size;
        entries.insert((*name).into(), json!({"dtype": code, "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}
