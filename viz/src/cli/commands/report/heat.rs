//! The prediction, and Grad-CAM of its classes.

use super::class;
use crate::cli::args::ReportArgs;
use crate::cli::commands::gradcam::{cam_layer, nothing_for};
use crate::cli::error::CliError;
use crate::cli::output::OutputFiles;
use crate::cli::session::Session;
use convscope_engine::Tensor;
use convscope_viz::draw::{Colormap, DrawError, Limits, ScaleBar, overlay, short};
use convscope_viz::gradcam::{GradCam, Targets, grad_cam};
use convscope_viz::predict::Prediction;
use convscope_viz::report::{Heat, HeatMap, Picture, Scale};
use image::RgbImage;

const COLORS: Colormap = Colormap::Inferno;

pub fn heat(
    session: &Session,
    args: &ReportArgs,
    image: &Tensor,
    photo: &RgbImage,
    output: &mut OutputFiles,
) -> Result<(Prediction, Heat), CliError> {
    let layer = cam_layer(session, args.layer.as_deref())?;
    let typed = args.class.as_deref().map(|text| session.classes(text)).transpose()?;
    let targets = typed.as_deref().map_or(Targets::Best(args.top), Targets::Classes);
    let (prediction, found) = grad_cam(&session.model.fused(&[layer])?, image, layer, targets)?;
    let first = &found[0];
    let all: Vec<f32> = found.iter().flat_map(|cam| cam.heatmap.values()).copied().collect();
    let [h, w] = first.heatmap.size();
    output.numbers("heatmap", Tensor::from_slice([found.len(), h, w], &all)?);
    let heat = Heat {
        layer: session.network()[layer].name.clone(),
        size: first.map.size(),
        maps: found.iter().map(|cam| map(session, &prediction, cam, photo)).collect::<Result<_, _>>()?,
    };
    Ok((prediction, heat))
}

fn map(session: &Session, prediction: &Prediction, cam: &GradCam, photo: &RgbImage) -> Result<HeatMap, CliError> {
    let class = class(session, prediction, cam.class);
    let warning = nothing_for(cam);
    let heat = cam.heatmap.resized(photo.height() as usize, photo.width() as usize).map_err(DrawError::from)?;
    let picture = overlay::layer(COLORS, &heat);
    let alt = match &warning {
        Some(text) => format!("Empty heat map of {}: {text}", class.name),
        None => format!("Heat map of {}: {}", class.name, peak(cam)),
    };
    let range = Limits::ZeroMax.range(cam.map.values());
    let scale = Scale::from(&ScaleBar::new(COLORS, range, "evidence for the class"));
    Ok(HeatMap { picture: Picture::new(picture, alt)?, class, scale, warning })
}

/// Position of a map's maximum, in words.
fn peak(cam: &GradCam) -> String {
    let (map, [h, w]) = (cam.map.values(), cam.map.size());
    let (at, max) = map.iter().enumerate().fold((0, 0.0f32), |best, (i, v)| if *v > best.1 { (i, *v) } else { best });
    let percent = |i: usize, n: usize| (100.0 * (i as f64 + 0.5) / n as f64).round();
    let (x, y) = (percent(at % w, w), percent(at / w, h));
    let heat = cam.heatmap.values();
    let warm = heat.iter().filter(|v| **v >= 0.5).count() as f64 / heat.len() as f64;
    format!(
        "strongest, {}, at {x} % from the left and {y} % from the top; {:.0} % of the photo is above half of that",
        short(max),
        100.0 * warm
    )
}
