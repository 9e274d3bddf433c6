//! Safetensors files.

use super::stored::{Data, FileBytes};
use super::{StoredTensor, StoredType, WeightsError};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The largest JSON header that the safetensors format allows.
pub(super) const MAX_HEADER: u64 = 100_000_000;

type Read = (Vec<StoredTensor>, BTreeMap<String, String>);

/// The tensors of a file, and its `__metadata__`.
pub(super) fn read(path: &Arc<Path>, map: FileBytes) -> Result<Read, WeightsError> {
    let map = Arc::new(map);
    let (header, metadata) =
        SafeTensors::read_metadata(&map).map_err(|error| WeightsError::format(path, describe(&error, &map)))?;
    let values = 8 + header; // a u64 length goes before the header
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let Some(dtype) = stored_type(info.dtype) else {
            let reason = format!("has the type {}, which is not read: f64, f32, f16 and bf16 are", info.dtype);
            return Err(WeightsError::tensor(path, &name, reason));
        };
        let (start, end) = info.data_offsets;
        let data = Data::Mapped(Arc::clone(&map), values + start..values + end);
        tensors.push(StoredTensor { name, dtype, shape: info.shape.clone(), data, path: Arc::clone(path) });
    }
    Ok((tensors, metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()))
}

fn describe(error: &SafeTensorError, bytes: &[u8]) -> String {
    match error {
        SafeTensorError::InvalidHeaderLength => format!(
            "truncated safetensors: the header alone is {} bytes, the file has {}",
            bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length)),
            bytes.len()
        ),
        SafeTensorError::MetadataIncompleteBuffer => format!(
            "truncated or damaged safetensors: the header describes another length than the {} bytes of the file",
            bytes.len()
        ),
        other => format!("damaged safetensors: {other}"),
    }
}

fn stored_type(dtype: Dtype) -> Option<StoredType> {
    Some(match dtype {
        Dtype::F64 => StoredType::F64,
        Dtype::F32 => StoredType::F32,
        Dtype::F16 => StoredType::F16,
        Dtype::BF16 => StoredType::BF16,
        Dtype::I64 => StoredType::I64,
        Dtype::I32 => StoredType::I32,
        Dtype::I16 => StoredType::I16,
        Dtype::I8 => StoredType::I8,
        Dtype::U64 => StoredType::U64,
        Dtype::U32 => StoredType::U32,
        Dtype::U16 => StoredType::U16,
        Dtype::U8 => StoredType::U8,
        Dtype::BOOL => StoredType::Bool,
        _ => return None,
    })
}
