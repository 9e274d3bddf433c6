//! A network with its weights, and its execution.

pub mod fuse;
pub mod init;
mod output_activation;

use crate::network::{LayerId, LayerKind, Network, Pool2d};
use convscope_engine::kernels::DType;
use convscope_engine::kernels::pointwise::Binary;
use convscope_engine::kernels::pool::Windows;
use convscope_engine::ops::{
    Activation, Arithmetic, BatchNormTraining, Conv2d, Dropout, Reshape, Slice, ZeroPad, update_running,
};
use convscope_engine::{Context, Error, Result, Tape, Tensor, Var};
use fuse::{Chain, Fused};
use std::sync::OnceLock;

/// A network with a tensor for each of [`Network::params`].
///
/// ```
/// use convscope_engine::{Tape, Tensor, kernels::DType};
/// use convscope_models::Model;
///
/// let model = Model::builtin()?;
/// let images = Tensor::zeros([2, 3, 128, 128], DType::F32);
/// let mut tape = Tape::inference();
/// let run = model.forward(&mut tape, images)?;
/// assert_eq!(tape.value(run.output())?.shape()[..], [2, 102]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    /// The network.
    pub network: Network,
    /// Tensors in the order of [`Network::params`].
    pub params: Vec<Tensor>,
    /// For each layer, the index of its first tensor in `params`, and their number.
    ranges: Vec<(usize, usize)>,
    /// Where and how it runs. Weights move to its device on first use.
    pub context: Context,
    /// For each layer, the fused chain that ends there (see [`Model::fused`]).
    pub(crate) fused: Vec<Option<Fused>>,
    /// The chains of the first training run, with its first and last layer. Every step reuses them.
    training: OnceLock<([LayerId; 2], Vec<Option<Chain>>)>,
}

/// Inference or training behaviour of batch-norm and dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch-norm by running statistics, no dropout.
    Inference,
    /// Batch-norm by batch statistics, dropout by masks of `seed`.
    Training {
        /// Seed of the dropout masks, another one for each step.
        seed: u64,
    },
}

/// The nodes of one run on a tape.
#[derive(Debug, Clone)]
pub struct Run {
    layers: Vec<Option<Var>>,
    params: Vec<Option<Var>>,
    /// Each batch-norm with its node. In training, a fused chain has one node for all its layers.
    norms: Vec<(LayerId, Var)>,
    output: Var,
}

impl Run {
    /// Node of a layer's output; `None` if the run skipped the layer or fused it with the next.
    pub fn layer(&self, id: LayerId) -> Option<Var> {
        self.layers.get(id.0).copied().flatten()
    }

    /// Nodes of the parameters, in the order of [`Network::params`]; `None` for unused ones.
    pub fn params(&self) -> &[Option<Var>] {
        &self.params
    }

    /// Node of the run's last layer.
    pub fn output(&self) -> Var {
        self.output
    }
}

impl Model {
    /// A model from tensors in the order of [`Network::params`].
    ///
    /// # Errors
    /// [`Error`] if a tensor is missing or has another shape than the network's parameter.
    pub fn new(network: Network, params: Vec<Tensor>) -> Result<Self> {
        let wanted = network.params();
        if params.len() != wanted.len() {
            return Err(Error::Length { len: params.len(), shape: [wanted.len()].into() });
        }
        for (t, p) in params.iter().zip(&wanted) {
            if t.shape()[..] != p.shape[..] {
                return Err(Error::Length { len: t.len(), shape: p.shape.clone().into() });
            }
        }
        let mut ranges = vec![(0, 0); network.layers.len()];
        for (i, p) in wanted.iter().enumerate() {
            let range = &mut ranges[p.layer.0];
            if range.1 == 0 {
                range.0 = i;
            }
            range.1 += 1;
        }
        for (id, layer) in network.ids() {
            if let Some(owner) = layer.shares {
                ranges[id.0] = ranges[owner.0];
            }
        }
        let fused = vec![None; network.layers.len()];
        Ok(Model { network, params, ranges, context: Context::default(), fused, training: OnceLock::new() })
    }

    /// This model in another real type (f64 for checks), not fused.
    pub fn cast(&self, dtype: DType) -> Self {
        let fused = vec![None; self.network.layers.len()];
        Model { params: self.params.iter().map(|t| t.cast(dtype)).collect(), fused, ..self.clone() }
    }

    /// The same model in another context.
    pub fn with_context(&self, context: Context) -> Self {
        Model { context, ..self.clone() }
    }

