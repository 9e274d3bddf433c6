//! `convscope predict`: the most probable classes of images.

use crate::cli::args::PredictArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::output::OutputFiles;
use crate::cli::session::Session;
use crate::cli::terminal::{one_line, print, print_json};
use convscope_engine::Tensor;
use convscope_kernels::cuda;
use convscope_viz::predict::{Prediction, input_gradient, predict};
use serde_json::{Value, json};

impl RunCommand for PredictArgs {
    const NAME: &'static str = "predict";
    const NUMBERS: bool = true;

    fn has_one_tensor(&self) -> bool {
        !self.input_gradient
    }

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, PredictArgs { images, image: size, top, .. }) = (invocation.common, self);
        // The class of the input gradient, if it is requested.
        let gradient = self.input_gradient.then_some(self.class.as_deref());
        if gradient.is_some() && common.raw.is_none() {
            return Err(CliError::usage("--input-gradient writes values: add --raw FILE.safetensors"));
        }
        let mut session = Session::open(invocation)?;
        let model = if images.len() == 1 { session.model.fused_once(&[]) } else { session.model.fused(&[])? };
        let class = gradient.flatten().map(|text| session.class(text)).transpose()?;
        let pass = if gradient.is_some() { PassKind::Recorded } else { PassKind::Inference };
        let (mut results, mut dx): (Vec<(String, Prediction)>, Vec<Tensor>) = Default::default();
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        // A bad file among several does not lose the others, whose results are printed at once. Gradients are printed together or not at all.
        let several = images.len() > 1;
        let at_once = several && gradient.is_none() && !common.json;
        for path in images {
            let name = path.display().to_string();
            let image = match session.photo(path, size, pass) {
                Ok(photo) => photo.photo.input,
                Err(e) if several && e.code == 1 => {
                    rows.push(json!({"image": name, "error": e.message}));
                    failed.push(e.message);
                    continue;
                }
                Err(e) => return Err(e),
            };
            // Images of one size repeat the same work, which a device replays.
            let found = cuda::capture(model.context.device(), || match gradient {
                Some(_) => input_gradient(&model, &image, class).map(|(p, d)| {
                    dx.push(d);
                    p
                }),
                None => predict(&model, &image),
            })?;
            for prediction in found {
                if at_once {
                    print(text(&session, &name, &prediction, *top))?;
                }
                rows.push(row(&session, &name, &prediction, *top));
                results.push((name.clone(), prediction));
            }
        }
        if results.is_empty() {
            return failures(failed, images.len());
        }
        let names: Vec<&String> = results.iter().map(|(name, _)| name).collect();
        let mut output = OutputFiles::new(common, session.metadata(&[("images", json!(names))]));
        let logits: Vec<f32> = results.iter().flat_map(|(_, p)| &p.logits).copied().collect();
        output.numbers("logits", Tensor::from_slice([results.len(), logits.len() / results.len().max(1)], &logits)?);
        if let Some(first) = dx.first() {
            let shape = first.shape().clone();
            if dx.iter().any(|d| d.shape() != &shape) {
                return Err(CliError::usage("--input-gradient of several images expects one size: add --size HxW"));
            }
            let all: Vec<f32> = dx.iter().flat_map(|d| d.f32()).copied().collect();
            output.numbers("dx", Tensor::from_slice([dx.len(), shape[1], shape[2], shape[3]], &all)?);
        }
        output.finish()?;
        if common.json {
            print_json(format!("{:#}", Value::Array(rows)))?;
        } else if !at_once {
            print(results.iter().map(|(name, p)| text(&session, name, p, *top)).collect::<Vec<_>>().join("\n"))?;
        }
        failures(failed, images.len())
    }
}

/// An image with its most probable classes.
fn row(session: &Session, name: &str, p: &Prediction, top: usize) -> Value {
    let entry =
        |c: usize| json!({"index": c, "name": session.class_name(c), "probability": p.probabilities[c], "logit": p.logits[c]});
    json!({"image": name, "top": p.top(top).into_iter().map(entry).collect::<Vec<_>>()})
}

/// The same as text.
fn text(session: &Session, name: &str, p: &Prediction, top: usize) -> String {
    let mut lines = vec![one_line(name)];
    for c in p.top(top) {
        let bar = "█".repeat((p.probabilities[c] * 30.0).round() as usize);
        let (percent, class, logit) = (100.0 * p.probabilities[c], session.numbered_class(c), p.logits[c]);
        lines.push(format!("  {percent:5.1} %  {bar:30}  {class}  logit {logit:.2}"));
    }
    lines.join("\n")
}

/// # Errors
/// A list of what failed, if anything did.
fn failures(failed: Vec<String>, images: usize) -> Result<(), CliError> {
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::failure(format!("{} of {images} images failed:\n  {}", failed.len(), failed.join("\n  "))))
}
