//! Output files of a command, collected first and written together, so that a failure leaves no partial output.

use super::error::CliError;
use super::terminal::print;
use convscope_engine::Tensor;
use convscope_models::weights::{SaveType, TensorToSave, WeightsError, write_safetensors};
use convscope_viz::draw::png::{self, FileBatch, Metadata};
use image::RgbImage;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Pictures and raw values of one command.
pub struct OutputFiles {
    folder: PathBuf,
    raw: Option<PathBuf>,
    quiet: bool,
    /// Metadata of all pictures of the command.
    metadata: Map<String, Value>,
    files: Vec<(PathBuf, Vec<u8>)>,
    tensors: Vec<(String, Tensor)>,
}

impl OutputFiles {
    pub fn new(common: &super::args::Common, metadata: Map<String, Value>) -> Self {
        OutputFiles {
            folder: common.out.clone(),
            raw: common.raw.clone(),
            quiet: common.quiet || common.json,
            metadata,
            files: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// A picture with its metadata. `parts` form the file's name.
    pub fn picture(&mut self, parts: &[&str], title: &str, image: &RgbImage, details: &[(&str, Value)]) -> Result<(), CliError> {
        let mut name = parts.iter().map(|p| file_part(p)).filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
        let taken = |n: &str| self.files.iter().any(|(p, _)| p.file_stem().is_some_and(|s| s == n));
        if taken(&name) {
            name = (2..).map(|i| format!("{name}-{i}")).find(|n| !taken(n)).unwrap_or(name);
        }
        let mut metadata = Metadata { title: title.to_string(), details: self.metadata.clone() };
        metadata.details.extend(details.iter().map(|(k, v)| (k.to_string(), v.clone())));
        let path = self.folder.join(format!("{name}.png"));
        self.files.push((path.clone(), png::encode(image, &metadata)?));
        let json = serde_json::to_string_pretty(&metadata.to_json()).unwrap_or_default() + "\n";
        self.files.push((path.with_extension("json"), json.into_bytes()));
        Ok(())
    }

    /// A self-contained page.
    pub fn page(&mut self, name: &str, html: String) {
        self.files.push((self.folder.join(name), html.into_bytes()));
    }

    /// Values for `--raw`.
    pub fn numbers(&mut self, name: impl Into<String>, values: Tensor) {
        if self.raw.is_some() {
            self.tensors.push((name.into(), values));
        }
    }

    /// Writes all files or none and prints their paths. Returns the paths of pictures and pages.
    pub fn finish(self) -> Result<Vec<String>, CliError> {
        let pictures = self.files.iter().map(|(p, _)| p).filter(|p| p.extension().is_some_and(|e| e != "json"));
        let pictures: Vec<String> = pictures.map(|p| p.display().to_string()).collect();
        // Raw values are published after the pictures, whose writing may fail.
        let batch = FileBatch::prepare(self.files)?;
        if let Some(path) = &self.raw {
            let tensors: Vec<TensorToSave> =
                self.tensors.iter().map(|(name, t)| TensorToSave { name, shape: t.shape(), values: t.f32() }).collect();
            let metadata = Value::Object(self.metadata.clone()).to_string();
            let metadata = BTreeMap::from([("convscope".to_string(), metadata)]);
            write_safetensors(path, &tensors, SaveType::F32, &metadata).map_err(|e| match e {
                // The tensors are not weights.
                WeightsError::Write { path, reason } => CliError::failure(format!("cannot write {}: {reason}", path.display())),
                other => other.into(),
            })?;
        }
        batch.publish()?;
        let raw = self.raw.map(|p| p.display().to_string());
        let lines: Vec<String> = pictures.iter().chain(&raw).map(|p| format!("wrote {p}")).collect();
        if !self.quiet && !lines.is_empty() {
            print(lines.join("\n"))?;
        }
        Ok(pictures)
    }
}

/// Metadata of every picture.
pub fn metadata(entries: &[(&str, Value)]) -> Map<String, Value> {
    let first = std::iter::once(("command".to_string(), json!(command_line())));
    first.chain(entries.iter().map(|(k, v)| (k.to_string(), v.clone()))).collect()
}

/// The running command, quoted for a shell.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|a| quoted(&a.to_string_lossy()));
    std::iter::once("convscope".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word, quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A name without special characters of file systems or shells.
fn file_part(text: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || c == '.' || c == '_' { c } else { '_' };
    text.chars().map(keep).take(60).collect::<String>().trim_matches('_').to_string()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        let table =
            [("report", "report"), ("hf:a/b", "hf:a/b"), ("my cat.jpg", "'my cat.jpg'"), ("it's", r"'it'\''s'"), ("", "''")];
        for (word, want) in table {
            assert_eq!(quoted(word), want);
        }
    }
}
