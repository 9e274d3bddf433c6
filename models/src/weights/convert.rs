//! Writing weights: a safetensors file, whole or not at all.

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
    /// The format's name and the bytes of one element.
    fn describe(self) -> (&'static str, usize) {
        match self {
            Self::F32 => ("F32", 4),
            Self::F16 => ("F16", 2),
            Self::BF16 => ("BF16", 2),
        }
    }

    /// Little-endian bytes of the values, rounded to nearest even; `None` if a finite value became infinite.
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

/// A tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct TensorToSave<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// Extents, outermost first; their product is the number of values.
    pub shape: &'a [usize],
    /// The values, row-major.
    pub values: &'a [f32],
}

/// Writes a safetensors file with the tensors in the order given. The same input gives the same bytes.
///
/// The file appears under its name only when it is complete: it is written beside it first and renamed. A file of that
/// name is replaced; one that is mapped keeps its old content for whoever has it open.
///
/// # Errors
/// Two tensors of one name, a name that the format reserves, a shape that does not count the values, a value too large
/// for f16 or bf16, or an I/O error. Nothing is left behind then, and an older file of that name stays as it was.
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

/// The format's JSON header, padded so that the values after it are 8-byte aligned.
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
