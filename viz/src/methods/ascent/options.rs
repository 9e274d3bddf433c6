//! What an ascent does, as plain data; every recipe is a value of it.

use super::AscentError;
use convscope_models::network::Network;

/// Everything about an ascent except the network, the layer and the channels.
///
/// One step, for each image on its own: the image is moved, turned and scaled a little ([`RandomTransform`]), taken into the network's
/// input space ([`InputSpace`]), the score ([`Objective`]) and its gradient with respect to the image are computed, the
/// penalties are taken off the gradient, the gradient is normalised ([`Normalise`]), and the parameters of the image
/// ([`Parameters`]) take a step ([`StepRule`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `[height, width]` of the images.
    pub size: [usize; 2],
    /// The two ends of the space that the image lives in: black and white in a picture.
    pub range: [f32; 2],
    /// How the image becomes the network's input.
    pub input: InputSpace,
    /// What the steps change.
    pub parameters: Parameters,
    /// What they are at the start.
    pub start: Start,
    /// What is maximised.
    pub objective: Objective,
    /// Number of steps.
    pub steps: usize,
    /// What is done with the gradient.
    pub step: StepRule,
    /// How the gradient is scaled before.
    pub normalise: Normalise,
    /// Small random transforms, others at every step.
    pub transform: RandomTransform,
    /// Weight of the total variation Σ (Δx² + Δy²)^(β/2) of Mahendran & Vedaldi (CVPR 2015), see [`Self::l2`] for the units.
    pub tv: f32,
    /// Its β: 2 smooths, 1 keeps edges.
    pub tv_beta: f32,
    /// Weight of Σ (x − grey)², grey being the middle of [`Self::range`].
    ///
    /// Both penalties are taken on the image scaled to 0..1, and their weights are in units of the score's gradient (its root
    /// mean square), so that a weight means the same in every layer, size and range. 0 switches off.
    pub l2: f32,
    /// Whether the pixels are kept inside [`Self::range`] after every step. [`Parameters::Fourier`] are there anyway.
    pub clip: bool,
    /// Which image is the result.
    pub keep: Keep,
    /// A channel whose score is ever at or below this is given up ([`super::Ascent::skipped`]).
    pub skip_at_or_below: Option<f32>,
    /// How the result is to be shown.
    pub shown: Shown,
    /// Of the start and the transforms; each channel has streams of its own.
    pub seed: u64,
    /// Channels that run through the network together. Changes memory and speed, and results by rounding only: another kernel may
    /// be the fastest for another number of images.
    pub batch: usize,
}

/// From the image to the network's input.
#[derive(Debug, Clone, PartialEq)]
pub enum InputSpace {
    /// The image goes into the network as it is: what Keras' VGG-16 (blue, green, red; 0..255) gets in the recipes.
    Raw,
    /// [`Options::range`] is scaled to 0..1, then mean and standard deviation are taken off per channel: torchvision's weights.
    Normalised {
        /// Mean of each channel, in 0..1.
        mean: Vec<f32>,
        /// Standard deviation of each channel, in 0..1.
        std: Vec<f32>,
    },
}

/// What the steps change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parameters {
    /// The pixels themselves.
    Pixels,
    /// Waves of decorrelated colours, through a sigmoid (Olah et al., "Feature Visualization", Distill 2017; Lucid).
    ///
    /// A wave of frequency f (cycles a pixel) weighs 1 / f^decay, as in natural images. This changes the direction of
    /// steepest ascent, not the optimum: away from noise. Images are in 0..1.
    Fourier {
        /// 1 in Lucid; more is smoother.
        decay: f32,
    },
}

/// Where the ascent starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Pixels drawn evenly from `low..high`.
    Uniform {
        /// Least value.
        low: f32,
        /// Below this.
        high: f32,
    },
    /// Parameters drawn from a normal distribution: of waves about 0, of pixels about grey. As long as the channel has no
    /// gradient at all, each step draws a new start of twice the deviation, a few times.
    Normal {
        /// Standard deviation.
        sd: f32,
    },
    /// This image, `[c, h, w]` in [`Options::range`], for every channel.
    Image(Vec<f32>),
}

