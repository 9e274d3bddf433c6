//! Keras files: an architecture file, an unknown layer, and conversion.

use super::support::Sandbox;
use std::fs;
use std::path::Path;

/// A sandbox with a photo and these of the files that `tests/goldens/keras_models.py` made.
fn sandbox(files: &[&str]) -> Sandbox {
    let sandbox = Sandbox::with_photo();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/keras");
    for file in files {
        sandbox.write(file, fs::read(folder.join(file)).unwrap());
    }
    sandbox
}

#[test]
fn an_architecture_and_its_weights() {
    let sandbox = sandbox(&["tutorial.keras3.json", "tutorial.keras3.weights.h5", "tutorial.keras3.keras"]);
    let separate = sandbox.ok("predict photo.png -m tutorial.keras3.json -w tutorial.keras3.weights.h5 -q --json");
    let whole = sandbox.ok("predict photo.png -w tutorial.keras3.keras -q --json");
    let numbers = |text: &str| text.replace("tutorial.keras3.weights.h5", "F").replace("tutorial.keras3.keras", "F");
    assert_eq!(numbers(&separate), numbers(&whole));
    // Without weights they are random, and a file with an architecture takes no second one.
    sandbox.ok("summary -m tutorial.keras3.json");
    sandbox.fails(2, "predict photo.png -m tutorial.keras3.json -w tutorial.keras3.keras -q", &["architecture of its own"]);
    sandbox.fails(1, "summary -m missing.json", &["missing.json"]);
    // A converted file still has its network.
    sandbox.ok("convert -q tutorial.keras3.weights.h5 both.safetensors -m tutorial.keras3.json");
    let converted = sandbox.ok("predict photo.png -w both.safetensors -q --json");
    assert_eq!(numbers(&separate), converted.replace("both.safetensors", "F"));
}

#[test]
fn a_network_that_ends_before_an_unknown_layer() {
    let sandbox = sandbox(&["unfinished.keras"]);
    sandbox.ok("summary -w unfinished.keras");
    sandbox.ok("filters -q -w unfinished.keras -o filters");
    sandbox.ok("features photo.png -w unfinished.keras -l second -q -o features");
    let says = ["no classes", "strange", "LayerNormalization"];
    sandbox.fails(2, "predict photo.png -q -w unfinished.keras", &says);
    sandbox.fails(2, "gradcam photo.png -q -w unfinished.keras -l second", &says);
    sandbox.fails(2, "gradcam photo.png -q -w unfinished.keras -l second -c 1", &says);
}
