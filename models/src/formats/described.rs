//! A file that brings its network along, as Keras's and ONNX's do.

use crate::formats::Checkpoint;
use crate::network::Network;

/// A network that a file describes, and its weights.
#[derive(Debug)]
pub struct Described {
    /// The layers.
    pub network: Network,
    /// The weights under the network's names and in its layout.
    pub checkpoint: Checkpoint,
    /// How photos are assumed to be prepared, as a sentence, where the file leaves that open.
    pub assumed_preprocess: Option<&'static str>,
    /// The first layer that is not known; the network ends before what depends on it.
    pub unknown: Option<String>,
}

impl Described {
    /// What is missing from the file, which goes by the name of `weights`, or was taken for granted: a line each.
    pub fn notes(&self, weights: &str) -> Vec<String> {
        let unknown = self.unknown.iter().map(|unknown| format!("{unknown}; the network ends before it"));
        let assumed = self.assumed_preprocess.iter();
        unknown.chain(assumed.map(|how| format!("{weights} does not tell how photos are prepared; {how}"))).collect()
    }
}
