//! `convscope summary`: the layers, their shapes, parameters and multiply-adds.

use crate::cli::args::SummaryArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::session::{network, side_lengths};
use crate::cli::terminal::{print, print_json};

impl RunCommand for SummaryArgs {
    const NAME: &'static str = "summary";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let SummaryArgs { image, dot } = self;
        let common = invocation.common;
        let network = network(common)?;
        let [h, w] = match image.size.as_deref() {
            None => [network.input.height, network.input.width],
            Some("own") => return Err(CliError::usage("--size own: a summary has no image; give N or HxW")),
            Some(text) => side_lengths(text)?,
        };
        if *dot {
            print(network.to_dot(h, w)?)
        } else if common.json {
            print_json(format!("{:#}", network.summary(h, w)?.to_json()))
        } else {
            print(network.summary(h, w)?.to_text())
        }
    }
}
