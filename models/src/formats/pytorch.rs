//! PyTorch checkpoints. Nothing in them is executed.

use super::stored::Data;
use super::{StoredTensor, StoredType, WeightsError};
use pytorch_reader::PytorchReader;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use zip::ZipArchive;

/// The tensors of a checkpoint.
pub(super) fn read(path: &Arc<Path>, bytes: &[u8]) -> Result<Vec<StoredTensor>, WeightsError> {
    let damaged = |reason: String| WeightsError::format(path, format!("damaged or unsupported PyTorch checkpoint: {reason}"));
    let file_length = bytes.len() as u64;
    // A pickle byte may become an object of a hundred bytes, and a byte of a compressed pickle a thousand. torch.save does not
    // compress.
    if let Some(claimed) = zipped_pickle(bytes).filter(|&claimed| claimed > file_length) {
        return Err(damaged(format!("its data.pkl claims {claimed} bytes, the whole file has {file_length}")));
    }
    let reader = PytorchReader::new(path).map_err(|error| damaged(error.to_string()))?;
    let stored = |tensor: pytorch_reader::Tensor| StoredTensor {
        name: tensor.name.clone(),
        dtype: torch_type(tensor.dtype()),
        shape: tensor.shape().to_vec(),
        // An expanded view (stride 0) may claim gigabytes in a file of bytes; torch.save does not compress.
        data: Data::PyTorch { tensor, limit: file_length },
        path: Arc::clone(path),
    };
    Ok(reader.into_tensors().into_values().map(stored).collect())
}

/// Claimed size of the pickle in a zip, the largest of several. The reader refuses files that are not zips, or damaged ones.
fn zipped_pickle(bytes: &[u8]) -> Option<u64> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let claims = (0..archive.len()).filter_map(|index| {
        let entry = archive.by_index_raw(index).ok()?;
        entry.name().ok()?.ends_with("data.pkl").then(|| entry.size())
    });
    claims.max()
}

fn torch_type(dtype: pytorch_reader::DType) -> StoredType {
    use pytorch_reader::DType;
    match dtype {
        DType::F64 => StoredType::F64,
        DType::F32 => StoredType::F32,
        DType::F16 => StoredType::F16,
        DType::BF16 => StoredType::BF16,
        DType::I64 => StoredType::I64,
        DType::I32 => StoredType::I32,
        DType::I16 => StoredType::I16,
        DType::I8 => StoredType::I8,
        DType::U64 => StoredType::U64,
        DType::U32 => StoredType::U32,
        DType::U16 => StoredType::U16,
        DType::U8 => StoredType::U8,
        DType::Bool => StoredType::Bool,
    }
}
