//! Grad-CAM of a photo with the bundled network: `cargo run --release -p convscope-viz --example gradcam -- PHOTO`.

use convscope_models::Model;
use convscope_models::labels::Labels;
use convscope_viz::Photo;
use convscope_viz::draw::{Colormap, Overlay};
use convscope_viz::gradcam::{Targets, grad_cam};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or("sample:cat".into());
    let model = Model::builtin()?;
    let photo = Photo::open(&path, &model.network)?;
    let layer = model.network.cam_layer().ok_or("the network has no convolution")?;
    let (prediction, maps) = grad_cam(&model, &photo.input, layer, Targets::Best(1))?;
    Overlay::Proportional(Colormap::Inferno).apply(&photo.shown, &maps[0].heatmap)?.save("gradcam.png")?;
    let (labels, best) = (Labels::of(&model.network.classes), prediction.best());
    println!("{}, p = {:.3}: gradcam.png", labels.name(best).unwrap_or("?"), prediction.probabilities[best]);
    Ok(())
}
