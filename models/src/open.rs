//! The shortest ways to a model and the names of its classes.

use crate::builtin;
use crate::labels::Labels;
use crate::load::{LoadError, WeightsSource, described_network, guess_network, load};
use crate::model::Model;
use crate::network::Classes;

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
        let source = WeightsSource::parse(weights, &mut ())?;
        let network = match described_network(&source)? {
            Some(network) => network,
            None => guess_network(&source, None)?,
        };
        load(network, &source)
    }
}

impl Labels {
    /// The names of a network's classes: of classes without names their numbers, none where it has no classes.
    pub fn of(classes: &Classes) -> Self {
        match classes {
            Classes::ImageNet1k => Labels::imagenet1k().clone(),
            Classes::Cifar10 => Labels::cifar10().clone(),
            Classes::CatsDogs => Labels::new(["cat", "dog"]),
            Classes::Named(names) => Labels::new(names.iter().cloned()),
            Classes::Count(n) => Labels::new((0..*n).map(|i| format!("class {i}"))),
            Classes::None(_) => Labels::new([] as [String; 0]),
        }
    }
}
