//! Deterministic initialisation of weights and images. Full-size networks compare with PyTorch without a weight file:
//! `tests/goldens/fill.py` computes the same bits.
//!
//! Every value is a function of a name and a flat index. The FNV-1a hash of the name seeds a SplitMix64 stream (Steele, Lea and
//! Flood, OOPSLA 2014) whose upper 24 bits give a uniform in [0, 1). All arithmetic is one IEEE f64 operation at a time, rounded
//! to f32 at the end.

/// Kind of a parameter, which gives the interval of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel of a convolution or the matrix of a linear layer: within sqrt(6 / `fan_in`) of 0 (He et al. 2015), which
    /// preserves the variance through ReLU layers.
    Weight,
    /// A bias, or the shift of a batch-norm: within 0.1 of 0.
    Bias,
    /// The scale of a batch-norm: within 0.2 of 1.
    NormWeight,
    /// The scale of the last batch-norm of a residual branch: within 0.1 of 0.5, which bounds the activations of deep ResNets.
    LastNormWeight,
    /// The running mean of a batch-norm: within 0.1 of 0.
    RunningMean,
    /// The running variance of a batch-norm: within 0.3 of 1.
    RunningVar,
}

impl Kind {
    /// The kind of a parameter or buffer, by its torchvision name and shape. `exists` reports whether the network has a tensor of
    /// another name, which decides whether a `bn2` is the last of its block.
    pub fn of(name: &str, shape: &[usize], exists: impl Fn(&str) -> bool) -> Self {
        let last_of_block =
            || name.ends_with(".bn3.weight") || name.ends_with(".bn2.weight") && !exists(&name.replace(".bn2.", ".bn3."));
        match name.rsplit('.').next() {
            Some("bias") => Self::Bias,
            Some("running_mean") => Self::RunningMean,
            Some("running_var") => Self::RunningVar,
            _ if shape.len() > 1 => Self::Weight,
            _ if last_of_block() => Self::LastNormWeight,
            _ => Self::NormWeight,
        }
    }

    /// Centre and half width of the interval.
    fn centre_and_spread(self, fan_in: usize) -> (f64, f64) {
        match self {
            Self::Weight => (0.0, (6.0 / fan_in as f64).sqrt()),
            Self::Bias | Self::RunningMean => (0.0, 0.1),
            Self::NormWeight => (1.0, 0.2),
            Self::LastNormWeight => (0.5, 0.1),
            Self::RunningVar => (1.0, 0.3),
        }
    }
}

/// The uniforms in [0, 1) of `name`, one per flat index: multiples of 2^-24.
pub fn uniform(name: &str) -> impl Iterator<Item = f64> + use<> {
    let seed = fnv1a64(name);
    (1u64..).map(move |i| (mix(seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))) >> 40) as f64 * 2f64.powi(-24))
}

/// The first `len` values of the parameter `name`, in flat order. `fan_in`, the product of all dimensions but the first, matters
/// for [`Kind::Weight`] only.
pub fn fill_value(name: &str, kind: Kind, fan_in: usize, len: usize) -> Vec<f32> {
    let (centre, spread) = kind.centre_and_spread(fan_in);
    uniform(name).take(len).map(|u| (centre + spread * (2.0 * u - 1.0)) as f32).collect()
}

/// An image batch `[n, c, h, w]`, row-major: three waves per plane with their own phases, plus noise; values between -2 and 2.
pub fn fill_image(name: &str, n: usize, c: usize, h: usize, w: usize) -> Vec<f32> {
    let mut phases = uniform(&format!("{name}.phase"));
    let mut noise = uniform(name);
    let mut image = Vec::with_capacity(n * c * h * w);
    for _plane in 0..n * c {
        let phase: [f64; 3] = std::array::from_fn(|_| phases.next().unwrap_or_default());
        for y in 0..h {
            let y = (y as f64 + 0.5) / h as f64;
            for (x, u) in (0..w).zip(&mut noise) {
                let x = (x as f64 + 0.5) / w as f64;
                let waves = 0.7 * wave(x + phase[0]) + 0.6 * wave(2.0 * y + phase[1]);
                let waves = waves + 0.4 * wave(3.0 * x + 2.0 * y + phase[2]);
                image.push((waves + 0.3 * (2.0 * u - 1.0)) as f32);
            }
        }
    }
    image
}

/// A smooth periodic curve between -1 and 1, of parabolas joined at the integers. A libm call would make the bits platform
/// dependent.
fn wave(t: f64) -> f64 {
    let f = t - t.floor();
    8.0 * (f * (1.0 - f)) - 1.0
}

/// The 64-bit FNV-1a hash.
fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// SplitMix64's output function.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    /// Names of a ResNet-50 block, which cover every kind.
    fn exists(name: &str) -> bool {
        name == "layer1.0.bn3.weight"
    }

    #[test]
    fn equals_the_python_twin_bit_for_bit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/fill.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let goldens = SafeTensors::deserialize(&bytes).unwrap();
        assert!(goldens.len() >= 10);
        for (name, golden) in goldens.tensors() {
            let shape = golden.shape();
            let ours = match shape {
                [n, c, h, w] if name.starts_with("input") => fill_image(&name, *n, *c, *h, *w),
                _ => {
                    let fan_in = shape[1..].iter().product();
                    fill_value(&name, Kind::of(&name, shape, exists), fan_in, shape.iter().product())
                }
            };
            let bits: Vec<u8> = ours.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert!(bits == golden.data(), "{name} differs");
        }
    }

    #[test]
    fn values_stay_in_their_intervals() {
        let image = fill_image("any", 2, 3, 33, 20);
        assert_eq!(image.len(), 2 * 3 * 33 * 20);
        assert!(image.iter().all(|v| v.abs() <= 2.0));
        assert!(fill_value("v", Kind::RunningVar, 0, 5000).iter().all(|v| (0.7..=1.3).contains(v)));
        let weights = fill_value("w", Kind::Weight, 6, 5000);
        assert!(weights.iter().all(|v| v.abs() <= 1.0));
        let mean = weights.iter().sum::<f32>() / 5000.0;
        assert!(mean.abs() < 0.03, "{mean}");
    }

    #[test]
    fn the_last_norm_of_a_block_is_known() {
        let kind = |name| Kind::of(name, &[64], exists);
        assert_eq!(kind("layer1.0.bn2.weight"), Kind::NormWeight);
        assert_eq!(kind("layer1.0.bn3.weight"), Kind::LastNormWeight);
        assert_eq!(kind("layer2.0.bn2.weight"), Kind::LastNormWeight);
        assert_eq!(kind("layer2.0.downsample.1.weight"), Kind::NormWeight);
    }
}