/// The score of a channel, to be maximised. Of a layer that is a vector it is the unit (of the last layer: the class logit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Mean of the channel over space.
    Channel {
        /// Rows and columns left out at each edge.
        border: usize,
    },
    /// The channel's centre: right and below it where the size is even.
    Centre,
}

/// How parameters follow the gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepRule {
    /// x += rate · g
    Gradient {
        /// Length of the step.
        rate: f32,
    },
    /// Adam (Kingma & Ba 2015) with its usual decays.
    Adam {
        /// Learning rate.
        rate: f32,
        /// Added to the root of the second moment: parameters whose gradient is well below it hardly move.
        eps: f32,
    },
}

/// How the gradient with respect to the image is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Normalise {
    /// Not at all.
    None,
    /// g / (√mean(g²) + eps)
    Rms {
        /// Against division by zero.
        eps: f32,
    },
    /// g / √max(Σ g², eps), TensorFlow's `l2_normalize`.
    L2 {
        /// Against division by zero.
        eps: f32,
    },
}

/// Random transforms that an image must survive: without them the optimum is noise. What leaves on one side enters on the other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RandomTransform {
    /// Largest shift in pixels, either way.
    pub jitter: usize,
    /// Largest turn in degrees, either way.
    pub rotate: f32,
    /// Largest change of size as a fraction, either way.
    pub scale: f32,
}

impl RandomTransform {
    /// Whether nothing moves.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }
}

/// Which image is the result, and which score goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The image of the highest score; the score is measured again on it, without a transform.
    Best,
    /// The image after the last step; the score is the one measured before that step, as the recipes print and sort it.
    Last,
}

/// How an image is made visible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown {
    /// Black and white are these values.
    Range([f32; 2]),
    /// Of the whole image: − mean, / (standard deviation + 1e-5), × 0.1, + 0.5, clipped to 0..1 (the book of 2017, Keras blog).
    Chollet1,
    /// The same with × 0.15, and 25 pixels cut off at each edge after the statistics are taken (keras.io).
    KerasIo,
}

/// The recipes people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Our own, see [`Preset::options`].
    Default,
    /// F. Chollet, *Deep Learning with Python* (2017), 5.4.2.
    Chollet1,
    /// "How convolutional neural networks see the world" (The Keras Blog, 2016), `conv_filter_visualization.py`.
    Kerasblog,
    /// "Visualizing what convnets learn" (keras.io, 2020).
    KerasIo,
}

impl Preset {
    /// All of them, with the names of the command line.
    pub const ALL: [(&str, Preset); 4] = [
        ("default", Preset::Default),
        ("chollet1", Preset::Chollet1),
        ("kerasblog", Preset::Kerasblog),
        ("keras-io", Preset::KerasIo),
    ];

    /// The recipe for a network.
    ///
    /// `Default` optimises in the space of Fourier waves and decorrelated colours by Adam, with transforms of the image that grow
    /// with its size, a little total variation and L2, and keeps the best image. Adam's eps is far above the usual: it keeps
    /// fine waves that hardly matter to the score from growing as fast as those that do.
    ///
    /// The recipes come with [`InputSpace::Normalised`] of the network's preprocessing, which suits torchvision's weights: the
    /// image lives in the recipe's own range (0..255, or -1..1 of keras.io's ResNet50V2), steps and gradients are those of that
    /// range, and the network sees it as it sees a photo. For Keras' or Caffe's VGG weights, whose recipes feed 0..255 without
    /// taking off a mean, set `input` to [`InputSpace::Raw`]: then everything is as in the recipe.
    pub fn options(self, network: &Network) -> Options {
        let [height, width] = [network.input.height, network.input.width];
        let own = |n: usize, min: usize| (2 * n).clamp(min, DEFAULT_SIZE.max(min));
        let size = [own(height, network.input.min_size[0]), own(width, network.input.min_size[1])];
        // A dense layer after all pixels takes images of one size.
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
            shown: Shown::Range([0.0, 1.0]),
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
            shown: Shown::Chollet1,
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
                shown: Shown::KerasIo,
                ..chollet1
            },
        }
    }
}

/// Side of the default's images for networks of large photos: features of most layers fit, and 224 would take thrice the time.
const DEFAULT_SIZE: usize = 128;

impl Options {
    /// Checks what can be checked without a network; `channels` are those of the image.
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
            // A dead channel would divide zero by it.
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
