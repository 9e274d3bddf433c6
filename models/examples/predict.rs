//! The classes of a photo by the bundled network: `cargo run --release -p convscope-models --example predict -- PHOTO`.

use convscope_engine::{Tape, Tensor};
use convscope_models::Model;
use convscope_models::image::prepare_file;
use convscope_models::labels::Labels;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or("sample:cat".into());
    for (name, probability) in &classify(&path)?[..5] {
        println!("{:5.1} %  {name}", 100.0 * probability);
    }
    Ok(())
}

/// The classes of the photo in `path` with their probabilities, best first.
pub fn classify(path: &str) -> Result<Vec<(String, f32)>, Box<dyn Error>> {
    let model = Model::builtin()?;
    let network = &model.network;

    // Resize, crop and normalisation belong to the network.
    let photo = prepare_file(path.as_ref(), &network.preprocess)?;
    let images = Tensor::from_slice([1, 3, photo.h, photo.w], &photo.data)?;

    let mut tape = Tape::inference();
    let run = model.forward(&mut tape, images)?;
    let probabilities = network.output_activation.probabilities(tape.value(run.output())?.f32());

    let labels = Labels::of(&network.classes);
    let mut classes: Vec<_> = labels.names().map(String::from).zip(probabilities).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(classes)
}
