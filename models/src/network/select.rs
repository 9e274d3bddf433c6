//! Selection of layers and channels by text.

use super::{LayerId, LayerKind, Network, NetworkError};
use crate::text::nearest;

/// Number of suggestions in an error.
const OFFERED: usize = 3;
const LAST_CONV: &str = "last-conv";
/// Words for several layers.
const ALL: &str = "all";
const CONVS: &str = "convs";

/// A layer, with an optional channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The layer.
    pub layer: LayerId,
    /// The channel (of a vector: the feature), below the layer's number of channels.
    pub channel: Option<usize>,
}

/// The parts of `layer[:pre][:channel]`.
struct Parts<'a> {
    base: &'a str,
    pre: bool,
    channel: Option<&'a str>,
}

impl Network {
    /// The layer of `text`: `layer`, `layer:channel`, `layer:pre` or `layer:pre:channel`, where `layer` is the first of these
    /// that matches:
    ///
    /// 1. a layer's name (`features.28`, `layer3.2.conv2`);
    /// 2. a scope's name (`layer4`, `layer3.2`, `features`), for its output;
    /// 3. a Keras or Caffe name, if the network has them (see [`Network::aliases`]);
    /// 4. `last-conv`, the last convolution that is not in a shortcut;
    /// 5. an index in [`Network::layers`] (0 is the input), from the end if negative (-1 is the output).
    ///
    /// `:pre` steps back over the layer's activation: `block5_conv3:pre` is the convolution before its ReLU (with batch-norm: the
    /// batch-norm), `layer4:pre` the sum before its last ReLU.
    ///
    /// ```
    /// use convscope_models::families;
    ///
    /// let network = families::build("vgg16", None)?;
    /// let selection = network.select("block5_conv3:7")?;
    /// assert_eq!((network[selection.layer].name.as_str(), selection.channel), ("features.29", Some(7)));
    /// assert!(network.select("block5_conv9").unwrap_err().to_string().contains("block5_conv3"));
    /// # Ok::<(), convscope_models::network::NetworkError>(())
    /// ```
    ///
    /// # Errors
    /// [`NetworkError::UnknownLayer`] with the three nearest names, [`NetworkError::LayerIndex`],
    /// [`NetworkError::Channel`] or [`NetworkError::Selection`].
    pub fn select(&self, text: &str) -> Result<Selection, NetworkError> {
        let parts = self.split(text)?;
        if let ALL | CONVS = parts.base {
            return Err(self.refuse(text, format!("{:?} is many layers; name one", parts.base)));
        }
        let layer = self.resolve(parts.base)?;
        let layer = if parts.pre { self.before_activation(layer, text)? } else { layer };
        Ok(Selection { layer, channel: self.channel(layer, parts.channel)? })
    }

    /// The layers of a comma-separated list, in its order, each once. `all` (every layer but the input) and `convs` (every
    /// convolution, including shortcuts) are valid too, each with an optional `:channel`.
    ///
    /// # Errors
    /// As [`Network::select`], for the first wrong element.
    pub fn select_many(&self, list: &str) -> Result<Vec<Selection>, NetworkError> {
        let mut chosen: Vec<Selection> = Vec::new();
        for text in list.split(',') {
            let parts = self.split(text)?;
            let layers = match parts.base {
                ALL => self.matching(|kind| *kind != LayerKind::Input),
                CONVS => self.matching(|kind| matches!(kind, LayerKind::Conv2d(_))),
                _ => {
                    chosen.push(self.select(text)?);
                    continue;
                }
            };
            if parts.pre {
                return Err(self.refuse(text, "':pre' needs one layer by name".into()));
            }
            for layer in layers {
                chosen.push(Selection { layer, channel: self.channel(layer, parts.channel)? });
            }
        }
        let mut seen = std::collections::HashSet::new();
        chosen.retain(|selection| seen.insert(*selection));
        Ok(chosen)
    }

    /// Number of channels of a layer's output (features of a vector) at the default input size.
    ///
    /// # Errors
    /// [`NetworkError`] if the network's layers do not fit each other.
    pub fn channels(&self, layer: LayerId) -> Result<usize, NetworkError> {
        let shapes = self.shapes(self.input.height, self.input.width)?;
        let shape = shapes.get(layer.0).ok_or_else(|| self.no_index(&layer.0.to_string()))?;
        Ok(shape.channels())
    }

