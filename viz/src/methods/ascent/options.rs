//! Options of gradient ascent, as plain data; every recipe is a value of them.

use super::AscentError;
use convscope_models::network::Network;

/// All parameters of an ascent besides the network, the layer and the channels.
///
/// In one step, independently for each image: a random transform shifts, rotates and scales the image ([`RandomTransform`]); the
/// image is converted to the network's input ([`InputSpace`]); the score ([`Objective`]) and its gradient with respect to the
/// image are computed; the penalties' gradients are subtracted; the gradient is normalised ([`Normalise`]); and the parameters of
/// the image ([`Parameters`]) take a step ([`StepRule`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `[height, width]` of the images.
    pub size: [usize; 2],
    /// Values of black and white in the image.
    pub range: [f32; 2],
    /// Conversion of the image to the network's input.
    pub input: InputSpace,
    /// Parameters of the image.
    pub parameters: Parameters,
    /// Initial parameters.
    pub start: Start,
    /// The maximised score.
    pub objective: Objective,
    /// Number of steps.
    pub steps: usize,
    /// Update rule.
    pub step: StepRule,
    /// Normalisation of the gradient before the update.
    pub normalise: Normalise,
    /// Small random transforms, different at every step.
    pub transform: RandomTransform,
    /// Weight of the total variation Σ (Δx² + Δy²)^(β/2) of Mahendran & Vedaldi (CVPR 2015); [`Self::l2`] gives the units.
    pub tv: f32,
    /// Its β: 2 smooths, 1 keeps edges.
    pub tv_beta: f32,
    /// Weight of Σ (x − grey)², where grey is the middle of [`Self::range`].
    ///
    /// Both penalties apply to the image scaled to 0..1. Their weights are in units of the score gradient's root mean square, so
    /// a weight has the same effect in every layer, size and range. 0 disables a penalty.
    pub l2: f32,
    /// Whether pixels are clipped to [`Self::range`] after every step. [`Parameters::Fourier`] are within it anyway.
    pub clip: bool,
    /// The image of the result.
    pub keep: Keep,
    /// A channel whose score is ever at or below this is abandoned ([`super::Ascent::skipped`]).
    pub skip_at_or_below: Option<f32>,
    /// Conversion of the result to a picture.
    pub shown: Rendering,
    /// Seed of the initial images and the transforms; each channel has its own random streams.
    pub seed: u64,
    /// Channels per batch. It affects memory and speed, and results by rounding only: another batch size may select another
    /// kernel.
    pub batch: usize,
}

/// Conversion from the image to the network's input.
#[derive(Debug, Clone, PartialEq)]
pub enum InputSpace {
    /// The image itself: in the recipes, the input of Keras' VGG-16 (blue, green, red; 0..255).
    Raw,
    /// [`Options::range`] scaled to 0..1 and normalised per channel, for torchvision's weights.
    Normalised {
        /// Mean of each channel, in 0..1.
        mean: Vec<f32>,
        /// Standard deviation of each channel, in 0..1.
        std: Vec<f32>,
    },
}

/// Parameterisation of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parameters {
    /// Pixels.
    Pixels,
    /// Fourier waves of decorrelated colours, through a sigmoid (Olah et al., "Feature Visualization", Distill 2017; Lucid).
    ///
    /// A wave of frequency f (cycles per pixel) has weight 1 / f^decay, as in natural images. This changes the direction of
    /// steepest ascent away from noise, but not the optimum. Images are in 0..1.
    Fourier {
        /// Exponent: 1 in Lucid; more is smoother.
        decay: f32,
    },
}

/// Initial parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Pixels uniform in `low..high`.
    Uniform {
        /// Minimum.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// Normal parameters: waves about 0, pixels about grey. A channel without any gradient gets a new start of twice the
    /// deviation, a few times.
    Normal {
        /// Standard deviation.
        sd: f32,
    },
    /// This image, `[c, h, w]` in [`Options::range`], for every channel.
    Image(Vec<f32>),
}

/// The maximised score of a channel. In a vector it is the unit (in the last layer: the class logit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Mean of the channel over all positions.
    Channel {
        /// Rows and columns excluded at each edge.
        border: usize,
    },
    /// The channel's centre; with an even size, right of and below it.
    Centre,
}

/// Update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepRule {
    /// x += rate · g
    Gradient {
        /// Learning rate.
        rate: f32,
    },
    /// Adam (Kingma & Ba 2015) with its usual decays.
    Adam {
        /// Learning rate.
        rate: f32,
        /// Added to the root of the second moment: parameters with a gradient well below it hardly change.
        eps: f32,
    },
}

