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
        let names: Vec<String> = images.iter().map(|p| p.display().to_string()).collect();
        let mut output = OutputFiles::new(common, session.metadata(&[("images", json!(names))]));
        let (mut results, mut logits, mut dx): (Vec<Prediction>, Vec<f32>, Vec<Tensor>) = Default::default();
        let pass = if gradient.is_some() { PassKind::Recorded } else { PassKind::Inference };
        for path in images {
            let image = session.photo(path, size, pass)?.photo.input;
            // Images of one size repeat the same work, which a device replays.
            let found = cuda::capture(model.context.device(), || match gradient {
                Some(_) => input_gradient(&model, &image, class).map(|(p, d)| {
                    dx.push(d);
                    p
                }),
                None => predict(&model, &image),
            })?;
            for p in found {
                logits.extend(&p.logits);
                results.push(p);
            }
        }
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
            let rows: Vec<Value> = names
                .iter()
                .zip(&results)
                .map(|(name, p)| {
                    let entry = |c: usize| json!({"index": c, "name": session.class_name(c), "probability": p.probabilities[c], "logit": p.logits[c]});
                    json!({"image": name, "top": p.top(*top).into_iter().map(entry).collect::<Vec<_>>()})
                })
                .collect();
            print_json(format!("{:#}", Value::Array(rows)))
        } else {
            let mut lines = Vec::new();
            for (name, p) in names.iter().zip(&results) {
                lines.push(one_line(name));
                for c in p.top(*top) {
                    let bar = "█".repeat((p.probabilities[c] * 30.0).round() as usize);
                    lines.push(format!(
                        "  {:5.1} %  {bar:30}  {}  logit {:.2}",
                        100.0 * p.probabilities[c],
                        session.numbered_class(c),
                        p.logits[c]
                    ));
                }
            }
            print(lines.join("\n"))
        }
    }
}
