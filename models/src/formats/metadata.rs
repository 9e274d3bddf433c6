//! The description of a network in the metadata of a weights file, so that the file alone is enough.

use crate::families;
use crate::network::{
    Classes, InputSpec, Layer, LayerKind, LayerShape, Network, NetworkError, OutputActivation, Preprocess, Scope,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Key of the network's description in the `__metadata__` of a safetensors file.
pub const METADATA: &str = "convscope.network";

/// The description of a network, as JSON.
#[derive(Serialize, Deserialize)]
struct NetworkMetadata {
    /// Name for [`families::build`].
    name: String,
    classes: Classes,
    #[serde(rename = "head")]
    output_activation: OutputActivation,
    preprocess: Preprocess,
    /// The layers of a network that [`families::build`] does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architecture: Option<Architecture>,
}

#[derive(Serialize, Deserialize)]
struct Architecture {
    input: InputSpec,
    layers: Vec<Layer>,
    #[serde(default)]
    scopes: Vec<Scope>,
}

/// Networks have hundreds of layers; a file that claims more is damaged.
const MOST_LAYERS: usize = 20_000;

impl Architecture {
    /// The network, after checks that the layers form one.
    fn network(
        self,
        name: String,
        classes: Classes,
        output_activation: OutputActivation,
        preprocess: Preprocess,
    ) -> Result<Network, String> {
        let Self { input, layers, scopes } = self;
        if !(2..=MOST_LAYERS).contains(&layers.len()) || scopes.len() > MOST_LAYERS {
            return Err(format!("has {} layers and {} scopes: expects 2 to {MOST_LAYERS}", layers.len(), scopes.len()));
        }
        let mut names = HashSet::new();
        for (index, layer) in layers.iter().enumerate() {
            let name = crate::text::one_line(&layer.name);
            let is_input = layer.kind == LayerKind::Input;
            if name != layer.name || name.is_empty() || !names.insert(&layer.name) {
                return Err(format!("has two layers called {name:?}, or a name that is none"));
            }
            if is_input != (index == 0) || is_input != layer.inputs.is_empty() || layer.inputs.iter().any(|read| read.0 >= index)
            {
                return Err(format!("has layer {name:?} where it cannot stand: each reads layers before it, the input none"));
            }
            if let LayerKind::Dropout { p } = layer.kind
                && !(0.0..=1.0).contains(&p)
            {
                return Err(format!("has layer {name:?} with the probability {p}"));
            }
        }
        let stands = |s: &Scope| s.layers.start < s.layers.end && s.layers.end <= layers.len() && s.layers.contains(&s.output.0);
        if let Some(scope) = scopes.iter().find(|scope| !stands(scope)) {
            return Err(format!("has scope {:?} outside its layers", crate::text::one_line(&scope.name)));
        }
        let mut network = Network { name, layers, scopes, input, classes, output_activation, preprocess };
        if let Some((_, layer)) = network.ids().find(|(id, _)| !network.shares_well(*id)) {
            return Err(format!("has layer {:?} share parameters of another shape", layer.name));
        }
        let InputSpec { height, width, .. } = network.input;
        let shapes = network.shapes(height, width).map_err(|e| e.to_string())?;
        match shapes.last() {
            _ if matches!(network.classes, Classes::None(_)) => {}
            Some(LayerShape::Vector { features }) if *features == network.classes.len() => {}
            _ => return Err(format!("does not end in a vector of its {} classes", network.classes.len())),
        }
        network.input.min_size = network.smallest_input([height, width]);
        Ok(network)
    }
}

impl Network {
    /// The metadata from which [`Network::from_metadata`] builds this network.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let known = families::build(&self.name, Some(self.classes.len())).is_ok_and(|n| n.layers == self.layers);
        let Network { name, classes, output_activation, preprocess, input, layers, scopes } = self.clone();
        let architecture = (!known).then_some(Architecture { input, layers, scopes });
        let description = serde_json::to_string(&NetworkMetadata { name, classes, output_activation, preprocess, architecture })
            .unwrap_or_default();
        BTreeMap::from([("format".to_string(), "pt".to_string()), (METADATA.to_string(), description)])
    }

    /// The network that a file's metadata describes; `None` without a description.
    ///
    /// # Errors
    /// [`NetworkError`] if the description is damaged or names an unknown network.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, NetworkError> {
        let Some(text) = metadata.get(METADATA) else { return Ok(None) };
        let damaged = |e: serde_json::Error| {
            let reason = format!("cannot be understood: {}", crate::text::one_line(e));
            NetworkError::Config { network: format!("the file's {METADATA}"), reason }
        };
        let NetworkMetadata { name, classes, output_activation, preprocess, architecture } =
            serde_json::from_str(text).map_err(damaged)?;
        let network = match architecture {
            Some(architecture) => {
                let wrong = |reason| NetworkError::Config { network: format!("the file's {METADATA}"), reason };
                architecture.network(crate::text::one_line(name), classes, output_activation, preprocess).map_err(wrong)?
            }
            None => {
                let network = families::build(&name, Some(classes.len()))?;
                Network { classes, output_activation, ..network }.with_preprocess(preprocess)
            }
        };
        network.check_memory()?;
        Ok(Some(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Resize;

    #[test]
    fn a_network_comes_back_from_its_metadata() {
        let preprocess = Preprocess { resize: Resize::ShortSide(160), crop: Some((144, 128)), ..Preprocess::IMAGENET };
        let network = families::build("resnet18-w32", Some(2)).unwrap();
        let network =
            Network { classes: Classes::Named(vec!["cat".into(), "dog".into()]), ..network }.with_preprocess(preprocess);
        assert_eq!((network.name.as_str(), network.input.height, network.input.width), ("resnet18-w32", 144, 128));
        assert_eq!(Network::from_metadata(&network.metadata()).unwrap(), Some(network));
        assert_eq!(Network::from_metadata(&BTreeMap::new()).unwrap(), None);
    }

    /// A network that [`families::build`] does not know is stored layer by layer.
    #[test]
    fn layers_come_back_from_metadata() {
        let mut network = families::build("resnet18", Some(3)).unwrap();
        network.name = "own".into();
        network.layers[1].name = "first".into();
        let metadata = network.metadata();
        assert_eq!(Network::from_metadata(&metadata).unwrap(), Some(network));
        let text = &metadata[METADATA];
        for (from, to) in [
            ("\"name\":\"bn1\"", "\"name\":\"first\""),
            ("\"inputs\":[1]", "\"inputs\":[2]"),
            ("\"inputs\":[1]", "\"inputs\":[]"),
            ("\"out_features\":3", "\"out_features\":4"),
            ("\"height\":224", "\"height\":0"),
            ("\"in_channels\":3", "\"in_channels\":4"),
            ("\"output\":", "\"output\":7"),
            ("\"kind\":\"input\"", "\"kind\":\"flatten\""),
            ("\"inputs\":[1]", "\"inputs\":[1],\"shares\":1"),
            ("\"inputs\":[1]", "\"inputs\":[1],\"shares\":99"),
        ] {
            assert!(text.contains(from), "{from} is not in {text}");
            let damaged = BTreeMap::from([(METADATA.to_string(), text.replacen(from, to, 1))]);
            let error = Network::from_metadata(&damaged).unwrap_err();
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn foreign_cards_are_refused_in_one_line() {
        for description in
            ["", "{}", "[1,\n2]", "{\"name\":\"resnet18\",\"classes\":{\"count\":0},\"head\":\"softmax\",\"preprocess\":1}"]
        {
            let error = Network::from_metadata(&BTreeMap::from([(METADATA.to_string(), description.to_string())])).unwrap_err();
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
