//! Arguments of `convscope report`.

use super::{ImageArgs, positive};
use clap::Args as ClapArgs;
use convscope_models::builtin::SAMPLES;
use std::path::PathBuf;

#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Writes one file to the folder of -o: report.html, or report-NAME.html of a photo of your own. Any browser opens it offline. \
                  Gradient ascent takes most of the time, in proportion to --steps and --channels. Only the layer times differ from run \
                  to run; without them the same command gives the same bytes."
)]
pub struct ReportArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Classes with heat maps, by index or name, comma-separated [default: the three most probable]
    #[arg(short, long, value_name = "CLASS,..")]
    pub class: Option<String>,
    /// The K most probable classes instead
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = positive, conflicts_with = "class")]
    pub top: usize,
    /// Layer of Grad-CAM [default: the last one with a spatial extent]
    #[arg(short, long, value_name = "LAYER")]
    pub layer: Option<String>,
    /// Number of gradient ascent steps
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = positive)]
    pub steps: usize,
    /// Channels per stage with gradient ascent, those with the strongest response to the photo
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = positive)]
    pub channels: usize,
    /// Omit the layer times
    #[arg(long)]
    pub no_timings: bool,
}
