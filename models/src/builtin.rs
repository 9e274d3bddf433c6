//! The bundled network and sample photos: every command has an input on any machine.
//!
//! `models/builtin/README.md` gives their sources, the training recipe and the accuracy.

/// Name of the bundled network and of its weights.
pub const NAME: &str = "builtin";

/// A safetensors file with the weights and, in its metadata, the network.
pub static WEIGHTS: &[u8] = include_bytes!("../builtin/resnet18-w32.safetensors");

/// A sample photo.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Name in place of a path, such as `sample:cat`.
    pub name: &'static str,
    /// Content of its JPEG file.
    pub jpeg: &'static [u8],
}

/// The bundled photos.
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
        // A filter of near-zero weights would draw as a blank picture.
        for (i, filter) in model.params[0].f32().chunks_exact(147).enumerate() {
            let norm = filter.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!(norm > 0.05, "filter {i} is dead: {norm}");
        }
        for sample in SAMPLES {
            assert!(read_image(Path::new(sample.name)).unwrap().width() > 400);
        }
    }
}
