//! Construction of a network in code that reads like the paper's table.

use convscope_engine::Unary;
use std::collections::HashMap;

use super::{
    Classes, Conv2d, InputSpec, Layer, LayerId, LayerKind, LayerShape, Network, NetworkError, OutputActivation, Pool2d,
    Preprocess, Scope, ScopeKind, product,
};

/// Name of a layer or scope that is numbered within its scope, as in `nn.Sequential`: `features.3`.
pub const NEXT: &str = "#";

/// Builds a [`Network`] layer by layer. Each call adds a layer with input `x` and returns its id:
///
/// ```
/// use convscope_models::network::{Builder, Classes, Conv2d, OutputActivation, LayerId, Preprocess, ScopeKind};
///
/// let mut net = Builder::new("tiny", [3, 32, 32]);
/// let x = net.scope(ScopeKind::Block, "block", LayerId::INPUT, |net, entry| {
///     let x = net.conv("conv", entry, Conv2d::new(3, 3).padding(1));
///     let x = net.add("add", &[x, entry]);
///     net.relu("relu", x)
/// });
/// let x = net.global_avg_pool("avgpool", x);
/// let x = net.flatten("flatten", x);
/// net.linear("fc", x, 10);
/// let net = net.finish(Classes::Count(10), OutputActivation::Softmax, Preprocess::CIFAR)?;
/// assert_eq!(net.layers[2].name, "block.add");
/// # Ok::<(), convscope_models::network::NetworkError>(())
/// ```
///
/// Input channels and features are inferred. [`Builder::finish`] reports the first layer that does not fit its inputs, so calls
/// need no `?`. A repeated name gets the suffix `_1`, `_2`, ..., as in torch.fx.
#[derive(Debug)]
pub struct Builder {
    network: Network,
    /// Shape of each layer at the default input size.
    shapes: Vec<LayerShape>,
    /// Open scopes, outermost first: their indices in `network.scopes`, and the number of layers and scopes in each so far, for
    /// [`NEXT`].
    open: Vec<(usize, usize)>,
    /// Batch-norm epsilon.
    eps: f64,
    /// Weight of a new batch in the running statistics.
    momentum: f64,
    /// Whether batch-norms have a scale.
    scale: bool,
    /// Number of values of all layers so far.
    held: usize,
    /// Names of layers and scopes, each with its number of repetitions.
    names: HashMap<String, usize>,
    error: Option<NetworkError>,
}

impl Builder {
    /// A network with an input of `[channels, height, width]` only.
    pub fn new(name: &str, [channels, height, width]: [usize; 3]) -> Self {
        let input = InputSpec { channels, height, width, min_size: [height, width] };
        let error = [channels, height, width].contains(&0).then(|| NetworkError::Config {
            network: name.to_owned(),
            reason: format!("an input of {channels}x{height}x{width} has no pixels"),
        });
        let network = Network {
            name: name.to_owned(),
            layers: vec![Layer { name: "input".into(), kind: LayerKind::Input, inputs: Vec::new(), shares: None }],
            scopes: Vec::new(),
            input,
            classes: Classes::Count(0),
            output_activation: OutputActivation::Softmax,
            preprocess: Preprocess::CIFAR,
        };
        let held = product(&[channels, height, width]);
        let names = HashMap::from([(network.layers[0].name.clone(), 0)]);
        Self {
            network,
            shapes: vec![LayerShape::Map { channels, height, width }],
            open: Vec::new(),
            eps: 1e-5,
            momentum: 0.1,
            scale: true,
            held,
            names,
            error,
        }
    }

    /// Sets the epsilon of all following batch-norms; PyTorch's default is 1e-5.
    pub fn batch_norm_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets the momentum of all following batch-norms, the weight of a new batch; PyTorch's default is 0.1, Keras' notation of
    /// which is 0.9.
    pub fn batch_norm_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Omits the scale of all following batch-norms, as Keras' `scale=False`.
    pub fn batch_norm_without_scale(mut self) -> Self {
        self.scale = false;
        self
    }

    /// Channels (or features) of a layer's output.
    pub fn channels(&self, x: LayerId) -> usize {
        self.shapes[x.0].channels()
    }

    /// `[height, width]` of a layer's output at the default input size, `None` for a vector.
    pub fn spatial(&self, x: LayerId) -> Option<[usize; 2]> {
        self.shapes[x.0].spatial()
    }

