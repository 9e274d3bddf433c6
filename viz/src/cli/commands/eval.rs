//! `convscope eval`: accuracy on a folder of images, one folder a class; the confusion matrix and the most confident mistakes.

use crate::cli::args::EvalArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::OutputFiles;
use crate::cli::session::{Session, at, progress, tells_top5};
use crate::cli::terminal::{self, print, print_json};
use convscope_engine::Tensor;
use convscope_models::image::{ImageError, Prepared, Preprocess, Resize, prepare_file};
use convscope_models::train::class_folders;
use convscope_viz::batch;
use convscope_viz::draw::{Cell, Figure, Grid, Matrix, Pixels, ScaleBar, Theme};
use convscope_viz::predict::{Prediction, predict};
use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Side of a picture in the sheet of mistakes.
const SHOWN: usize = 224;

/// The images of `DIR/CLASS/*` with their classes, by a class's name or index. With `among`, folders of other classes are
/// skipped.
fn labelled(session: &Session, dir: &Path, among: Option<&[usize]>) -> Result<Vec<(usize, PathBuf)>, CliError> {
    let mut found = Vec::new();
    for folder in class_folders(dir)? {
        let class = session.class(&folder.name).or_else(|_| session.class(&folder.own_name()));
        let class = match (class, among) {
            (Ok(class), Some(among)) if !among.contains(&class) => continue,
            (Ok(class), _) => class,
            (Err(_), Some(_)) => continue,
            (Err(e), None) => {
                let (path, also) = (folder.path.display(), "or some named with --among");
                let reason = format!("{path}: folders must be named by the network's classes, {also}: {}", e.message);
                return Err(CliError::failure(reason));
            }
        };
        found.extend(folder.images.into_iter().map(|path| (class, path)));
    }
    Ok(found)
}

/// Counts of correct predictions.
#[derive(Default, Clone, Copy)]
struct Count {
    images: usize,
    top1: usize,
    top5: usize,
}

/// A misclassified image.
struct Mistake {
    path: PathBuf,
    class: usize,
    said: usize,
    probability: f32,
    shown: RgbImage,
}

/// Results of the evaluation.
struct Tally {
    counts: Vec<Count>,
    /// Confusion counts `[classes, classes]`: rows are true classes, columns predictions.
    confusion: Vec<f32>,
    /// Mistakes, most confident first.
    mistakes: Vec<Mistake>,
    /// Maximum number of mistakes.
    most: usize,
}

impl Tally {
    /// `order` lists classes by decreasing logit.
    fn add(
        &mut self,
        class: usize,
        path: &Path,
        order: &[usize],
        prediction: &Prediction,
        image: &Prepared,
    ) -> Result<(), CliError> {
        let said = order[0];
        let count = &mut self.counts[class];
        count.images += 1;
        count.top1 += usize::from(said == class);
        count.top5 += usize::from(order.iter().take(5).any(|c| *c == class));
        let classes = self.counts.len();
        self.confusion[class * classes + said] += 1.0;
        let probability = prediction.probabilities[said];
        let doubtful = self.mistakes.len() == self.most && self.mistakes.last().is_none_or(|m| m.probability >= probability);
        if said != class && !doubtful {
            let square = Preprocess { resize: Resize::ShortSide(SHOWN), crop: Some((SHOWN, SHOWN)), ..Preprocess::IMAGENET };
            let shown = square.prepare(&image.shown)?.shown;
            self.mistakes.push(Mistake { path: path.to_owned(), class, said, probability, shown });
            // A stable sort: ties stay in file order.
            self.mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            self.mistakes.truncate(self.most);
        }
        Ok(())
    }

    fn sum(&self) -> Count {
        let add = |a: Count, b: &Count| Count { images: a.images + b.images, top1: a.top1 + b.top1, top5: a.top5 + b.top5 };
        self.counts.iter().fold(Count::default(), add)
    }
}

impl RunCommand for EvalArgs {
    const NAME: &'static str = "eval";
    const NUMBERS: bool = true;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, options) = (invocation.common, self);
        let session = Session::open(invocation)?;
        session.network().class_count()?;
        let among = options.among.as_deref().map(|text| session.classes(text)).transpose()?;
        let all = labelled(&session, &options.dir, among.as_deref())?;
        let tally = count(&session, &all, among.as_deref(), options, common.quiet || common.json)?;
        let sum = tally.sum();
        if sum.images == 0 {
            return Err(CliError::failure(format!("none of the images in {} could be read", options.dir.display())));
        }
        let mut output = OutputFiles::new(common, session.metadata(&[("images", json!(options.dir.to_string_lossy()))]));
        draw(&session, &tally, &mut output, options, common.dark)?;
        let answers = among.map_or(session.labels.len(), |among| among.len());
        let table = table(&session, &tally, sum, tells_top5(answers));
        if common.json {
            output.finish()?;
            return print_json(json!({"images": sum.images, "top1": sum.top1, "top5": sum.top5}));
        }
        print(table)?;
        output.finish().map(drop)
    }
}

