//! Output files of a command, collected first and written together, so that a failure leaves no partial output.

use super::error::CliError;
use super::raw::RawFormat;
use super::terminal::{json_text, print};
use convscope_engine::Tensor;
use convscope_models::weights::{SaveType, TensorToSave};
use convscope_viz::draw::png::{self, FileBatch, Metadata};
use image::RgbImage;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Pictures and raw values of one command.
pub struct OutputFiles {
    folder: PathBuf,
    raw: Option<PathBuf>,
    quiet: bool,
    /// Metadata of all pictures of the command.
    metadata: Map<String, Value>,
    /// Parts of every name: options that were typed.
    variant: Vec<(String, String)>,
    /// Whether names are exactly what the command says, and a file of that name is replaced.
    fixed: bool,
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
            variant: common.variant.clone(),
            fixed: false,
            files: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// The same with names that do not repeat these options: other parts of the name tell them.
    pub fn without(mut self, options: &[&str]) -> Self {
        self.variant.retain(|(option, _)| !options.contains(&option.as_str()));
        self
    }

    /// The same with names that the command alone decides, for files that belong to a folder.
    pub fn fixed(self) -> Self {
        OutputFiles { fixed: true, variant: Vec::new(), ..self }
    }

    /// A name from these parts that no other file has: no file of this command, and no picture of another subject that was there before.
    fn name(&self, parts: &[&str], extension: &str) -> String {
        let name = parts.iter().map(|part| file_part(part)).filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
        let free = |n: &String| {
            let path = self.folder.join(format!("{n}.{extension}"));
            !self.files.iter().any(|(p, _)| *p == path) && (self.fixed || !path.is_file() || self.is_own(&path))
        };
        let mut names = std::iter::once(name.clone()).chain((2..).map(|i| format!("{name}-{i}")));
        names.find(free).unwrap_or(name)
    }

    /// Whether an existing file is an earlier result of the same command: of the same network, weights and photo. The metadata of a picture
    /// lies beside it, that of a page within it.
    fn is_own(&self, path: &Path) -> bool {
        let old: Option<Value> = if path.extension().is_some_and(|e| e == "html") {
            std::fs::read_to_string(path).ok().and_then(|html| serde_json::from_str(&page_metadata(&html)?).ok())
        } else {
            std::fs::read(path.with_extension("json")).ok().and_then(|json| serde_json::from_slice(&json).ok())
        };
        let same =
            |(key, value): (&String, &Value)| key == "command" || old.as_ref().is_some_and(|old| old.get(key) == Some(value));
        self.metadata.iter().all(same)
    }

    /// A picture with its metadata. `parts` form the file's name, with the options that were typed.
    pub fn picture(&mut self, parts: &[&str], title: &str, image: &RgbImage, details: &[(&str, Value)]) -> Result<(), CliError> {
        let options: Vec<String> = self.variant.iter().map(|(option, value)| format!("{option}{value}")).collect();
        let all: Vec<&str> = parts.iter().copied().chain(options.iter().map(String::as_str)).collect();
        let name = self.name(&all, "png");
        let mut metadata = Metadata { title: title.to_string(), details: self.metadata.clone() };
        metadata.details.extend(details.iter().map(|(k, v)| (k.to_string(), v.clone())));
        let path = self.folder.join(format!("{name}.png"));
        self.files.push((path.clone(), png::encode(image, &metadata)?));
        let json = serde_json::to_string_pretty(&metadata.to_json()).unwrap_or_default() + "\n";
        self.files.push((path.with_extension("json"), json.into_bytes()));
        Ok(())
    }

    /// A self-contained page. `parts` form the file's name; options do not.
    pub fn page(&mut self, parts: &[&str], html: &str) {
        let name = self.name(parts, "html");
        // No text ends the element.
        let metadata = json_text(Value::Object(self.metadata.clone())).replace('<', "\\u003c");
        let (body, end) = html.rsplit_once("</body>").unwrap_or((html, ""));
        let html = format!("{body}{METADATA_START}{metadata}{METADATA_END}\n</body>{end}");
        self.files.push((self.folder.join(format!("{name}.html")), html.into_bytes()));
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
            RawFormat::of(path)?.write(path, &tensors, SaveType::F32, &metadata)?;
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

/// The metadata of a page, as JSON that no browser runs.
const METADATA_START: &str = "<script type=\"application/json\" id=\"metadata\">";
const METADATA_END: &str = "</script>";

/// The metadata within a page.
fn page_metadata(html: &str) -> Option<String> {
    let (_, rest) = html.rsplit_once(METADATA_START)?;
    Some(rest.split_once(METADATA_END)?.0.to_string())
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
