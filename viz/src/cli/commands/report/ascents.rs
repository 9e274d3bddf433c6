//! Gradient ascent of classes and channels, beside their response to the photo.

use crate::cli::commands::ascent::picture;
use crate::cli::commands::features::grid;
use crate::cli::error::CliError;
use crate::cli::output::OutputFiles;
use crate::cli::session::Session;
use convscope_engine::Tensor;
use convscope_models::network::LayerId;
use convscope_viz::ascent::{Ascent, Options, Progress, ascend};
use convscope_viz::draw::{CellContent, short};
use convscope_viz::features::Features;
use convscope_viz::report::{Excited, HeatMap, Picture, Scale, Stage};
use indicatif::ProgressBar;

/// Approximate side of a channel's map on the page.
const MAP: u32 = 128;

/// Ascents of one layer after another.
pub struct AscentRunner<'a> {
    pub session: &'a Session,
    pub options: &'a Options,
    /// Progress in steps.
    pub bar: &'a ProgressBar,
    pub output: &'a mut OutputFiles,
}

impl AscentRunner<'_> {
    fn ascend(&mut self, layer: LayerId, channels: &[usize]) -> Result<Vec<Ascent>, CliError> {
        let (before, batch) = (self.bar.position(), self.options.batch);
        let model = self.session.model.fused(&[layer])?;
        let found = ascend(&model, layer, channels, self.options, &mut |p: Progress| {
            let together = batch.min(p.total - p.done_channels);
            self.bar.set_position(before + (p.done_channels * p.steps + p.step * together) as u64);
        })?;
        if let Some(Ascent { shape: [c, h, w], .. }) = found.first() {
            let images: Vec<f32> = found.iter().flat_map(|a| &a.image).copied().collect();
            let name = format!("ascent.{}", self.session.network()[layer].name);
            self.output.numbers(name, Tensor::from_slice([found.len(), *c, *h, *w], &images)?);
        }
        Ok(found)
    }

    /// Ascents of the classes with heat maps.
    pub fn classes(&mut self, maps: &[HeatMap]) -> Result<Vec<Excited>, CliError> {
        let classes: Vec<usize> = maps.iter().map(|m| m.class.index).collect();
        let found = self.ascend(self.session.network().output(), &classes)?;
        let excited = |(a, m): (&Ascent, &HeatMap)| {
            let name = m.class.name.clone();
            let alt =
                format!("Picture that raises the logit of {name} to {} (the photo: {})", short(a.score), short(m.class.logit));
            Ok(Excited { name, picture: shown(a, alt)?, reached: a.score, photo: m.class.logit, map: None })
        };
        found.iter().zip(maps).map(excited).collect()
    }

    /// Ascents of channels, with their feature maps of the photo `name`.
    pub fn stage(&mut self, maps: &Features, channels: &[usize], name: &str) -> Result<Stage, CliError> {
        let layer = self.session.network()[maps.layer].name.clone();
        let found = self.ascend(maps.layer, channels)?;
        let (means, cells) = (maps.means(), grid(maps, channels).pictures(MAP)?);
        let excited = |(a, map): (&Ascent, &CellContent)| {
            let mean = means[a.channel] as f32;
            let what = format!("channel {} of {layer}", a.channel);
            let picture = shown(a, format!("Picture that raises {what} to a mean of {}", short(a.score)))?;
            let map = match map {
                CellContent::Picture(map) => {
                    Some(Picture::new(map.clone(), format!("Map of {what} for {name}, mean {}", short(mean)))?)
                }
                CellContent::Word(_) => None,
            };
            Ok(Excited { name: format!("#{}", a.channel), picture, reached: a.score, photo: mean, map })
        };
        let channels = found.iter().zip(&cells.pictures).map(excited).collect::<Result<_, CliError>>()?;
        Ok(Stage { layer, shape: maps.size(), channels, scale: cells.scale.as_ref().map(Scale::from) })
    }
}

fn shown(a: &Ascent, alt: String) -> Result<Option<Picture>, CliError> {
    Ok(if a.dead { None } else { Some(Picture::new(picture(a)?, alt)?) })
}
