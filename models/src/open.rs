//! The shortest ways to a model.

use crate::builtin;
use crate::load::{LoadError, Source, described_network, guess_network, load};
use crate::model::Model;

impl Model {
    /// The trained network within the program: a small ResNet-18 of 102 classes, animals and things.
    ///
    /// ```
    /// let model = convscope_models::Model::builtin()?;
    /// assert_eq!(model.network.classes.len(), 102);
    /// # Ok::<_, convscope_models::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// None, unless the program is damaged.
    pub fn builtin() -> Result<Self, LoadError> {
        Self::open(builtin::NAME)
    }

    /// The model in a file of weights (`.safetensors`, `.pth`, `.keras`, `.h5`, `.onnx` ...) or a repository of the hub
    /// (`hf:owner/repo`, downloaded on first use): the network that the file describes, or the known one that has its tensors.
    ///
    /// # Errors
    /// The file cannot be had or read, or its tensors are those of no known network.
    pub fn open(weights: &str) -> Result<Self, LoadError> {
        let source = Source::parse(weights, &mut ())?;
        let network = match described_network(&source)? {
            Some(network) => network,
            None => guess_network(&source, None)?,
        };
        load(network, &source)
    }
}