    /// Whether the network has no layer but the input.
    pub(crate) fn is_empty(&self) -> bool {
        self.network.layers.len() == 1
    }

    /// Opens a scope with input `x`, for [`Builder::close`].
    pub(crate) fn open(&mut self, kind: ScopeKind, name: &str, x: LayerId) -> usize {
        let name = self.full_name(name);
        let start = self.network.layers.len();
        let index = self.network.scopes.len();
        self.network.scopes.push(Scope { name, kind, layers: start..start, output: x });
        self.open.push((index, 0));
        index
    }

    /// Closes scope `index`, the last one opened.
    pub(crate) fn close(&mut self, index: usize, output: LayerId) {
        self.open.pop();
        self.end(index, output);
    }

    fn end(&mut self, index: usize, output: LayerId) {
        let end = self.network.layers.len();
        let scope = &mut self.network.scopes[index];
        scope.layers.end = end;
        scope.output = output;
    }

    /// Adds a scope: `build` adds its layers, starting from `x`, and returns its output.
    pub fn scope(
        &mut self,
        kind: ScopeKind,
        name: &str,
        x: LayerId,
        build: impl FnOnce(&mut Self, LayerId) -> LayerId,
    ) -> LayerId {
        let index = self.open(kind, name, x);
        let output = build(self, x);
        self.close(index, output);
        output
    }

    /// A [scope](Self::scope) that does not prefix the names of its layers; Keras' names are flat.
    pub fn group(
        &mut self,
        kind: ScopeKind,
        name: &str,
        x: LayerId,
        build: impl FnOnce(&mut Self, LayerId) -> LayerId,
    ) -> LayerId {
        let index = self.open(kind, name, x);
        self.open.pop();
        let output = build(self, x);
        self.end(index, output);
        output
    }

    /// Adds a convolution; `conv.in_channels` is inferred.
    pub fn conv(&mut self, name: &str, x: LayerId, conv: Conv2d) -> LayerId {
        let in_channels = self.channels(x);
        self.layer(name, LayerKind::Conv2d(Conv2d { in_channels, ..conv }), &[x])
    }

    /// Adds a batch-norm, with the settings of [`Builder::batch_norm_eps`] and the like.
    pub fn batch_norm(&mut self, name: &str, x: LayerId) -> LayerId {
        let channels = self.channels(x);
        let &mut Self { eps, momentum, scale, .. } = self;
        self.layer(name, LayerKind::BatchNorm2d { channels, eps, momentum, scale, shift: true }, &[x])
    }

    /// Adds a ReLU.
    pub fn relu(&mut self, name: &str, x: LayerId) -> LayerId {
        self.activation(name, x, Unary::Relu)
    }

    /// Adds an elementwise function.
    pub fn activation(&mut self, name: &str, x: LayerId, function: Unary) -> LayerId {
        self.layer(name, LayerKind::Activation(function), &[x])
    }

    /// Adds a maximum pooling.
    pub fn max_pool(&mut self, name: &str, x: LayerId, pool: Pool2d) -> LayerId {
        self.layer(name, LayerKind::MaxPool2d(pool), &[x])
    }

    /// Adds an average pooling that counts padded zeros, as in PyTorch.
    pub fn avg_pool(&mut self, name: &str, x: LayerId, pool: Pool2d) -> LayerId {
        self.layer(name, LayerKind::AvgPool2d { pool, count_include_pad: true }, &[x])
    }

    /// Adds an average pooling to a fixed output size.
    pub fn adaptive_avg_pool(&mut self, name: &str, x: LayerId, output: [usize; 2]) -> LayerId {
        self.layer(name, LayerKind::AdaptiveAvgPool2d { output }, &[x])
    }

    /// Adds a global average pooling.
    pub fn global_avg_pool(&mut self, name: &str, x: LayerId) -> LayerId {
        self.adaptive_avg_pool(name, x, [1, 1])
    }

    /// Adds a flattening of a feature map to a vector.
    pub fn flatten(&mut self, name: &str, x: LayerId) -> LayerId {
        self.layer(name, LayerKind::Flatten, &[x])
    }

