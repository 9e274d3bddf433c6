//! `convscope eval`: top-1 and top-5 accuracy over a folder of images, one folder a class.

use crate::cli::args::{Common, ImageArgs};
use crate::cli::output::print;
use crate::cli::problem::Problem;
use crate::cli::session::{Session, progress};
use convscope_models::engine::Tensor;
use convscope_models::preprocess::{ImageError, Prepared, prepare_file};
use convscope_viz::predict::predict;
use rayon::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Images of one class.
struct Folder {
    class: usize,
    files: Vec<PathBuf>,
}

/// Entries of a folder in the order of their names, hidden ones left out.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |e: std::io::Error| Problem::failure(format!("cannot read the folder {}: {e}", dir.display()));
    let mut paths = std::fs::read_dir(dir)
        .map_err(unreadable)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    paths.retain(|p| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// `DIR/CLASS/*`: a folder is called by a class's name or index.
fn folders(session: &Session, dir: &Path) -> Result<Vec<Folder>, Problem> {
    let mut found = Vec::new();
    for path in entries(dir)?.into_iter().filter(|p| p.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let class = session.class(&name.replace('_', " ")).or_else(|_| session.class(&name)).map_err(|e| {
            Problem::failure(format!("{}: folders must be named by the network's classes: {}", path.display(), e.message))
        })?;
        let image = |p: &PathBuf| {
            let extension = p.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            ["png", "jpg", "jpeg"].contains(&extension.as_str())
        };
        found.push(Folder { class, files: entries(&path)?.into_iter().filter(image).collect() });
    }
    if found.iter().all(|f| f.files.is_empty()) {
        return Err(Problem::failure(format!(
            "{} holds no images: wants one folder a class, with .png or .jpg files",
            dir.display()
        )));
    }
    Ok(found)
}

/// Right answers among the answers.
#[derive(Default, Clone, Copy)]
struct Count {
    images: usize,
    top1: usize,
    top5: usize,
}

pub fn run(common: &Common, dir: &Path, size: &ImageArgs, batch: usize) -> Result<(), Problem> {
    let session = Session::open(common)?;
    let model = session.model.fused(&[])?;
    let folders = folders(&session, dir)?;
    let preprocess = session.preprocess(size)?;
    let all: Vec<(usize, &PathBuf)> = folders.iter().flat_map(|f| f.files.iter().map(move |p| (f.class, p))).collect();
    let bar = progress(all.len() as u64, "eval", common.quiet || common.json);
    let mut counts = vec![Count::default(); session.labels.len()];
    for part in all.chunks(batch) {
        let read: Vec<Result<Prepared, ImageError>> = part.par_iter().map(|(_, p)| prepare_file(p, &preprocess)).collect();
        let mut images: Vec<(usize, Prepared)> = Vec::new();
        for ((class, path), image) in part.iter().zip(read) {
            match image {
                Ok(image) => {
                    session.check_size(path, &image)?;
                    images.push((*class, image));
                }
                // One broken file does not spoil a thousand answers, but it is named.
                Err(e) => bar.suspend(|| eprintln!("skipped: {e}")),
            }
        }
        // Images of one size go together.
        while let Some((h, w)) = images.first().map(|(_, p)| (p.h, p.w)) {
            let (same, rest): (Vec<_>, Vec<_>) = images.into_iter().partition(|(_, p)| (p.h, p.w) == (h, w));
            images = rest;
            let data: Vec<f32> = same.iter().flat_map(|(_, p)| &p.data).copied().collect();
            let predictions = predict(&model, &Tensor::from_slice([same.len(), 3, h, w], &data)?)?;
            for ((class, _), p) in same.iter().zip(&predictions) {
                let top = p.top(5);
                let count = &mut counts[*class];
                count.images += 1;
                count.top1 += usize::from(top.first() == Some(class));
                count.top5 += usize::from(top.contains(class));
            }
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    let sum = counts.iter().fold(Count::default(), |a, b| Count {
        images: a.images + b.images,
        top1: a.top1 + b.top1,
        top5: a.top5 + b.top5,
    });
    if sum.images == 0 {
        return Err(Problem::failure(format!("none of the images in {} could be read", dir.display())));
    }
    if common.json {
        return print(json!({"images": sum.images, "top1": sum.top1, "top5": sum.top5}));
    }
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let mut lines = vec![format!("{:30} {:>7} {:>7} {:>7}", "class", "images", "top-1 %", "top-5 %")];
    for (class, c) in counts.iter().enumerate().filter(|(_, c)| c.images > 0) {
        lines.push(format!(
            "{:30} {:7} {:7.1} {:7.1}",
            session.class_name(class),
            c.images,
            percent(c.top1, c.images),
            percent(c.top5, c.images)
        ));
    }
    for (name, right) in [("top-1", sum.top1), ("top-5", sum.top5)] {
        lines.push(format!("{name} {right}/{} = {:.2} %", sum.images, percent(right, sum.images)));
    }
    print(lines.join("\n"))
}
