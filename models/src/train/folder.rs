//! Image folders: one folder a class.

use super::random::{Purpose, Stream};
use std::path::{Path, PathBuf};

/// A failure to read a folder of images. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be read.
    #[error("cannot read the folder {}: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder has no images.
    #[error("{} holds no images: expects one folder a class, with .png or .jpg files", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A class of the validation images is not among the training images.
    #[error("{} is a class without a folder in {}", path.display(), train.display())]
    Class {
        /// The class's folder of validation images.
        path: PathBuf,
        /// The folder of training images.
        train: PathBuf,
    },
}

/// Images of one class.
#[derive(Debug, Clone)]
pub struct ClassFolder {
    /// The folder.
    pub path: PathBuf,
    /// The folder's name, with spaces for underscores.
    pub name: String,
    /// Its images, in the order of their names.
    pub images: Vec<PathBuf>,
}

impl ClassFolder {
    /// The folder's name on the disk.
    pub fn own_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Entries of a folder in the order of their names, without hidden ones.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let unreadable = |source| FolderError::Read { path: dir.to_owned(), source };
    let listed = std::fs::read_dir(dir).map_err(unreadable)?.map(|e| e.map(|e| e.path()));
    let mut paths = listed.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    paths.retain(|p| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// Reads `DIR/CLASS/*`: the classes in the order of their names.
///
/// # Errors
/// [`FolderError`] if a folder cannot be read or none has an image.
pub fn class_folders(dir: &Path) -> Result<Vec<ClassFolder>, FolderError> {
    let is_image = |p: &PathBuf| {
        let extension = p.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ["png", "jpg", "jpeg"].contains(&extension.as_str())
    };
    let folder = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace('_', " ");
        let images = entries(&path)?.into_iter().filter(is_image).collect();
        Ok(ClassFolder { path, name, images })
    };
    let found: Vec<_> = entries(dir)?.into_iter().filter(|p| p.is_dir()).map(folder).collect::<Result<_, _>>()?;
    match found.iter().all(|f| f.images.is_empty()) {
        true => Err(FolderError::Empty { path: dir.to_owned() }),
        false => Ok(found),
    }
}

/// A training split and a validation split.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images, each with its class.
    pub train: Vec<(PathBuf, usize)>,
    /// Validation images, each with its class.
    pub val: Vec<(PathBuf, usize)>,
}

impl ImageFolder {
    /// Reads `DIR/train/CLASS/*` and `DIR/val/CLASS/*`. Without these, `DIR/CLASS/*` is split: `validation_split` (0 to 1) of each class,
    /// drawn by `seed`, is the validation split.
    ///
    /// # Errors
    /// As [`class_folders`]; [`FolderError`] if `val` has a class that `train` lacks.
    pub fn open(dir: &Path, validation_split: f32, seed: u64) -> Result<Self, FolderError> {
        let train_dir = dir.join("train");
        let split = train_dir.is_dir();
        let folders = class_folders(if split { &train_dir } else { dir })?;
        let classes: Vec<String> = folders.iter().map(|f| f.name.clone()).collect();
        let (mut train, mut val) = (Vec::new(), Vec::new());
        let mut stream = Stream::new(seed, Purpose::Split);
        for (class, folder) in folders.into_iter().enumerate() {
            let mut images = folder.images;
            if !split {
                // Sorted before the draw, which must not depend on the system's order, and again after it.
                stream.shuffle(&mut images);
                let mut validation = images.split_off(images.len() - (images.len() as f32 * validation_split).round() as usize);
                images.sort();
                validation.sort();
                val.extend(validation.into_iter().map(|path| (path, class)));
            }
            train.extend(images.into_iter().map(|path| (path, class)));
        }
        if split {
            for folder in class_folders(&dir.join("val"))? {
                let class = classes.iter().position(|c| *c == folder.name);
                let class = class.ok_or(FolderError::Class { path: folder.path, train: train_dir.clone() })?;
                val.extend(folder.images.into_iter().map(|path| (path, class)));
            }
        }
        Ok(ImageFolder { classes, train, val })
    }

    /// Restricts the folder to these classes, in their order.
    pub fn among(self, classes: &[usize]) -> Self {
        let kept: Vec<usize> = (0..self.classes.len()).filter(|c| classes.contains(c)).collect();
        let only = |images: Vec<(PathBuf, usize)>| {
            let labelled = |(path, class)| Some((path, kept.iter().position(|c| *c == class)?));
            images.into_iter().filter_map(labelled).collect()
        };
        let names = kept.iter().map(|c| self.classes[*c].clone()).collect();
        ImageFolder { classes: names, train: only(self.train), val: only(self.val) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(dir: &Path, files: &[&str]) {
        for file in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn train_and_val_or_a_split() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["train/a_b/1.jpg", "train/c/2.PNG", "train/c/no.txt", "train/.hidden/3.jpg", "val/c/4.jpeg"]);
        let found = ImageFolder::open(dir.path(), 0.5, 0).unwrap();
        assert_eq!(found.classes, ["a b", "c"]);
        assert_eq!((found.train.len(), found.val.len(), found.val[0].1), (2, 1, 1));
        touch(dir.path(), &["val/d/5.jpg"]);
        let error = ImageFolder::open(dir.path(), 0.5, 0).unwrap_err().to_string();
        assert!(error.contains("val/d is a class without a folder"), "{error}");

        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..20).map(|i| format!("{}/{i}.jpg", ["x", "y"][i % 2])).collect();
        touch(dir.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
        let open = |seed| ImageFolder::open(dir.path(), 0.2, seed).unwrap();
        let (one, other) = (open(0), open(1));
        assert_eq!((one.train.len(), one.val.len()), (16, 4));
        assert!(one.val.iter().all(|image| !one.train.contains(image)));
        assert_eq!(one.val, open(0).val);
        assert_ne!(one.val, other.val);
        let only = open(0).among(&[1]);
        assert_eq!((only.classes.len(), only.classes[0].as_str(), only.train.len(), only.val.len()), (1, "y", 8, 2));
        assert!(only.train.iter().all(|(path, class)| *class == 0 && path.parent().unwrap().ends_with("y")));
        let empty = tempfile::tempdir().unwrap();
        assert!(ImageFolder::open(empty.path(), 0.2, 0).unwrap_err().to_string().contains("holds no images"));
    }
}
