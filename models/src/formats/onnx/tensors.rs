//! The tensors of an ONNX file: initializers and constants by name, in the file or beside it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use super::proto::{self, part, parts};
use crate::formats::checkpoint::map_file;
use crate::formats::stored::{Data, FileBytes};
use crate::formats::{StoredTensor, StoredType, WeightsError};

/// Bytes of a file, shared by decoded messages.
struct Shared(Arc<FileBytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The graph of a model.
///
/// # Errors
/// A message, to be read after the file's name, if the bytes are not a model.
pub(super) fn model(file: &Arc<FileBytes>) -> Result<(proto::Model, proto::Graph), String> {
    let model: proto::Model = part(&Bytes::from_owner(Shared(Arc::clone(file))))?;
    if model.graph.is_empty() {
        return Err("truncated ONNX: it has no graph".into());
    }
    let graph = part(&model.graph)?;
    Ok((model, graph))
}

/// The initializers of a model, and the tensors of its `Constant` nodes under the names of their outputs.
pub(in crate::formats) fn read(path: &Arc<Path>, file: &Arc<FileBytes>) -> Result<Vec<StoredTensor>, WeightsError> {
    let fail = |reason: String| WeightsError::format(path, reason);
    let (_, graph) = model(file).map_err(fail)?;
    let reader = Reader { path, file, external: RefCell::default() };
    let mut tensors = Vec::new();
    for tensor in parts(&graph.initializer) {
        tensors.push(reader.tensor(tensor.map_err(fail)?)?);
    }
    for node in parts::<proto::Node>(&graph.node) {
        let node = node.map_err(fail)?;
        let ("Constant", [output]) = (node.op_type.as_str(), &node.output[..]) else { continue };
        for attribute in parts::<proto::Attribute>(&node.attribute) {
            let attribute = attribute.map_err(fail)?;
            if attribute.name == "value" {
                let tensor: proto::Tensor = part(&attribute.t).map_err(fail)?;
                tensors.push(reader.tensor(proto::Tensor { name: output.clone(), ..tensor })?);
            }
        }
    }
    Ok(tensors)
}

struct Reader<'a> {
    path: &'a Arc<Path>,
    file: &'a Arc<FileBytes>,
    /// Files of values beside the model, by the model's names for them.
    external: RefCell<HashMap<String, Arc<FileBytes>>>,
}

impl Reader<'_> {
    fn tensor(&self, tensor: proto::Tensor) -> Result<StoredTensor, WeightsError> {
        let fail = |reason: String| WeightsError::tensor(self.path, &tensor.name, reason);
        let dtype = stored_type(tensor.data_type).map_err(fail)?;
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
        let count = |shape: &[usize]| shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        let sized = shape.and_then(|shape| Some((count(&shape)?.checked_mul(dtype.size())?, shape)));
        let (length, shape) = sized.ok_or_else(|| fail(format!("has the impossible shape {:?}", tensor.dims)))?;
        let data = match tensor.data_location {
            1 => self.external(&tensor, length)?,
            _ => self.own(&tensor, dtype, length).map_err(fail)?,
        };
        Ok(StoredTensor { name: tensor.name, dtype, shape, data, path: Arc::clone(self.path) })
    }

    /// Values in the model's file.
    fn own(&self, tensor: &proto::Tensor, dtype: StoredType, length: usize) -> Result<Data, String> {
        let is_length = |got: usize| match got == length {
            true => Ok(()),
            false => Err(format!("holds {got} bytes, which are not its shape {:?} of {dtype}", tensor.dims)),
        };
        // A missing list has another length.
        let fixed = match dtype {
            StoredType::F32 if tensor.raw_data.is_empty() => &tensor.float_data,
            StoredType::F64 if tensor.raw_data.is_empty() => &tensor.double_data,
            _ => &tensor.raw_data,
        };
        if !fixed.is_empty() || length == 0 {
            is_length(fixed.len())?;
            return Ok(match self.range(fixed) {
                Some(range) => Data::Mapped(Arc::clone(self.file), range),
                None => made(fixed.to_vec()),
            });
        }
        let ints = &tensor.int32_data;
        let bytes: Vec<u8> = match dtype {
            StoredType::I64 => bytemuck::cast_slice(&tensor.int64_data).to_vec(),
            StoredType::U64 => bytemuck::cast_slice(&tensor.uint64_data).to_vec(),
            StoredType::U32 => tensor.uint64_data.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
            StoredType::I32 => bytemuck::cast_slice(ints).to_vec(),
            // The bits of a value, in an integer of its own.
            StoredType::F16 | StoredType::BF16 | StoredType::I16 | StoredType::U16 => {
                ints.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect()
            }
            StoredType::I8 | StoredType::U8 | StoredType::Bool => ints.iter().map(|&v| v as u8).collect(),
            StoredType::F32 | StoredType::F64 => Vec::new(),
        };
        is_length(bytes.len())?;
        Ok(made(bytes))
    }

    /// Byte range in the file.
    fn range(&self, bytes: &Bytes) -> Option<Range<usize>> {
        let start = (bytes.as_ptr() as usize).checked_sub(self.file.as_ptr() as usize)?;
        let end = start.checked_add(bytes.len())?;
        (end <= self.file.len()).then_some(start..end)
    }

    /// Values in a file beside the model (<https://onnx.ai/onnx/repo-docs/ExternalData.html>).
    fn external(&self, tensor: &proto::Tensor, length: usize) -> Result<Data, WeightsError> {
        let fail = |reason: String| WeightsError::tensor(self.path, &tensor.name, reason);
        let (mut location, mut offset, mut stored) = (String::new(), 0, length);
        for entry in parts::<proto::Entry>(&tensor.external_data) {
            let entry = entry.map_err(fail)?;
            let number =
                || entry.value.parse().map_err(|_| fail(format!("has {} {:?}: expects a number", entry.key, entry.value)));
            match entry.key.as_str() {
                "location" => location = entry.value,
                "offset" => offset = number()?,
                "length" => stored = number()?,
                _ => {}
            }
        }
        let mut files = self.external.borrow_mut();
        let file = match files.get(&location) {
            Some(file) => Arc::clone(file),
            None => {
                let path = self.beside(&location).map_err(fail)?;
                let file = Arc::new(FileBytes::Mapped(map_file(&path)?));
                files.insert(location.clone(), Arc::clone(&file));
                file
            }
        };
        if stored != length {
            return Err(fail(format!("has {stored} bytes in {location}, which are not its shape {:?}", tensor.dims)));
        }
        match offset.checked_add(length).filter(|&end: &usize| end <= file.len()) {
            Some(end) => Ok(Data::Mapped(file, offset..end)),
            None => Err(fail(format!("expects {length} bytes from {offset} on of {location}, which has {}", file.len()))),
        }
    }

    /// A file in the model's folder or below it.
    fn beside(&self, location: &str) -> Result<PathBuf, String> {
        let relative = Path::new(location);
        let inside = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        match inside && !location.is_empty() && !location.contains(char::is_control) {
            true => Ok(self.path.parent().unwrap_or(Path::new("")).join(relative)),
            false => Err(format!("has its values in {location:?}: only files in the model's own folder are read")),
        }
    }
}