/// Normalisation of the gradient with respect to the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Normalise {
    /// None.
    None,
    /// g / (√mean(g²) + eps)
    Rms {
        /// Prevents division by zero.
        eps: f32,
    },
    /// g / √max(Σ g², eps), TensorFlow's `l2_normalize`.
    L2 {
        /// Prevents division by zero.
        eps: f32,
    },
}

/// Random transforms for transformation robustness: without them the optimum is noise. The image is periodic at its edges.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RandomTransform {
    /// Largest shift in pixels, either way.
    pub jitter: usize,
    /// Largest rotation in degrees, either way.
    pub rotate: f32,
    /// Largest scaling as a fraction, either way.
    pub scale: f32,
}

impl RandomTransform {
    /// Whether all transforms are the identity.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }
}

/// The image and the score of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The image of the highest score; its score is measured again without a transform.
    Best,
    /// The image after the last step, with the score before that step, as in the recipes.
    Last,
}

/// Conversion of an image to a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rendering {
    /// Values of black and white.
    Range([f32; 2]),
    /// Standardisation of the whole image: − mean, / (standard deviation + 1e-5), × 0.1, + 0.5, clipped to 0..1 (the book of
    /// 2017, Keras blog).
    Chollet1,
    /// As `Chollet1`, with × 0.15, and 25 pixels cropped at each edge after the statistics (keras.io).
    KerasIo,
}

/// Well-known recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Convscope's own; see [`Preset::options`].
    Default,
    /// F. Chollet, *Deep Learning with Python* (2017), 5.4.2.
    Chollet1,
    /// "How convolutional neural networks see the world" (The Keras Blog, 2016), `conv_filter_visualization.py`.
    Kerasblog,
    /// "Visualizing what convnets learn" (keras.io, 2020).
    KerasIo,
}

impl Preset {
    /// All presets, with their names on the command line.
    pub const ALL: [(&str, Preset); 4] = [
        ("default", Preset::Default),
        ("chollet1", Preset::Chollet1),
        ("kerasblog", Preset::Kerasblog),
        ("keras-io", Preset::KerasIo),
    ];

    /// The recipe for a network.
    ///
    /// `Default` optimises Fourier waves of decorrelated colours by Adam, with random transforms that grow with the image, a
    /// small total variation and L2 penalty, and keeps the best image. Adam's large epsilon keeps fine waves with little effect
    /// on the score from growing as fast as others.
    ///
    /// The recipes have [`InputSpace::Normalised`] with the network's normalisation, for torchvision's weights: the image is in
    /// the recipe's range (0..255, or -1..1 of keras.io's ResNet50V2), steps and gradients are in that range, and the network's
    /// input is normalised like a photo. Recipes for Keras' or Caffe's VGG weights feed 0..255 without a mean;
    /// [`InputSpace::Raw`] reproduces them exactly.
    pub fn options(self, network: &Network) -> Options {
        let [height, width] = [network.input.height, network.input.width];
        let own = |n: usize, min: usize| (2 * n).clamp(min, DEFAULT_SIZE.max(min));
        let size = [own(height, network.input.min_size[0]), own(width, network.input.min_size[1])];
        // A dense layer after flattening accepts one image size only.
        let size = if network.at(size[0], size[1]).is_ok() { size } else { [height, width] };
        let normalization = network.preprocess.normalization;
        let per_channel = |values: [f32; 3]| values.into_iter().cycle().take(network.input.channels).collect();
        let default = Options {
            size,
            range: [0.0, 1.0],
            input: InputSpace::Normalised { mean: per_channel(normalization.mean), std: per_channel(normalization.std) },
            parameters: Parameters::Fourier { decay: 1.0 },
            start: Start::Normal { sd: 0.01 },
            objective: Objective::Channel { border: 0 },
            steps: 128,
            step: StepRule::Adam { rate: 0.1, eps: 0.05 },
            normalise: Normalise::Rms { eps: 1e-12 },
            transform: RandomTransform { jitter: (size[0].min(size[1]) / 16).max(1), rotate: 5.0, scale: 0.05 },
            tv: 0.02,
            tv_beta: 2.0,
            l2: 0.01,
            clip: false,
            keep: Keep::Best,
            skip_at_or_below: None,
            shown: Rendering::Range([0.0, 1.0]),
            seed: 0,
            batch: 8,
        };
        let chollet1 = Options {
            size: [150, 150],
            range: [0.0, 255.0],
            parameters: Parameters::Pixels,
            start: Start::Uniform { low: 128.0, high: 148.0 },
            steps: 40,
            step: StepRule::Gradient { rate: 1.0 },
            normalise: Normalise::Rms { eps: 1e-5 },
            transform: RandomTransform::default(),
            tv: 0.0,
            l2: 0.0,
            keep: Keep::Last,
            shown: Rendering::Chollet1,
            ..default.clone()
        };
        match self {
            Preset::Default => default,
            Preset::Chollet1 => chollet1,
            Preset::Kerasblog => Options {
                size: [128, 128],
                start: Start::Uniform { low: 118.0, high: 138.0 },
                steps: 20,
                normalise: Normalise::Rms { eps: 1e-7 },
                skip_at_or_below: Some(0.0),
                ..chollet1
            },
            Preset::KerasIo => Options {
                size: [180, 180],
                range: [-1.0, 1.0],
                start: Start::Uniform { low: -0.125, high: 0.125 },
                objective: Objective::Channel { border: 2 },
                steps: 30,
                step: StepRule::Gradient { rate: 10.0 },
                normalise: Normalise::L2 { eps: 1e-12 },
                shown: Rendering::KerasIo,
                ..chollet1
            },
        }
    }
}