/// Evaluates every image.
fn count(
    session: &Session,
    all: &[(usize, PathBuf)],
    among: Option<&[usize]>,
    options: &EvalArgs,
    quiet: bool,
) -> Result<Tally, CliError> {
    let model = session.model.fused(&[])?;
    let preprocess = session.preprocess(&options.image)?;
    let classes = session.labels.len();
    let (counts, confusion) = (vec![Count::default(); classes], vec![0.0; classes * classes]);
    let mut tally = Tally { counts, confusion, mistakes: Vec::new(), most: options.mistakes };
    let bar = progress(all.len() as u64, "eval", quiet);
    let mut fits = None;
    for part in all.chunks(usize::from(options.batch)) {
        let read: Vec<Result<Prepared, ImageError>> = part.par_iter().map(|(_, p)| prepare_file(p, &preprocess)).collect();
        let mut ready: Vec<(&(usize, PathBuf), Prepared)> = Vec::new();
        for (item, image) in part.iter().zip(read) {
            match image {
                Ok(image) => {
                    // All photos of one size have the same shapes.
                    if fits != Some([image.h, image.w]) {
                        at(session.network(), &item.1, [image.h, image.w])?;
                        fits = Some([image.h, image.w]);
                    }
                    ready.push((item, image));
                }
                // A broken file is reported and skipped.
                Err(e) => bar.suspend(|| terminal::status(format_args!("skipped: {e}"))),
            }
        }
        // Images of one size form a batch.
        while let Some((h, w)) = ready.first().map(|(_, p)| (p.h, p.w)) {
            let (same, rest): (Vec<_>, Vec<_>) = ready.into_iter().partition(|(_, p)| (p.h, p.w) == (h, w));
            ready = rest;
            let photos: Vec<&Prepared> = same.iter().map(|(_, photo)| photo).collect();
            let predictions = predict(&model, &batch(&photos, &model.network)?)?;
            for (((class, path), image), p) in same.iter().zip(&predictions) {
                let mut order = p.top(if among.is_some() { classes } else { 5 });
                order.retain(|c| among.is_none_or(|among| among.contains(c)));
                tally.add(*class, path, &order, p, image)?;
            }
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok(tally)
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// A row per class, with its most frequent confusion.
fn table(session: &Session, tally: &Tally, sum: Count, top5: bool) -> String {
    let classes = tally.counts.len();
    let column = |text: String| if top5 { format!(" {text:>7}") } else { String::new() };
    let mut lines =
        vec![format!("{:30} {:>7} {:>7}{}  most often confused with", "class", "images", "top-1 %", column("top-5 %".into()))];
    for (class, c) in tally.counts.iter().enumerate().filter(|(_, c)| c.images > 0) {
        let row = &tally.confusion[class * classes..][..classes];
        let others = row.iter().enumerate().filter(|(said, n)| *said != class && **n > 0.0);
        let other = others.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let other = other.map_or(String::new(), |(said, n)| format!("  {} ({n})", session.class_name(said)));
        let (top1, top5) = (percent(c.top1, c.images), column(format!("{:.1}", percent(c.top5, c.images))));
        lines.push(format!("{:30} {:7} {top1:7.1}{top5}{other}", session.class_name(class), c.images));
    }
    for (name, right) in [("top-1", sum.top1), ("top-5", sum.top5)].into_iter().take(1 + usize::from(top5)) {
        lines.push(format!("{name} {right}/{} = {:.2} %", sum.images, percent(right, sum.images)));
    }
    lines.join("\n")
}

/// The confusion matrix and the sheet of mistakes.
fn draw(session: &Session, tally: &Tally, output: &mut OutputFiles, options: &EvalArgs, dark: bool) -> Result<(), CliError> {
    let (classes, sum) = (tally.counts.len(), tally.sum());
    output.numbers("confusion", Tensor::from_slice([classes, classes], &tally.confusion)?);
    let network = &session.network().name;
    let theme = if dark { Theme::dark() } else { Theme::light() };
    let about = format!("{} images of {} · top-1 {:.2} %", sum.images, options.dir.display(), percent(sum.top1, sum.images));
    let figure = |title: &str| Figure::new(title).subtitle(about.clone()).metadata(session.credit("")).theme(theme.clone());
    let metadata = [("counts", json!({"images": sum.images, "top1": sum.top1, "top5": sum.top5}))];

    // Classes without images and predictions are left out.
    let occurs = |c: &usize| tally.counts[*c].images > 0 || (0..classes).any(|row| tally.confusion[row * classes + c] > 0.0);
    let shown: Vec<usize> = (0..classes).filter(occurs).collect();
    let names: Vec<String> = shown.iter().map(|c| session.class_name(*c)).collect();
    let share = |row: usize, column: usize| tally.confusion[row * classes + column] / tally.counts[row].images.max(1) as f32;
    let shares: Vec<f32> = shown.iter().flat_map(|row| shown.iter().map(move |column| share(*row, *column))).collect();
    let matrix = Matrix::shares(&shares, &names, ["the folder says", "the network says"])?;
    let bar = ScaleBar::new(matrix.colormap, Some(matrix.range), "share of the class's images; none is blank");
    let title = format!("Confusion matrix · {network}");
    output.picture(&["confusion", network], &title, &figure(&title).stack(&[&matrix, &bar])?, &metadata)?;

    if tally.mistakes.is_empty() {
        return Ok(());
    }
    let label = |m: &Mistake| format!("{} → {}", session.class_name(m.class), session.class_name(m.said));
    let cell = |m| Cell { label: label(m), value: Some(m.probability), pixels: Pixels::Picture(&m.shown) };
    let mut grid = Grid::new(tally.mistakes.iter().map(cell).collect());
    grid.columns = Some(6);
    let describe = |m: &Mistake| {
        let (class, said) = (session.class_name(m.class), session.class_name(m.said));
        json!({"image": m.path.to_string_lossy(), "class": class, "predicted": said, "probability": m.probability})
    };
    let list: Vec<_> = tally.mistakes.iter().map(describe).collect();
    let title = format!("Most confident mistakes · {network}");
    for page in figure(&title).grid(&grid)? {
        output.picture(&["mistakes", network], &title, &page, &[metadata[0].clone(), ("mistakes", json!(list))])?;
    }
    Ok(())
}
