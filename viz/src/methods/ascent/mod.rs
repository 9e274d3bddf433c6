//! Gradient ascent in image space: the picture that excites a channel, a neuron or a class (activation maximisation; Erhan et
//! al. 2009, Simonyan et al. 2013, Olah et al. 2017).
//!
//! [`ascend`] is a function from a model and [`Options`] to numbers. A [`Preset`] is a value of [`Options`]; everything in it can
//! be changed. The same seed gives the same bits, whatever the number of threads and whichever channels run together.
//!
//! ```
//! use convscope_models::Model;
//! use convscope_viz::ascent::{self, Options, Preset};
//! let model = Model::builtin()?;
//! let layer = model.network.select("layer3")?.layer;
//! let options = Options { steps: 2, size: [48, 48], ..Preset::Default.options(&model.network) };
//! let all = ascent::ascend(&model, layer, &[0, 1, 2], &options, &mut |_| ())?;
//! for ascent in ascent::best(all, 2) {
//!     assert_eq!((ascent.shape, ascent.losses.len()), ([3, 48, 48], 2));
//!     println!("channel {}: {}", ascent.channel, ascent.score);
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod error;
mod options;
mod parameterisation;
mod penalty;
mod plan;
mod run;
#[cfg(test)]
mod tests;
mod transform;

pub use error::AscentError;
pub use options::{InputSpace, Keep, Normalise, Objective, Options, Parameters, Preset, RandomTransform, Shown, Start, StepRule};

use convscope_kernels::cuda;
use convscope_models::Model;
use convscope_models::network::LayerId;
use plan::Plan;

/// What an ascent found for a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Ascent {
    /// The channel (of a vector: the unit, of the last layer: the class).
    pub channel: usize,
    /// The image, `[c, h, w]` in [`Options::range`], before anything is done to show it.
    pub image: Vec<f32>,
    /// `[c, h, w]`.
    pub shape: [usize; 3],
    /// How it is to be shown.
    pub shown: Shown,
    /// The channel's score, see [`Keep`] for when it is measured.
    pub score: f32,
    /// The score before each step.
    pub losses: Vec<f32>,
    /// The gradient was zero at every step: nothing in the image moves this channel (a ReLU that never opens), and the image
    /// is still a start.
    pub dead: bool,
    /// Given up, see [`Options::skip_at_or_below`].
    pub skipped: bool,
}

/// How far an ascent is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Channels that are finished.
    pub done_channels: usize,
    /// Channels in all.
    pub total: usize,
    /// Steps that the running channels have done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean score of the running channels before this step.
    pub score: f32,
}

/// Optimises an image for each of `channels` of `layer`, [`Options::batch`] of them at a time; results are in the order of `channels`.
///
/// `progress` is called after every step.
///
/// # Errors
/// For a channel the layer does not have, an image size that the network does not take, options without sense, and a score or
/// gradient that is not finite.
pub fn ascend(
    model: &Model,
    layer: LayerId,
    channels: &[usize],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Ascent>, AscentError> {
    let plan = Plan::new(model, layer, channels, options)?;
    let mut results = Vec::with_capacity(channels.len());
    for batch in channels.chunks(options.batch) {
        let (done_channels, total, steps) = (results.len(), channels.len(), options.steps);
        let mut report = |step, score| progress(Progress { done_channels, total, step, steps, score });
        // The steps of a batch ask a device for the same work.
        results.extend(cuda::capture(model.context.device(), || plan.run(batch, &mut report))?);
    }
    Ok(results)
}

/// The `count` results of the highest score, best first; those given up ([`Ascent::skipped`]) are left out.
pub fn best(mut results: Vec<Ascent>, count: usize) -> Vec<Ascent> {
    results.retain(|a| !a.skipped);
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    results.truncate(count);
    results
}