    fn matching(&self, test: impl Fn(&LayerKind) -> bool) -> Vec<LayerId> {
        self.ids().filter(|(_, layer)| test(&layer.kind)).map(|(id, _)| id).collect()
    }

    fn split<'a>(&self, text: &'a str) -> Result<Parts<'a>, NetworkError> {
        let mut fields = text.trim().split(':').map(str::trim);
        let base = fields.next().unwrap_or_default();
        let rest: Vec<&str> = fields.collect();
        let (pre, channel) = match rest[..] {
            [] => (false, None),
            ["pre"] => (true, None),
            ["pre", channel] => (true, Some(channel)),
            [channel] => (false, Some(channel)),
            _ => {
                return Err(self.refuse(text, "write layer, layer:channel or layer:pre:channel".into()));
            }
        };
        match base {
            "" => Err(self.refuse(text, format!("write a layer's name, such as {:?}", self.example()))),
            _ => Ok(Parts { base, pre, channel }),
        }
    }

    fn resolve(&self, base: &str) -> Result<LayerId, NetworkError> {
        if let Some(layer) = self.find(base) {
            return Ok(layer);
        }
        if let Some(scope) = self.scopes.iter().find(|scope| scope.name == base) {
            return Ok(scope.output);
        }
        let aliases = self.aliases();
        if let Some((_, layer)) = aliases.iter().find(|(alias, _)| alias == base) {
            return Ok(*layer);
        }
        if base == LAST_CONV {
            return self.last_conv().ok_or_else(|| self.refuse(base, "there is no convolution".into()));
        }
        let digits = base.strip_prefix('-').unwrap_or(base);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
            let index = digits.parse().ok().and_then(|number: usize| match base.starts_with('-') {
                true => self.layers.len().checked_sub(number).filter(|_| number > 0),
                false => Some(number),
            });
            return index.filter(|&index| index < self.layers.len()).map(LayerId).ok_or_else(|| self.no_index(base));
        }
        let names = self.layers.iter().map(|layer| layer.name.as_str());
        let scopes = self.scopes.iter().map(|scope| scope.name.as_str());
        let others = aliases.iter().map(|(alias, _)| alias.as_str()).chain([LAST_CONV, ALL, CONVS]);
        Err(NetworkError::UnknownLayer {
            network: self.name.clone(),
            layer: base.to_owned(),
            near: nearest(base, names.chain(scopes).chain(others), OFFERED),
        })
    }

    fn before_activation(&self, layer: LayerId, text: &str) -> Result<LayerId, NetworkError> {
        let chosen = &self[layer];
        match chosen.inputs.first() {
            Some(&input) if chosen.kind.is_activation() => Ok(input),
            _ => Err(self.refuse(
                text,
                format!("':pre' steps back over an activation, but {} is {}", chosen.name, chosen.kind.type_name()),
            )),
        }
    }

    fn channel(&self, layer: LayerId, channel: Option<&str>) -> Result<Option<usize>, NetworkError> {
        let Some(channel) = channel else {
            return Ok(None);
        };
        let count = self.channels(layer)?;
        match channel.parse::<usize>() {
            Ok(number) if number < count => Ok(Some(number)),
            _ => Err(NetworkError::Channel {
                network: self.name.clone(),
                layer: self[layer].name.clone(),
                channel: format!("{channel:?}").trim_matches('"').to_owned(),
                count,
            }),
        }
    }

    fn no_index(&self, index: &str) -> NetworkError {
        NetworkError::LayerIndex { network: self.name.clone(), index: index.to_owned(), count: self.layers.len() }
    }

    fn refuse(&self, text: &str, reason: String) -> NetworkError {
        NetworkError::Selection { network: self.name.clone(), text: text.trim().to_owned(), reason }
    }

    /// A layer name for messages: the first after the input.
    fn example(&self) -> &str {
        self.layers.get(1).map_or("input", |layer| &layer.name)
    }
}
