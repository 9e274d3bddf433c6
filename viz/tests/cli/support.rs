//! A folder per test, the binary run in it, and the files before and after.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The network of most tests: small, with a dense layer and residual blocks, without weights on the disk.
pub const NET: &str = "-m resnet20-cifar -w random";

/// A temporary folder in which the binary runs.
pub struct Sandbox {
    folder: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

/// Name, shape and values of a tensor.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

impl Sandbox {
    pub fn new() -> Self {
        Sandbox { folder: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// With an environment variable.
    pub fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// With `photo.png`, 40 x 32 pixels.
    pub fn with_photo() -> Self {
        let sandbox = Self::new();
        sandbox.photo("photo.png", 40, 32);
        sandbox
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A made-up photo: smooth colours and a bright disc.
    pub fn photo(&self, name: &str, w: u32, h: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        photo(w, h).save(path).unwrap();
    }

    /// The binary with arguments separated by spaces.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convscope"));
        command.current_dir(self.folder.path()).args(args.split_whitespace());
        // Nothing of the person's caches or settings.
        for key in ["HF_ENDPOINT", "HF_HUB_OFFLINE", "CONVSCOPE_KERNEL"] {
            command.env_remove(key);
        }
        command
            .env("TORCH_HOME", self.path("torch-home"))
            .env("HF_HOME", self.path("hf-home"))
            .env("KERAS_HOME", self.path("keras-home"));
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    pub fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs to a good end with nothing on stderr and returns stdout.
    pub fn ok(&self, args: &str) -> String {
        let (code, out, err) = read(self.run(args));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args}");
        out
    }

    /// Runs with `--json` to a good end.
    pub fn json(&self, args: &str) -> Value {
        let text = self.ok(&format!("{args} --json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args}: {e}\n{text}"))
    }

    /// Runs with `--raw` to a good end and returns the numbers.
    pub fn raw(&self, args: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        self.ok(&format!("{args} --raw raw.safetensors"));
        self.tensors("raw.safetensors").into_iter().map(|(name, shape, values)| (name, (shape, values))).collect()
    }

    /// Runs to a bad end: this exit code, one line on stderr that holds all of `says`, nothing on stdout, nothing written.
    pub fn fails(&self, code: i32, args: &str, says: &[&str]) {
        let lines = self.fails_with_list(code, args, says);
        assert_eq!(lines.len(), 1, "{args}: more than one line: {lines:#?}");
    }

    /// As [`Sandbox::fails`], but a list may follow the line; returns all lines.
    pub fn fails_with_list(&self, code: i32, args: &str, says: &[&str]) -> Vec<String> {
        let before = self.snapshot();
        let (got, out, err) = read(self.run(args));
        assert_eq!(got, Some(code), "{args}: exit code\n{err}");
        assert_eq!(out, "", "{args}: stdout");
        assert!(err.starts_with("error: ") && err.ends_with('\n'), "{args}: {err:?}");
        assert!(!err.contains('\u{1b}'), "{args}: escape codes in {err:?}");
        for part in says {
            assert!(err.contains(part), "{args}: {part:?} is not in {err:?}");
        }
        assert_eq!(self.snapshot(), before, "{args}: the folder changed");
        err.lines().map(String::from).collect()
    }

    /// Every file and folder with its content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        fn visit(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let content = if path.is_dir() { None } else { Some(fs::read(&path).unwrap()) };
                found.insert(path.clone(), content);
                if path.is_dir() {
                    visit(&path, found);
                }
            }
        }
        let mut found = BTreeMap::new();
        visit(self.folder.path(), &mut found);
        found
    }

    /// Names of the files in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The tensors of a safetensors file of f32.
    pub fn tensors(&self, name: &str) -> Vec<Tensor> {
        let bytes = fs::read(self.path(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |view: &TensorView| {
            assert_eq!(view.dtype(), Dtype::F32);
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        file.tensors().iter().map(|(name, view)| (name.clone(), view.shape().to_vec(), values(view))).collect()
    }

    pub fn save_tensors(&self, name: &str, tensors: &[Tensor]) {
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.2.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes).map(|(t, b)| (&t.0, TensorView::new(Dtype::F32, t.1.clone(), b).unwrap()));
        self.write(name, safetensors::serialize(views, None).unwrap());
    }

    /// Writes the checkpoint of a known network with its closed-form weights, and returns its tensors.
    pub fn checkpoint(&self, name: &str, network: &str) -> Vec<Tensor> {
        self.ok(&format!("convert random {name} -m {network} -q"));
        self.tensors(name)
    }
}

/// Exit code, stdout and stderr.
pub fn read(output: Output) -> (Option<i32>, String, String) {
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

pub fn photo(w: u32, h: u32) -> image::RgbImage {
    image::RgbImage::from_fn(w, h, |x, y| {
        let (fx, fy) = (x as f32 / w as f32, y as f32 / h as f32);
        let disc = (fx - 0.4).powi(2) + (fy - 0.55).powi(2) < 0.06;
        let part = |v: f32| (v * 255.0) as u8;
        image::Rgb(if disc { [240, part(fy), 60] } else { [part(fx), part(1.0 - fy), part((fx * 9.0).sin().abs())] })
    })
}

/// The bytes of an image file of that format.
pub fn encoded(image: &image::RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Bytes without any order, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A file or folder of the data that lies beside the project, where it does.
pub fn shared(path: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path.canonicalize().unwrap().to_str().unwrap().to_string())
}
