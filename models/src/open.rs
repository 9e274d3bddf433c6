//! Shortcuts to a model and its class names.

use crate::builtin;
use crate::labels::Labels;
use crate::load::{LoadError, WeightsSource, described_network, guess_network, load};
use crate::model::Model;
use crate::network::Classes;

impl Model {
    /// The bundled network: a small ResNet-18 of 102 classes, animals and objects.
    ///
    /// ```
    /// let model = convscope_models::Model::builtin()?;
    /// assert_eq!(model.network.classes.len(), 102);
    /// # Ok::<_, convscope_models::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the binary is damaged.
    pub fn builtin() -> Result<Self, LoadError> {
        Self::open(builtin::NAME)
    }

    /// The model of a weights file (`.safetensors`, `.pth`, `.keras`, `.h5`, `.onnx` ...) or of a hub repository
    /// (`hf:owner/repo`, downloaded on first use). The network is the one that the file describes, else the known network with
    /// the file's tensors.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be downloaded or read, or if no known network has its tensors.
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
    /// The class names of a network: their numbers if they have no names, empty without classes.
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
