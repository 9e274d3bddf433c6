//! What a weights file says of its network, so that the file alone is enough.

use super::{Classes, Head, Network, NetworkError, Preprocess};
use crate::families;
use crate::preprocess::Resize;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Key of the card in the `__metadata__` of a safetensors file.
pub const METADATA: &str = "convscope.network";

/// Everything that the register does not know.
#[derive(Serialize, Deserialize)]
struct Card {
    /// As [`families::build`] takes it.
    name: String,
    classes: Classes,
    head: Head,
    preprocess: Preprocess,
}

impl Network {
    /// The metadata from which [`Network::from_metadata`] builds this network.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let Network { name, classes, head, preprocess, .. } = self.clone();
        let card = serde_json::to_string(&Card { name, classes, head, preprocess }).unwrap_or_default();
        BTreeMap::from([("format".to_string(), "pt".to_string()), (METADATA.to_string(), card)])
    }

    /// The network that a file's metadata describes; `None` if they describe none.
    ///
    /// # Errors
    /// The description is damaged, or of a network that is not known.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, NetworkError> {
        let Some(text) = metadata.get(METADATA) else { return Ok(None) };
        let damaged = |e: serde_json::Error| {
            let reason = format!("cannot be understood: {}", crate::text::one_line(e));
            NetworkError::Config { network: format!("the file's {METADATA}"), reason }
        };
        let Card { name, classes, head, preprocess } = serde_json::from_str(text).map_err(damaged)?;
        let network = families::build(&name, Some(classes.len()))?;
        Ok(Some(Network { classes, head, ..network }.seeing(preprocess)))
    }

    /// The same network for images that are prepared in this way.
    pub fn seeing(mut self, preprocess: Preprocess) -> Self {
        match preprocess {
            Preprocess { crop: Some((h, w)), .. } | Preprocess { resize: Resize::Exact { h, w }, .. } => {
                (self.input.height, self.input.width) = (h, w);
            }
            _ => {}
        }
        self.preprocess = preprocess;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_comes_back_from_its_metadata() {
        let preprocess = Preprocess { resize: Resize::ShortSide(160), crop: Some((144, 128)), ..Preprocess::IMAGENET };
        let network = families::build("resnet18-w32", Some(2)).unwrap();
        let network = Network { classes: Classes::Named(vec!["cat".into(), "dog".into()]), ..network }.seeing(preprocess);
        assert_eq!((network.name.as_str(), network.input.height, network.input.width), ("resnet18-w32", 144, 128));
        assert_eq!(Network::from_metadata(&network.metadata()).unwrap(), Some(network));
        assert_eq!(Network::from_metadata(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn foreign_cards_are_refused_in_one_line() {
        for card in
            ["", "{}", "[1,\n2]", "{\"name\":\"resnet18\",\"classes\":{\"count\":0},\"head\":\"softmax\",\"preprocess\":1}"]
        {
            let error = Network::from_metadata(&BTreeMap::from([(METADATA.to_string(), card.to_string())])).unwrap_err();
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
