//! A trained network and some photos within the program, so that it has something to show on any machine.
//!
//! `models/builtin/README.md` says where they come from, how the network was trained and how good it is.

/// What the network and its weights are called.
pub const NAME: &str = "builtin";

/// The weights, with the description of their network: a safetensors file.
pub static WEIGHTS: &[u8] = include_bytes!("../builtin/resnet18-w32.safetensors");

/// A photo.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// What it is called where a file is expected.
    pub name: &'static str,
    /// Its file.
    pub jpeg: &'static [u8],
}

/// The photos.
pub static SAMPLES: [Sample; 2] = [
    Sample { name: "sample:cat", jpeg: include_bytes!("../builtin/cat.jpg") },
    Sample { name: "sample:coffee", jpeg: include_bytes!("../builtin/coffee.jpg") },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::read_image;
    use crate::{WeightsSource, described_network, load};
    use std::path::Path;

    #[test]
    fn everything_within_can_be_read() {
        assert!(WEIGHTS.len() <= 8_000_000, "{} bytes", WEIGHTS.len());
        let source = WeightsSource::builtin().unwrap();
        let network = described_network(&source).unwrap().unwrap();
        assert_eq!((network.name.as_str(), network.classes.len()), ("resnet18-w32", 102));
        let model = load(network, &source).unwrap();
        // A filter of the first layer that is all but zero shows nothing.
        for (i, filter) in model.params[0].f32().chunks_exact(147).enumerate() {
            let norm = filter.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!(norm > 0.05, "filter {i} is dead: {norm}");
        }
        for sample in SAMPLES {
            assert!(read_image(Path::new(sample.name)).unwrap().width() > 400);
        }
    }
}
