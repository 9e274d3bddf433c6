//! `convscope gradcam`: heat maps of classes.

use crate::cli::args::{CamPreset, GradcamArgs};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::output::OutputFiles;
use crate::cli::session::Session;
use crate::cli::terminal::print_json;
use convscope_engine::Tensor;
use convscope_models::network::{LayerId, Selection};
use convscope_viz::Map;
use convscope_viz::draw::{Bar, BarList, Colormap, Figure, Overlay, Panel, Panels, Theme, short};
use convscope_viz::gradcam::{GradCam, Targets, grad_cam};
use convscope_viz::predict::Prediction;
use serde_json::json;

impl RunCommand for GradcamArgs {
    const NAME: &'static str = "gradcam";
    const NUMBERS: bool = true;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, path, preset) = (invocation.common, self.path.as_path(), self.preset);
        let mut session = Session::open(invocation)?;
        let layer = cam_layer(&session, self.layer.as_deref())?;
        let photo = session.photo(path, &self.image, PassKind::Recorded)?.photo;
        let network = session.network();
        let model = session.model.fused(&[layer])?;
        let (prediction, maps) = match &self.class {
            Some(text) => grad_cam(&model, &photo.input, layer, Targets::Classes(&session.classes(text)?))?,
            None => grad_cam(&model, &photo.input, layer, Targets::Best(self.top.unwrap_or(1)))?,
        };
        let layer_name = network[layer].name.as_str();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut output =
            OutputFiles::new(common, session.metadata(&[("image", json!(path.to_string_lossy())), ("layer", json!(layer_name))]))
                .without(&["class", "top", "preset"]);
        let look = match preset {
            None => "",
            Some(CamPreset::Chollet1) => "chollet1",
            Some(CamPreset::Pytorch) => "pytorch",
        };
        let (mut report, mut overlays) = (Vec::new(), Vec::new());
        for cam in &maps {
            let name = session.class_name(cam.class);
            let title = format!("Grad-CAM · {} · {layer_name}", network.name);
            let page = figure(&session, &title, &photo.shown, &prediction, cam, preset, common.dark)?;
            let metadata = json!({
                "preset": preset.map(|_| look), "class": cam.class, "name": name, "logit": prediction.logits[cam.class], "probability": prediction.probabilities[cam.class],
                "map_min_before_relu": cam.signed[0], "map_max": cam.signed[1].max(0.0), "map_size": cam.map.size(),
            });
            output.picture(
                &["gradcam", &network.name, layer_name, &stem, &name, look],
                &title,
                &page,
                &[("target", metadata.clone())],
            )?;
            let CamLook { overlay, .. } = cam_look(preset);
            overlays.push((name, overlay.apply(&photo.shown, &cam.heatmap)?, metadata.clone()));
            report.push(metadata);
        }
        // The overlays alone, without a page.
        for (name, overlay, metadata) in overlays {
            let title = format!("Grad-CAM overlay · {} · {layer_name}", network.name);
            let parts = ["gradcam", &network.name, layer_name, &stem, &name, look, "overlay"];
            output.picture(&parts, &title, &overlay, &[("target", metadata)])?;
        }
        // One class: [h,w]; several: [k,h,w].
        let stack = |part: fn(&GradCam) -> &Map| {
            let values: Vec<f32> = maps.iter().flat_map(|c| part(c).values()).copied().collect();
            let [h, w] = part(&maps[0]).size();
            Tensor::from_slice(if maps.len() == 1 { vec![h, w] } else { vec![maps.len(), h, w] }, &values)
        };
        output.numbers("logits", Tensor::from_slice([1, prediction.logits.len()], &prediction.logits)?);
        output.numbers("map", stack(|c| &c.map)?);
        output.numbers("heatmap", stack(|c| &c.heatmap)?);
        let pictures = output.finish()?;
        if common.json {
            print_json(format!(
                "{:#}",
                json!({"image": path.to_string_lossy(), "layer": layer_name, "targets": report, "pictures": pictures})
            ))?;
        }
        Ok(())
    }
}

/// The selected layer, or the network's default.
pub fn cam_layer(session: &Session, typed: Option<&str>) -> Result<LayerId, CliError> {
    let network = session.network();
    let Some(text) = typed else {
        let none = || CliError::usage(format!("{} has no convolution: name a layer with --layer", network.name));
        return network.cam_layer().ok_or_else(none);
    };
    match session.select(text)? {
        Selection { layer, channel: None } => Ok(layer),
        Selection { .. } => {
            let reason = "Grad-CAM weighs all channels of a layer; leave out the channel";
            Err(CliError::usage(format!("--layer {text}: {reason}")))
        }
    }
}

/// The reason for a blank map.
pub fn nothing_for(cam: &GradCam) -> Option<String> {
    let [low, high] = cam.signed.map(short);
    let text = format!("nothing speaks for this class here: every contribution is negative ({low} to {high})");
    (cam.signed[1] <= 0.0).then_some(text)
}

/// Colours and overlay of a map.
struct CamLook {
    overlay: Overlay,
    colormap: Colormap,
    contours: bool,
}

fn cam_look(preset: Option<CamPreset>) -> CamLook {
    let jet = |overlay| CamLook { overlay, colormap: Colormap::JetOpencv, contours: false };
    match preset {
        None => CamLook { overlay: Overlay::Proportional(Colormap::Inferno), colormap: Colormap::Inferno, contours: true },
        Some(CamPreset::Chollet1) => jet(Overlay::Chollet1),
        Some(CamPreset::Pytorch) => jet(Overlay::Pytorch),
    }
}

fn figure(
    session: &Session,
    title: &str,
    photo: &image::RgbImage,
    prediction: &Prediction,
    cam: &GradCam,
    preset: Option<CamPreset>,
    dark: bool,
) -> Result<image::RgbImage, CliError> {
    let (name, p) = (session.numbered_class(cam.class), prediction.probabilities[cam.class]);
    let CamLook { overlay: style, colormap, contours } = cam_look(preset);
    let [h, w] = cam.map.size();
    let mut figure = Figure::new(title)
        .subtitle(format!("target: {name} · p = {p:.3} · logit {:.2}", prediction.logits[cam.class]))
        .metadata(session.credit(&format!("map {w}×{h}, drawn bilinearly")))
        .theme(if dark { Theme::dark() } else { Theme::light() });
    if let Some(text) = nothing_for(cam) {
        figure = figure.warning(text);
    }
    let mut shown = prediction.top(5);
    if !shown.contains(&cam.class) {
        shown.pop();
        shown.push(cam.class);
    }
    let bars =
        shown.iter().map(|c| Bar { label: session.class_name(*c), value: prediction.probabilities[*c], target: *c == cam.class });
    let panels = Panels {
        panels: vec![
            Panel::Picture { caption: "input".into(), picture: photo },
            Panel::Heat {
                caption: "heat map".into(),
                map: &cam.map,
                colormap,
                range: None,
                quantity: "evidence for the class".into(),
            },
            Panel::Overlay { caption: "overlay".into(), photo, map: &cam.heatmap, style, contours },
        ],
        bars: Some(BarList { heading: "probability".into(), bars: bars.collect(), full: 1.0 }),
    };
    Ok(figure.panels(&panels)?)
}
