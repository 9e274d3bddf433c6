//! PNG files with metadata, written atomically.

use super::DrawError;
use convscope_models::files::Pending;
use image::RgbImage;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// Name and version of the program, as stored in files.
pub const SOFTWARE: &str = concat!("convscope ", env!("CARGO_PKG_VERSION"));

/// Metadata of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Title of the picture.
    pub title: String,
    /// All other metadata: model, layer, target, scores, seed, command.
    pub details: Map<String, Value>,
}

impl Metadata {
    /// `title`, `software`, then the details, in this order.
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("title".into(), self.title.clone().into());
        all.insert("software".into(), SOFTWARE.into());
        all.extend(self.details.clone());
        Value::Object(all)
    }
}

/// A PNG with the text chunks Title, Software and Description (the metadata as JSON). Equal input gives equal bytes.
///
/// ```
/// use convscope_viz::draw::png::{Metadata, encode};
/// let picture = image::RgbImage::from_pixel(4, 3, image::Rgb([90, 120, 30]));
/// let png = encode(&picture, &Metadata { title: "a green page".into(), ..Metadata::default() })?;
/// assert!(png.starts_with(b"\x89PNG"));
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
///
/// # Errors
/// [`DrawError::Write`] if the picture has no pixels.
pub fn encode(picture: &RgbImage, metadata: &Metadata) -> Result<Vec<u8>, DrawError> {
    let failed = |e: png::EncodingError| DrawError::Write { path: "a PNG in memory".into(), reason: e.to_string() };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // tEXt holds Latin-1 only; iTXt holds UTF-8.
    let texts = [("Title", metadata.title.clone()), ("Description", metadata.to_json().to_string())];
    encoder.add_text_chunk("Software".into(), SOFTWARE.into()).map_err(failed)?;
    for (key, text) in texts {
        let added =
            if text.is_ascii() { encoder.add_text_chunk(key.into(), text) } else { encoder.add_itxt_chunk(key.into(), text) };
        added.map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(picture.as_raw()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// Writes `path` (a `.png`) and its metadata (`.json` in place of `.png`), as [`write_all_atomic`] does.
///
/// # Errors
/// [`DrawError::Write`].
pub fn save(path: &Path, picture: &RgbImage, metadata: &Metadata) -> Result<(), DrawError> {
    let json = serde_json::to_string_pretty(&metadata.to_json()).unwrap_or_default() + "\n";
    write_all_atomic(vec![(path.to_path_buf(), encode(picture, metadata)?), (path.with_extension("json"), json.into_bytes())])
}

/// Writes all files or none; see [`FileBatch`].
///
/// # Errors
/// [`DrawError::Write`] for the first file that cannot be written.
pub fn write_all_atomic(files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), DrawError> {
    FileBatch::prepare(files)?.publish()
}

/// Files that are published together. Each is complete in a temporary file in its folder before the first one is renamed. Folders
/// are created as needed. After an error, or if the batch is dropped, no new file or folder remains, and existing files are
/// intact.
pub struct FileBatch {
    // Drop order: a folder is removed after its files.
    files: Vec<(PathBuf, Pending)>,
    folders: Vec<NewFolder>,
}

impl FileBatch {
    /// Writes the temporary files.
    ///
    /// # Errors
    /// [`DrawError::Write`]; no file remains.
    pub fn prepare(files: Vec<(PathBuf, Vec<u8>)>) -> Result<FileBatch, DrawError> {
        let mut batch = FileBatch { files: Vec::new(), folders: Vec::new() };
        for (path, bytes) in files {
            let folder = path.parent().unwrap_or(Path::new(""));
            let missing: Vec<&Path> = folder.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
            // Deepest first, the order of removal.
            batch.folders.splice(0..0, missing.into_iter().map(|p| NewFolder(p.to_path_buf())));
            if !folder.as_os_str().is_empty() {
                fs::create_dir_all(folder).map_err(|e| write_error(folder, &e))?;
            }
            let file = Pending::write(&path, |out| out.write_all(&bytes)).map_err(|e| write_error(&path, &e))?;
            batch.files.push((path, file));
        }
        Ok(batch)
    }

    /// Renames the files to their destinations.
    ///
    /// # Errors
    /// [`DrawError::Write`].
    pub fn publish(self) -> Result<(), DrawError> {
        self.files.into_iter().try_for_each(|(path, file)| file.publish().map_err(|e| write_error(&path, &e)))
    }
}

/// A folder that the batch created; removed if it is empty at the end.
struct NewFolder(PathBuf);

impl Drop for NewFolder {
    fn drop(&mut self) {
        // A folder with files stays; this is not an error.
        let _ = fs::remove_dir(&self.0);
    }
}

fn write_error(path: &Path, error: &std::io::Error) -> DrawError {
    DrawError::Write { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let mut details = Map::new();
        details.insert("model".into(), "resnet20".into());
        details.insert("seed".into(), 7.into());
        Metadata { title: "Grad-CAM · λ".into(), details }
    }

    fn picture() -> RgbImage {
        RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8 * 9, y as u8, 3]))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn pixels_and_metadata_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/out.png");
        save(&path, &picture(), &metadata()).unwrap();
        assert_eq!(names(path.parent().unwrap()), ["out.json", "out.png"]);
        assert_eq!(image::open(&path).unwrap().to_rgb8(), picture());

        let reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(&path).unwrap())).read_info().unwrap();
        let info = reader.info();
        assert_eq!(info.uncompressed_latin1_text[0].keyword, "Software");
        assert_eq!(info.uncompressed_latin1_text[0].text, SOFTWARE);
        let utf8 = |key: &str| info.utf8_text.iter().find(|t| t.keyword == key).unwrap().get_text().unwrap();
        assert_eq!(utf8("Title"), "Grad-CAM · λ");
        let beside: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&utf8("Description")).unwrap(), beside);
        assert_eq!(beside["seed"], 7);
        assert_eq!(encode(&picture(), &metadata()).unwrap(), fs::read(&path).unwrap());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let message = save(&file.join("out.png"), &picture(), &metadata()).unwrap_err().to_string();
        assert!(message.starts_with("cannot write ") && message.contains("file") && !message.contains('\n'), "{message}");
        // A folder has the JSON's name: the picture must not appear either.
        fs::create_dir(folder.path().join("out.json")).unwrap();
        assert!(save(&folder.path().join("out.png"), &picture(), &metadata()).is_err());
        // An unused new folder is removed.
        let new = folder.path().join("new/deep");
        let files = vec![(new.join("a.png"), vec![1]), (new.join("b/c.png"), vec![2]), (file.join("d.png"), vec![3])];
        assert!(write_all_atomic(files).is_err());
        assert_eq!(names(folder.path()), ["file", "out.json"]);
        drop(FileBatch::prepare(vec![(new.join("a.png"), vec![1])]).unwrap());
        assert_eq!(names(folder.path()), ["file", "out.json"]);
        assert!(save(folder.path(), &picture(), &metadata()).is_err());
        assert!(save(Path::new("/"), &picture(), &metadata()).is_err());
    }

    #[test]
    fn an_old_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_all_atomic(vec![(path.clone(), b"old".to_vec())]).unwrap();
        write_all_atomic(vec![(path.clone(), b"new".to_vec())]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }
}