    /// Adds a dense layer with bias.
    pub fn linear(&mut self, name: &str, x: LayerId, out_features: usize) -> LayerId {
        let in_features = self.channels(x);
        self.layer(name, LayerKind::Linear { in_features, out_features, bias: true }, &[x])
    }

    /// Adds dropout with probability `p`.
    pub fn dropout(&mut self, name: &str, x: LayerId, p: f64) -> LayerId {
        self.layer(name, LayerKind::Dropout { p }, &[x])
    }

    /// Adds an elementwise sum of `inputs`.
    pub fn add(&mut self, name: &str, inputs: &[LayerId]) -> LayerId {
        self.layer(name, LayerKind::Add, inputs)
    }

    /// Adds a concatenation of `inputs` along the channels. A single input is returned as it is.
    pub fn concat(&mut self, name: &str, inputs: &[LayerId]) -> LayerId {
        match inputs {
            [only] => *only,
            _ => self.layer(name, LayerKind::Concat, inputs),
        }
    }

    /// Adds a layer of any kind.
    pub fn layer(&mut self, name: &str, kind: LayerKind, inputs: &[LayerId]) -> LayerId {
        let name = self.full_name(name);
        let layer = Layer { name, kind, inputs: inputs.to_vec(), shares: None };
        let shape = self.network.layer_shape(&layer, &self.shapes).and_then(|shape| match shape.spatial() {
            Some([h, w]) if h == 0 || w == 0 => Err(self.too_deep(&layer, [h, w])),
            _ => {
                self.held = self.network.held_with(&layer, &self.shapes, &shape, self.held)?;
                Ok(shape)
            }
        });
        let shape = shape.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            self.shapes[0].clone()
        });
        self.shapes.push(shape);
        self.network.layers.push(layer);
        self.network.output()
    }

    /// Shares the parameters of `owner`, an earlier layer, with `layer`. Returns false, and changes nothing, if their shapes
    /// differ.
    pub fn share(&mut self, layer: LayerId, owner: LayerId) -> bool {
        self.network.layers[layer.0].shares = Some(owner);
        let well = self.network.shares_well(layer);
        if !well {
            self.network.layers[layer.0].shares = None;
        }
        well
    }

    /// Checks that every layer so far fits its inputs.
    ///
    /// # Errors
    /// The first error, as [`Builder::finish`] reports it.
    pub fn check(&self) -> Result<(), NetworkError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// The finished network.
    ///
    /// # Errors
    /// [`NetworkError`] without classes, or for the first layer that does not fit its inputs or has no pixels left.
    pub fn finish(
        self,
        classes: Classes,
        output_activation: OutputActivation,
        preprocess: Preprocess,
    ) -> Result<Network, NetworkError> {
        let Self { mut network, error, .. } = self;
        if classes == Classes::Count(0) || classes == Classes::Named(Vec::new()) {
            let reason = "needs at least one class".into();
            return Err(NetworkError::Config { network: network.name, reason });
        }
        if let Some(error) = error {
            return Err(error);
        }
        let default = [network.input.height, network.input.width];
        network.input.min_size = network.smallest_input(default);
        network.classes = classes;
        network.output_activation = output_activation;
        network.preprocess = preprocess;
        Ok(network)
    }

    fn too_deep(&self, layer: &Layer, [h, w]: [usize; 2]) -> NetworkError {
        let InputSpec { height, width, .. } = self.network.input;
        NetworkError::Layer {
            network: self.network.name.clone(),
            layer: layer.name.clone(),
            kind: layer.kind.type_name(),
            reason: format!("would be {h}x{w}: {height}x{width} is too small an input for it"),
        }
    }

    /// `name` within the open scopes, numbered if it is [`NEXT`] or repeated.
    fn full_name(&mut self, name: &str) -> String {
        let mut own = name.to_owned();
        let mut prefix = String::new();
        if let Some((scope, members)) = self.open.last_mut() {
            prefix = format!("{}.", self.network.scopes[*scope].name);
            if name == NEXT {
                own = members.to_string();
            }
            *members += 1;
        }
        let full = format!("{prefix}{own}");
        let mut unique = full.clone();
        while self.names.contains_key(&unique) {
            let uses = self.names.entry(full.clone()).or_default();
            *uses += 1;
            unique = format!("{full}_{uses}");
        }
        self.names.insert(unique.clone(), 0);
        unique
    }
}