/// Values that are not a range of a file.
fn made(bytes: Vec<u8>) -> Data {
    let range = 0..bytes.len();
    Data::Mapped(Arc::new(FileBytes::Owned(bytes)), range)
}

/// `TensorProto.DataType`.
fn stored_type(code: i32) -> Result<StoredType, String> {
    Ok(match code {
        1 => StoredType::F32,
        2 => StoredType::U8,
        3 => StoredType::I8,
        4 => StoredType::U16,
        5 => StoredType::I16,
        6 => StoredType::I32,
        7 => StoredType::I64,
        9 => StoredType::Bool,
        10 => StoredType::F16,
        11 => StoredType::F64,
        12 => StoredType::U32,
        13 => StoredType::U64,
        16 => StoredType::BF16,
        other => return Err(format!("has the ONNX type {other}, which is not read: float, double, float16 and bfloat16 are")),
    })
}

impl StoredTensor {
    /// The values of a small tensor, for hyperparameters; `None` if there are more than `most`. 64-bit integers are exact up to
    /// 2^53.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn numbers(&self, most: usize) -> Result<Option<Vec<f64>>, WeightsError> {
        fn all<T: bytemuck::AnyBitPattern>(bytes: &[u8], number: fn(T) -> f64) -> Vec<f64> {
            bytes.chunks_exact(size_of::<T>()).map(|chunk| number(bytemuck::pod_read_unaligned(chunk))).collect()
        }
        if self.shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).is_none_or(|n| n > most) {
            return Ok(None);
        }
        let bytes = self.bytes()?;
        Ok(Some(match self.dtype {
            StoredType::F64 => all::<f64>(&bytes, |v| v),
            StoredType::F32 => all::<f32>(&bytes, f64::from),
            StoredType::F16 => all::<f16>(&bytes, f64::from),
            StoredType::BF16 => all::<bf16>(&bytes, f64::from),
            StoredType::I64 => all::<i64>(&bytes, |v| v as f64),
            StoredType::U64 => all::<u64>(&bytes, |v| v as f64),
            StoredType::I32 => all::<i32>(&bytes, f64::from),
            StoredType::U32 => all::<u32>(&bytes, f64::from),
            StoredType::I16 => all::<i16>(&bytes, f64::from),
            StoredType::U16 => all::<u16>(&bytes, f64::from),
            StoredType::I8 => all::<i8>(&bytes, f64::from),
            StoredType::U8 | StoredType::Bool => all::<u8>(&bytes, f64::from),
        }))
    }
}
