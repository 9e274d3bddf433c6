//! The archive of Keras 3, `.keras`: a zip of the architecture and the weights.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use zip::ZipArchive;

use crate::formats::hdf5::{self, KERAS_CONFIG, MOST_COMPRESSION};
use crate::formats::stored::FileBytes;
use crate::formats::{StoredTensor, WeightsError};

/// Name of the architecture's entry.
const CONFIG: &str = "config.json";
/// Name of the weights' entry, an HDF5 file.
pub(super) const WEIGHTS: &str = "model.weights.h5";

/// The tensors and the architecture of the archive in `bytes`.
pub(in crate::formats) fn read(
    path: &Arc<Path>,
    bytes: &[u8],
) -> Result<(Vec<StoredTensor>, BTreeMap<String, String>), WeightsError> {
    let damaged = |reason: String| WeightsError::format(path, format!("damaged or truncated .keras archive: {reason}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(e.to_string()))?;
    // A zip may claim any size.
    let most = (bytes.len() as u64).saturating_mul(MOST_COMPRESSION);
    let mut member = |name: &str| {
        let member = archive.by_name(name).map_err(|e| damaged(format!("{name}: {e}")))?;
        let mut content = Vec::new();
        member.take(most + 1).read_to_end(&mut content).map_err(|e| damaged(format!("{name}: {e}")))?;
        match content.len() as u64 > most {
            true => Err(damaged(format!("{name} is larger than the whole file can hold"))),
            false => Ok(content),
        }
    };
    let config = String::from_utf8(member(CONFIG)?).map_err(|e| damaged(format!("{CONFIG}: {e}")))?;
    let (tensors, mut metadata) = hdf5::read(path, FileBytes::Owned(member(WEIGHTS)?))?;
    metadata.insert(KERAS_CONFIG.to_string(), config);
    Ok((tensors, metadata))
}
