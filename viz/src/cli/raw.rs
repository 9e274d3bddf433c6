//! Files of numbers: `--raw` and `convert` write the format that the file's extension names.

use super::error::CliError;
use convscope_models::weights::{SaveType, TensorToSave, WeightsError, write_safetensors};
use convscope_viz::draw::png::write_all_atomic;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::{SimpleFileOptions, ZipWriter};

/// Maximum numbers in a CSV file.
const CSV_NUMBERS: usize = 100_000;

/// A format of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawFormat {
    /// Any tensors, with metadata.
    Safetensors,
    /// One tensor, for `numpy.load`.
    Npy,
    /// Any tensors, for `numpy.load`.
    Npz,
    /// A line for each number: the tensor's name, the indices, the number.
    Csv,
}

impl RawFormat {
    /// The format of a file by its extension.
    ///
    /// # Errors
    /// A usage error that names the formats.
    pub fn of(path: &Path) -> Result<Self, CliError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Ok(match extension.as_str() {
            "safetensors" => RawFormat::Safetensors,
            "npy" => RawFormat::Npy,
            "npz" => RawFormat::Npz,
            "csv" => RawFormat::Csv,
            _ => {
                let path = path.display();
                return Err(CliError::usage(format!("{path}: numbers are written as .safetensors, .npz, .npy or .csv")));
            }
        })
    }

    /// Writes the tensors to `path` or leaves it as it is. The metadata goes into formats that have some.
    ///
    /// # Errors
    /// Several tensors for a format that holds one; too many numbers; a file that cannot be written.
    pub fn write(
        self,
        path: &Path,
        tensors: &[TensorToSave],
        dtype: SaveType,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), CliError> {
        let bytes = match (self, tensors) {
            (RawFormat::Safetensors, _) => {
                return in_folder(path, || write_safetensors(path, tensors, dtype, metadata)).map_err(|e| match e {
                    // The tensors may be no weights.
                    WeightsError::Write { path, reason } => {
                        CliError::failure(format!("cannot write {}: {reason}", path.display()))
                    }
                    other => other.into(),
                });
            }
            (_, _) if dtype != SaveType::F32 => {
                return Err(CliError::usage(format!("{}: only .safetensors holds f16 and bf16", path.display())));
            }
            (RawFormat::Npy, [tensor]) => npy(tensor),
            (RawFormat::Npy, _) => {
                let (path, names) = (path.display(), names(tensors));
                return Err(CliError::usage(format!("{path}: .npy holds one tensor; write these to .npz: {names}")));
            }
            (RawFormat::Npz, _) => {
                npz(tensors).map_err(|e| CliError::failure(format!("cannot write {}: {e}", path.display())))?
            }
            (RawFormat::Csv, _) => {
                let numbers: usize = tensors.iter().map(|t| t.values.len()).sum();
                if numbers > CSV_NUMBERS {
                    let path = path.display();
                    return Err(CliError::usage(format!(
                        "{path}: {numbers} numbers, and .csv takes {CSV_NUMBERS}: write them to .npz"
                    )));
                }
                csv(tensors).into_bytes()
            }
        };
        Ok(write_all_atomic(vec![(path.to_path_buf(), bytes)])?)
    }
}

/// Writes a file whose folder is made if it is missing, and removed again if the writing fails.
fn in_folder<E>(path: &Path, write: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let folders = path.parent().into_iter().flat_map(Path::ancestors);
    let missing: Vec<&Path> = folders.take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    // Without the folder the writing fails, with a reason.
    let _ = missing.first().map(fs::create_dir_all);
    let result = write();
    if result.is_err() {
        missing.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
    result
}

fn names(tensors: &[TensorToSave]) -> String {
    tensors.iter().map(|t| t.name).collect::<Vec<_>>().join(", ")
}

/// A tensor in NumPy's format, version 1.0: little-endian f32 in C order.
fn npy(tensor: &TensorToSave) -> Vec<u8> {
    let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    // A tuple of one has a comma.
    let comma = if shape.len() == 1 { "," } else { "" };
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{comma}), }}", shape.join(", "));
    // The header ends in a line feed, and the numbers begin at a multiple of 64 bytes.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(format!("{header:width$}\n", width = length - 1).into_bytes());
    out.extend(tensor.values.iter().flat_map(|v| v.to_le_bytes()));
    out
}

/// A zip archive of `.npy` files.
fn npz(tensors: &[TensorToSave]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // Stored, and of one date: numbers compress badly, and the same command gives the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .large_file(true);
    for tensor in tensors {
        archive.start_file(format!("{}.npy", tensor.name), options)?;
        archive.write_all(&npy(tensor))?;
    }
    Ok(archive.finish()?.into_inner())
}

/// `tensor,i0,i1,..,value`, with as many indices as the largest rank.
fn csv(tensors: &[TensorToSave]) -> String {
    let rank = tensors.iter().map(|t| t.shape.len()).max().unwrap_or(0);
    let mut out = format!("tensor,{}value\n", (0..rank).map(|axis| format!("i{axis},")).collect::<String>());
    for tensor in tensors {
        let name = csv_text(tensor.name);
        for (position, value) in tensor.values.iter().enumerate() {
            let mut indices = vec![String::new(); rank];
            let mut rest = position;
            for (index, size) in indices.iter_mut().zip(tensor.shape).rev() {
                *index = (rest % size).to_string();
                rest /= size;
            }
            out += &format!("{name},{}{value}\n", indices.iter().map(|i| format!("{i},")).collect::<String>());
        }
    }
    out
}

/// Text as a field of CSV. One that a spreadsheet would run as a formula begins with an apostrophe.
pub fn csv_text(text: &str) -> String {
    let plain = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_string() };
    let quoted = plain.contains([',', '"', '\n', '\r']);
    if quoted { format!("\"{}\"", plain.replace('"', "\"\"")) } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 6] = [0.0, 1.0, -2.5, 3.0, 4.0, 5.0];

    #[test]
    fn numpys_header_is_as_numpy_writes_it() {
        let bytes = npy(&TensorToSave { name: "x", shape: &[2, 3], values: &VALUES });
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } "));
        assert_eq!((bytes.len(), bytes[127]), (128 + 24, b'\n'));
        assert_eq!(bytes[136..140], (-2.5f32).to_le_bytes());
        assert!(npy(&TensorToSave { name: "x", shape: &[6], values: &VALUES }).windows(4).any(|w| w == b"(6,)"));
        assert!(npy(&TensorToSave { name: "x", shape: &[], values: &VALUES[..1] }).windows(2).any(|w| w == b"()"));
    }

    #[test]
    fn a_line_of_csv_has_the_indices() {
        let tensors = [
            TensorToSave { name: "x", shape: &[2, 3], values: &VALUES },
            TensorToSave { name: "=y", shape: &[2], values: &VALUES[..2] },
        ];
        let text = csv(&tensors);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..4], ["tensor,i0,i1,value", "x,0,0,0", "x,0,1,1", "x,0,2,-2.5"]);
        assert_eq!(lines[6..], ["x,1,2,5", "'=y,0,,0", "'=y,1,,1"]);
    }

    #[test]
    fn the_extension_is_the_format() {
        assert_eq!(RawFormat::of(Path::new("a/B.NPZ")).unwrap(), RawFormat::Npz);
        for wrong in ["x.json", "x", "x.npy.gz", ".npz"] {
            let e = RawFormat::of(Path::new(wrong)).unwrap_err();
            assert!(e.code == 2 && e.message.contains(".safetensors, .npz, .npy or .csv"), "{}", e.message);
        }
    }
}
