//! `convscope trace`: the operations of a pass and their times.

use crate::cli::args::{TraceArgs, TraceFormat};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::session::Session;
use crate::cli::terminal::{print, print_json};
use convscope_engine::trace;
use convscope_viz::timings::record;

impl RunCommand for TraceArgs {
    const NAME: &'static str = "trace";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let TraceArgs { path, image: size, backward, fused, format } = self;
        let mut session = Session::open(invocation)?;
        let image = session.photo(path, size, PassKind::Recorded)?.photo.input;
        let model = if *fused { session.model.fused(&[])? } else { session.model.clone() };
        // The first pass packs weights and faults in memory; the second is representative.
        drop(record(&model, &image, *backward)?);
        // Device calls return before the work is done, so times include waiting.
        let waited_for = model.with_context(model.context.clone().with_blocking(true));
        let tape = record(&waited_for, &image, *backward)?;
        match format {
            TraceFormat::Text if !invocation.common.json => {
                print(format!("{}{}\n", trace::text(&tape), session.device.describe()))
            }
            TraceFormat::Dot => print(trace::dot(&tape)),
            TraceFormat::Chrome => print_json(trace::chrome(&tape)),
            _ => print_json(format!("{:#}", trace::json(&tape))),
        }
    }
}