/// Default image side for networks of large photos. Features of most layers fit, at a third of the time of 224.
const DEFAULT_SIZE: usize = 128;

impl Options {
    /// Checks the options without a network; `channels` is the number of image channels.
    pub(super) fn check(&self, channels: usize) -> Result<(), AscentError> {
        let wrong = |what: &'static str, got: String, want: String| Err(AscentError::Option { what, got, want });
        let least = |what, value: f32| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => wrong(what, value.to_string(), "a number from 0 up".into()),
        };
        let (StepRule::Gradient { rate } | StepRule::Adam { rate, .. }) = self.step;
        let decay = if let Parameters::Fourier { decay } = self.parameters { decay } else { 0.0 };
        let sd = if let Start::Normal { sd } = self.start { sd } else { 0.0 };
        let numbers =
            [("step rate", rate), ("TV weight", self.tv), ("L2 weight", self.l2), ("decay", decay), ("start deviation", sd)];
        numbers.into_iter().try_for_each(|(what, value)| least(what, value))?;
        least("rotation", self.transform.rotate)?;
        let adam = if let StepRule::Adam { eps, .. } = self.step { eps } else { 1.0 };
        let norm = if let Normalise::Rms { eps } | Normalise::L2 { eps } = self.normalise { eps } else { 1.0 };
        for (what, eps) in [("Adam eps", adam), ("normalising eps", norm)] {
            // A dead channel would divide zero by zero.
            if !(eps > 0.0 && eps.is_finite()) {
                return wrong(what, eps.to_string(), "a number above 0".into());
            }
        }
        if !(0.0..1.0).contains(&self.transform.scale) {
            return wrong("scale transform", self.transform.scale.to_string(), "a fraction from 0 to below 1".into());
        }
        if !(1.0..=4.0).contains(&self.tv_beta) {
            return wrong("TV exponent", self.tv_beta.to_string(), "a number from 1 to 4".into());
        }
        if self.steps == 0 || self.batch == 0 {
            return wrong("number of steps or batch", "0".into(), "at least 1".into());
        }
        let [low, high] = self.range;
        if !(low < high && (high - low).is_finite()) {
            return wrong("range", format!("{low}..{high}"), "a lower and a higher number".into());
        }
        if let Parameters::Fourier { .. } = self.parameters {
            if self.range != [0.0, 1.0] {
                return wrong("range", format!("{low}..{high}"), "0..1 with Fourier parameters".into());
            }
            if let Start::Uniform { .. } = self.start {
                return wrong("start", "uniform pixels".into(), "normal or an image with Fourier parameters".into());
            }
        }
        if let InputSpace::Normalised { mean, std } = &self.input {
            let usable = mean.iter().chain(std).all(|v| v.is_finite()) && !std.contains(&0.0);
            if mean.len() != channels || std.len() != channels || !usable {
                let want = format!("{channels} finite numbers each, no deviation of 0");
                return wrong("mean and standard deviation", format!("{mean:?} and {std:?}"), want);
            }
        }
        let pixels = self.size[0].saturating_mul(self.size[1]).saturating_mul(channels);
        match &self.start {
            Start::Image(image) if image.len() != pixels => wrong(
                "start image",
                format!("{} numbers", image.len()),
                format!("{pixels} for {channels}x{}x{}", self.size[0], self.size[1]),
            ),
            Start::Image(image) if image.iter().any(|v| !v.is_finite()) => {
                wrong("start image", "infinite or no numbers in it".into(), "finite numbers".into())
            }
            Start::Uniform { low, high } if !(low <= high && (high - low).is_finite()) => {
                wrong("start", format!("{low}..{high}"), "a lower and a higher number".into())
            }
            _ => Ok(()),
        }
    }
}
