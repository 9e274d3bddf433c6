//! `convscope trace`: the operations of a run and their times.

use crate::cli::args::{Common, ImageArgs, TraceFormat};
use crate::cli::memory::Pass;
use crate::cli::output::print;
use crate::cli::problem::Problem;
use crate::cli::session::Session;
use convscope_engine::trace;
use convscope_kernels::cuda;
use convscope_viz::timings::record;
use std::path::Path;

pub fn run(
    common: &Common,
    path: &Path,
    size: &ImageArgs,
    backward: bool,
    fused: bool,
    format: TraceFormat,
) -> Result<(), Problem> {
    let mut session = Session::open(common)?;
    let (_, image) = session.image(path, size, Pass::Recorded)?;
    let model = if fused { session.model.fused(&[])? } else { session.model.clone() };
    // The first pass packs weights and touches fresh memory; the second one is what a user repeats.
    drop(record(&model, &image, backward)?);
    // A device's work is only asked for otherwise, and times would be those of asking.
    let tape = cuda::waiting_for_each(|| record(&model, &image, backward))?;
    match format {
        TraceFormat::Text if !common.json => print(format!("{}{}\n", trace::text(&tape), session.device.describe())),
        TraceFormat::Dot => print(trace::dot(&tape)),
        TraceFormat::Chrome => print(trace::chrome(&tape)),
        _ => print(format!("{:#}", trace::json(&tape))),
    }
}