    /// Runs `images` of shape `[n, c, h, w]` through the whole network, for inference. The output is the logits `[n, classes]`.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn forward(&self, tape: &mut Tape, images: Tensor) -> Result<Run> {
        let x = tape.leaf(images, &self.network[LayerId::INPUT].name);
        self.run(tape, LayerId::INPUT, x, self.network.output(), Mode::Inference)
    }

    /// Runs from the output `x` of layer `from` up to and including layer `until`, without layers that `until` does not depend
    /// on.
    ///
    /// The tape takes the model's context. Nodes have the layers' names as labels. An inference tape releases a value after its last use, apart from the last
    /// layer's. In training, a batch-norm is fused with the addition and the ReLU after it if nothing else reads the values in
    /// between; the node has the label of the last of them.
    ///
    /// # Errors
    /// [`Error`] if `until` depends on the input by another path than through `from`, if a layer does
    /// not accept its input's shape, or if a fused model runs in training mode.
    pub fn run(&self, tape: &mut Tape, from: LayerId, x: Var, until: LayerId, mode: Mode) -> Result<Run> {
        let chains: Vec<Option<&Chain>> = self.fused.iter().map(|f| f.as_ref().map(|f| &f.chain)).collect();
        if mode == Mode::Inference {
            return self.run_chains(tape, from, x, until, mode, &chains);
        }
        if chains.iter().any(Option::is_some) {
            let reason = "a fused model cannot be trained".to_string();
            return Err(Error::Shapes { op: "run", reason, shapes: Vec::new() });
        }
        let ends = [from, until];
        let chains = || self.network.chains(|kind| matches!(kind, LayerKind::BatchNorm2d { .. }), &ends);
        let (known, first) = self.training.get_or_init(|| (ends, chains()));
        let other = if *known == ends { None } else { Some(chains()) };
        let chains: Vec<Option<&Chain>> = other.as_ref().unwrap_or(first).iter().map(Option::as_ref).collect();
        self.run_chains(tape, from, x, until, mode, &chains)
    }

    /// [`Model::run`] with `chains[i]` in place of layer `i`.
    pub(crate) fn run_chains(
        &self,
        tape: &mut Tape,
        from: LayerId,
        x: Var,
        until: LayerId,
        mode: Mode,
        chains: &[Option<&Chain>],
    ) -> Result<Run> {
        tape.set_context(&self.context);
        let layers = &self.network.layers;
        let inputs_of = |i: usize| chains[i].map_or(&layers[i].inputs, |chain| &chain.inputs);
        let mut last_reader = vec![None; layers.len()];
        let mut needed = vec![false; layers.len()];
        needed[until.0] = true;
        for i in (from.0 + 1..=until.0).rev() {
            if needed[i] {
                for input in inputs_of(i) {
                    if input.0 < from.0 {
                        let (reader, other, start) = (&layers[i].name, &layers[input.0].name, &layers[from.0].name);
                        let reason = format!("{reader} also reads {other}, which does not come through {start}");
                        return Err(Error::Shapes { op: "run", reason, shapes: Vec::new() });
                    }
                    needed[input.0] = true;
                    last_reader[input.0].get_or_insert(i);
                }
            }
        }
        let (none, params) = (vec![None; layers.len()], vec![None; self.params.len()]);
        let mut run = Run { layers: none, params, norms: Vec::new(), output: x };
        run.layers[from.0] = Some(x);
        for i in from.0 + 1..=until.0 {
            if !needed[i] {
                continue;
            }
            let (first, relu) = chains[i].map_or((LayerId(i), false), |chain| (chain.first, chain.relu));
            let inputs: Vec<Var> = inputs_of(i).iter().filter_map(|id| run.layers[id.0]).collect();
            let params: Vec<Var> = match &self.fused[i] {
                Some(fused) => {
                    let (weight, bias) = match &fused.weights {
                        Some(made) => made.clone(),
                        None => {
                            let (weight, bias) = self.with_norm(&fused.chain)?;
                            (weight.alias(), bias)
                        }
                    };
                    [weight].into_iter().chain(bias).map(|t| tape.leaf(t, "")).collect()
                }
                None => {
                    let (first, count) = self.ranges[first.0];
                    (first..first + count).map(|p| self.leaf(tape, &mut run, p)).collect()
                }
            };
            let kind = &self.network[first].kind;
            let var = apply(tape, kind, &inputs, &params, mode, i as u64, relu)?;
            tape.label(var, &layers[i].name)?;
            if self.fused[i].is_some() {
                params.into_iter().try_for_each(|p| tape.release(p))?;
            }
            if let LayerKind::BatchNorm2d { .. } = kind {
                run.norms.push((first, var));
            }
            run.layers[i] = Some(var);
            run.output = var;
            for input in inputs_of(i) {
                if last_reader[input.0] == Some(i)
                    && *input != from
                    && let Some(v) = run.layers[input.0]
                {
                    tape.release(v)?;
                }
            }
        }
        Ok(run)
    }

    /// The tensors of a layer, in the order of [`Network::params`].
    pub(crate) fn layer_params(&self, id: LayerId) -> &[Tensor] {
        let (first, count) = self.ranges[id.0];
        &self.params[first..first + count]
    }

    fn leaf(&self, tape: &mut Tape, run: &mut Run, param: usize) -> Var {
        *run.params[param].get_or_insert_with(|| tape.leaf(self.params[param].clone(), ""))
    }

    /// Updates the running statistics of every batch-norm after a training run, by its momentum.
    ///
    /// The running variance takes the unbiased variance of the batch, as in PyTorch. Statistics stay on the device of the run.
    ///
    /// # Errors
    /// [`Error`] if the tape no longer holds the batch's statistics.
    pub fn update_statistics(&mut self, tape: &Tape, run: &Run) -> Result<()> {
        for (id, var) in &run.norms {
            let LayerKind::BatchNorm2d { momentum, .. } = self.network[*id].kind else { continue };
            let [mean, variance] = tape.saved(*var)? else { continue };
            let x = tape.value(*var)?;
            let count = (x.len() / mean.len().max(1)) as f64;
            for (slot, (batch, correction)) in [(2, (mean, 1.0)), (3, (variance, count / (count - 1.0).max(1.0)))] {
                let at = self.ranges[id.0].0 + slot;
                update_running(&self.context, &mut self.params[at], batch, momentum, correction)?;
            }
        }
        Ok(())
    }

    /// Indices in `params` of the trained tensors.
    pub fn trained(&self) -> Vec<usize> {
        let params = self.network.params();
        (0..params.len()).filter(|i| params[*i].kind.is_trained()).collect()
    }

    /// The tensors at `indices` of `params`, which are ascending.
    pub fn at_mut(&mut self, indices: &[usize]) -> impl Iterator<Item = &mut Tensor> {
        let mut indices = indices.iter().peekable();
        self.params.iter_mut().enumerate().filter(move |(i, _)| indices.next_if(|index| *index == i).is_some()).map(|(_, t)| t)
    }

    /// The weight tensor of a convolution or dense layer.
    pub fn weight(&self, id: LayerId) -> Option<&Tensor> {
        matches!(self.network[id].kind, LayerKind::Conv2d(_) | LayerKind::Linear { .. }).then(|| &self.layer_params(id)[0])
    }
}

