//! Gradient ascent in image space: an image that maximises a channel, a neuron or a class (activation maximisation; Erhan et al.
//! 2009, Simonyan et al. 2013, Olah et al. 2017).
//!
//! [`ascend`] is a function from a model and [`Options`] to images. A [`Preset`] is a value of [`Options`], whose fields can be
//! changed. The same seed gives the same bits, for any number of threads and any batch of channels.
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
pub use options::{
    InputSpace, Keep, Normalise, Objective, Options, Parameters, Preset, RandomTransform, Rendering, Start, StepRule,
};

use convscope_kernels::cuda;
use convscope_models::Model;
use convscope_models::network::LayerId;
use plan::AscentPlan;

/// Result of the ascent of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Ascent {
    /// The channel; the unit of a vector, the class of the last layer.
    pub channel: usize,
    /// The image, `[c, h, w]` in [`Options::range`], before the conversion of [`Self::shown`].
    pub image: Vec<f32>,
    /// `[c, h, w]`.
    pub shape: [usize; 3],
    /// Conversion to a picture.
    pub shown: Rendering,
    /// The channel's score; [`Keep`] defines the image it belongs to.
    pub score: f32,
    /// The score before each step.
    pub losses: Vec<f32>,
    /// The gradient was zero at every step: the image does not affect this channel (a ReLU that never opens), and remains a start
    /// image.
    pub dead: bool,
    /// Abandoned; see [`Options::skip_at_or_below`].
    pub skipped: bool,
}

/// Progress of an ascent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Finished channels.
    pub done_channels: usize,
    /// All channels.
    pub total: usize,
    /// Steps of the running channels so far.
    pub step: usize,
    /// Steps of each channel.
    pub steps: usize,
    /// Mean score of the running channels before this step.
    pub score: f32,
}

/// Optimises an image for each of `channels` of `layer`, in batches of [`Options::batch`]. Results are in the order of
/// `channels`.
///
/// `progress` is called after every step.
///
/// # Errors
/// [`AscentError`] for a channel that the layer lacks, an image size that the network does not accept, invalid options, and a
/// score or gradient that is not finite.
pub fn ascend(
    model: &Model,
    layer: LayerId,
    channels: &[usize],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Ascent>, AscentError> {
    let plan = AscentPlan::new(model, layer, channels, options)?;
    let mut results = Vec::with_capacity(channels.len());
    for batch in channels.chunks(options.batch) {
        let (done_channels, total, steps) = (results.len(), channels.len(), options.steps);
        let mut report = |step, score| progress(Progress { done_channels, total, step, steps, score });
        // The steps of a batch repeat the same work, which a device replays.
        results.extend(cuda::capture(model.context.device(), || plan.run(batch, &mut report))?);
    }
    Ok(results)
}

/// The `count` results of the highest score, best first, without abandoned ones ([`Ascent::skipped`]).
pub fn best(mut results: Vec<Ascent>, count: usize) -> Vec<Ascent> {
    results.retain(|a| !a.skipped);
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    results.truncate(count);
    results
}
