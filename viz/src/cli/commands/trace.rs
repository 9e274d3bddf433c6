//! `convscope trace`: the operations of a run and their times.

use crate::cli::args::{Common, ImageArgs, TraceFormat};
use crate::cli::output::print;
use crate::cli::problem::Problem;
use crate::cli::session::{Pass, Session};
use convscope_models::Model;
use convscope_models::engine::{Rules, Tape, Tensor, trace};
use convscope_models::network::LayerId;
use std::path::Path;

pub fn run(
    common: &Common,
    path: &Path,
    size: &ImageArgs,
    backward: bool,
    fused: bool,
    format: TraceFormat,
) -> Result<(), Problem> {
    let session = Session::open(common)?;
    let (_, image) = session.image(path, size, Pass::Recorded)?;
    let model = if fused { session.model.fused(&[])? } else { session.model.clone() };
    // The first pass packs weights and touches fresh memory; the second one is what a user repeats.
    drop(record(&model, &image, backward)?);
    let tape = record(&model, &image, backward)?;
    match format {
        TraceFormat::Text if !common.json => print(trace::text(&tape)),
        TraceFormat::Dot => print(trace::dot(&tape)),
        TraceFormat::Chrome => print(trace::chrome(&tape)),
        _ => print(format!("{:#}", trace::json(&tape))),
    }
}

fn record(model: &Model, image: &Tensor, backward: bool) -> Result<Tape, Problem> {
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, image.clone())?;
    if backward {
        let logits = tape.value(run.output())?;
        let (best, _) =
            logits.f32().iter().enumerate().fold((0, f32::NEG_INFINITY), |b, (i, v)| if *v > b.1 { (i, *v) } else { b });
        let mut upstream = vec![0.0f32; logits.len()];
        upstream[best] = 1.0;
        let upstream = Tensor::from_slice(logits.shape().clone(), &upstream)?;
        let input = tape.find(&model.network[LayerId::INPUT].name)?;
        tape.backward(run.output(), Some(upstream), &[input], &Rules::default())?;
    }
    Ok(tape)
}