/// The windows of a pooling layer over a map of `[height, width]`, for the kernels.
pub fn windows(pool: &Pool2d, size: [usize; 2], count_padding: bool) -> Windows {
    let Pool2d { kernel, stride, ceil, .. } = *pool;
    let padding = pool.sides(size);
    Windows::Sliding { kernel, stride, padding, ceil, count_padding }
}

fn settings(c: &crate::network::Conv2d, size: [usize; 2]) -> Conv2d {
    Conv2d { stride: c.stride, padding: c.sides(size), dilation: c.dilation, groups: c.groups, ..Conv2d::default() }
}

/// Records one layer, or a chain that begins with a layer of this kind. In a chain, `x` ends with the other addend, and `relu` is
/// the last step.
///
/// `layer` gives each layer its own dropout mask.
fn apply(tape: &mut Tape, kind: &LayerKind, x: &[Var], params: &[Var], mode: Mode, layer: u64, relu: bool) -> Result<Var> {
    let residual = x.get(1).is_some();
    // A vector has no size; the operation reports the error.
    let [height, width] = tape.value(x[0])?.shape().nchw().map_or([0; 2], |[_, _, h, w]| [h, w]);
    let size = [height, width];
    match kind {
        LayerKind::Input => Ok(x[0]),
        LayerKind::Conv2d(c) => {
            let all: Vec<Var> = [&x[..1], params, &x[1..]].concat();
            tape.apply(Conv2d { residual, relu, ..settings(c, size) }, &all)
        }
        LayerKind::Linear { .. } => tape.linear(x[0], params[0], params.get(1).copied()),
        LayerKind::BinaryLogits => {
            let sides = Tensor::from_slice([2, 1], &[-1.0f32, 1.0])?.cast(tape.value(x[0])?.dtype());
            let sides = tape.leaf(sides, "");
            tape.linear(x[0], sides, None)
        }
        LayerKind::BatchNorm2d { eps, .. } => match mode {
            Mode::Inference => tape.batch_norm(x[0], params[0], params[1], [params[2], params[3]], *eps),
            Mode::Training { .. } => {
                let all: Vec<Var> = [&x[..1], &params[..2], &x[1..]].concat();
                tape.apply(BatchNormTraining { eps: *eps, residual, relu }, &all)
            }
        },
        LayerKind::FrozenBatchNorm2d { eps, .. } => tape.batch_norm(x[0], params[0], params[1], [params[2], params[3]], *eps),
        LayerKind::Dropout { p } => match mode {
            // The identity: the same values in the same shape.
            Mode::Inference => tape.apply(Reshape { shape: tape.value(x[0])?.shape()[1..].to_vec() }, x),
            Mode::Training { seed } => {
                let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(layer);
                tape.apply(Dropout { p: *p, seed }, x)
            }
        },
        LayerKind::MaxPool2d(pool) => tape.max_pool(x[0], windows(pool, size, false)),
        LayerKind::AvgPool2d { pool, count_include_pad } => tape.avg_pool(x[0], windows(pool, size, *count_include_pad)),
        LayerKind::AdaptiveAvgPool2d { output } => tape.avg_pool(x[0], Windows::Adaptive { out: *output }),
        LayerKind::AdaptiveMaxPool2d { output } => tape.max_pool(x[0], Windows::Adaptive { out: *output }),
        // Adaptive windows over fewer pixels than windows hold one pixel each.
        LayerKind::UpsampleNearest2d([rows, columns]) => {
            tape.avg_pool(x[0], Windows::Adaptive { out: [height * rows, width * columns] })
        }
        LayerKind::UpsampleBilinear2d([rows, columns]) => tape.bilinear(x[0], [height * rows, width * columns]),
        LayerKind::ZeroPad2d(sides) => tape.apply(ZeroPad { sides: *sides }, x),
        LayerKind::Crop2d([top, bottom, left, right]) => {
            let count = tape.value(x[0])?.shape().get(1).copied().unwrap_or(0);
            let within = [height.saturating_sub(top + bottom), width.saturating_sub(left + right)];
            let inner = Slice { from: 0, count, pad: [0, 0], origin: [*top, *left], size: Some(within), stride: [1, 1] };
            tape.apply(inner, x)
        }
        LayerKind::Unflatten { shape } => tape.apply(Reshape { shape: shape.to_vec() }, x),
        LayerKind::Activation(function) => tape.apply(Activation(*function), x),
        LayerKind::PRelu { .. } => tape.prelu(x[0], params[0]),
        LayerKind::Softmax => tape.softmax(x[0]),
        LayerKind::Flatten => tape.flatten(x[0]),
        LayerKind::Add => fold(tape, Binary::Add, x),
        LayerKind::Multiply => {
            let size = |tape: &Tape, v: Var| Ok(tape.value(v)?.shape().nchw().map_or([0; 2], |[_, _, h, w]| [h, w]));
            let sizes = x.iter().map(|v| size(tape, *v)).collect::<Result<Vec<_>>>()?;
            let out = sizes.iter().copied().max().unwrap_or_default();
            let mut factors = x.to_vec();
            for (factor, _) in factors.iter_mut().zip(&sizes).filter(|(_, size)| **size == [1, 1] && out != [1, 1]) {
                *factor = tape.avg_pool(*factor, Windows::Adaptive { out })?;
            }
            fold(tape, Binary::Mul, &factors)
        }
        LayerKind::Concat => tape.concat(x),
        LayerKind::PadShortcut { stride, out_channels } => {
            let count = tape.value(x[0])?.shape().get(1).copied().unwrap_or(0);
            let extra = out_channels.saturating_sub(count);
            let pad = [extra / 2, extra - extra / 2];
            tape.apply(Slice { from: 0, count, pad, origin: [0, 0], size: None, stride: [*stride; 2] }, x)
        }
    }
}

/// Left fold of a binary operation.
fn fold(tape: &mut Tape, operation: Binary, x: &[Var]) -> Result<Var> {
    x[1..].iter().try_fold(x[0], |sum, next| tape.apply(Arithmetic(operation), &[sum, *next]))
}
