//! The problems: each layer of a network as calls of the kernel tables, forward and backward.

use crate::cli::error::CliError;
use convscope_kernels::bench::{AnyProblem, Problem, SampleFn};
use convscope_kernels::conv2d::{self, Conv2dSpec};
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
use convscope_kernels::norm::{self, NormSpec, TrainSpec};
use convscope_kernels::pointwise::{self, Binary, BinarySpec, DropoutSpec, ReluRule, Unary, UnarySpec};
use convscope_kernels::pool::{self, PoolSpec, Windows};
use convscope_kernels::reduce::{self, ReduceSpec};
use convscope_kernels::sample;
use convscope_kernels::softmax::{self, SoftmaxSpec};
use convscope_kernels::table::Table;
use convscope_models::model::windows;
use convscope_models::network::{Conv2d, LayerKind, LayerShape, Network, OutputActivation};
use std::fmt::Display;

/// Sizes of the square matrix products.
const SQUARES: [usize; 3] = [512, 1024, 2048];

/// A problem and its source.
pub struct NamedProblem {
    /// Network of the first matching layer with this problem.
    pub network: String,
    /// Name of that layer.
    pub layer: String,
    /// Number of layers with this problem, in all networks.
    pub count: usize,
    pub problem: Box<dyn AnyProblem>,
}

/// Words of the filter, which must all match.
pub struct ProblemFilter(Vec<String>);

impl ProblemFilter {
    pub fn new(words: &[String]) -> Self {
        ProblemFilter(words.iter().flat_map(|w| w.split_whitespace()).map(str::to_lowercase).collect())
    }

    pub fn takes(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().all(|word| text.contains(word))
    }
}

/// The distinct problems of the networks at their default sizes, and square matrix products.
pub fn problems(networks: &[Network], batch: usize, filter: &ProblemFilter) -> Result<Vec<NamedProblem>, CliError> {
    let mut list = List::default();
    for network in networks {
        list.network.clone_from(&network.name);
        list.of_network(network, batch)?;
    }
    list.network = "square".to_string();
    for n in SQUARES {
        list.layer = n.to_string();
        list.add(&GEMM, product([n, n, n], false, false, Bias::None), Some(sample::GEMM));
    }
    let named = |found: Found| {
        let op = found.problem.op();
        let takes = |(network, layer): &&(String, String)| filter.takes(&format!("{op} {network} {layer} {}", found.spec));
        let (network, layer) = found.layers.iter().find(takes)?.clone();
        Some(NamedProblem { network, layer, count: found.layers.len(), problem: found.problem })
    };
    Ok(list.found.into_iter().filter_map(named).collect())
}

/// A convolution of `n` images of shape `x`.
fn convolution(l: &Conv2d, x: &LayerShape, n: usize) -> Conv2dSpec {
    let [h, w] = x.spatial().unwrap_or([1, 1]);
    let simple = Conv2dSpec::simple(n, x.channels(), h, w, l.out_channels, 1);
    let (kernel, stride, padding, dilation) = (l.kernel, l.stride, l.sides([h, w]), l.dilation);
    Conv2dSpec { kernel, stride, padding, dilation, groups: l.groups, bias: l.bias, ..simple }
}

fn product([m, n, k]: [usize; 3], ta: bool, tb: bool, bias: Bias) -> GemmSpec {
    GemmSpec { m, n, k, ta, tb, bias }
}

/// A problem with all its networks and layers.
struct Found {
    problem: Box<dyn AnyProblem>,
    spec: String,
    layers: Vec<(String, String)>,
}

#[derive(Default)]
struct List {
    /// Names of the current network and layer.
    network: String,
    layer: String,
    found: Vec<Found>,
}

impl List {
    fn add<S: Display + 'static>(&mut self, table: &'static Table<S>, spec: S, sample: Option<SampleFn<S>>) {
        let (layer, words) = ((self.network.clone(), self.layer.clone()), spec.to_string());
        match self.found.iter_mut().find(|f| f.problem.op() == table.op() && f.spec == words) {
            Some(same) => same.layers.push(layer),
            None => {
                let problem = Box::new(Problem { table, spec, sample });
                self.found.push(Found { problem, spec: words, layers: vec![layer] });
            }
        }
    }

    fn of_network(&mut self, network: &Network, n: usize) -> Result<(), CliError> {
        let shaped = network.at(network.input.height, network.input.width)?;
        let chains = network.chains(|kind| matches!(kind, LayerKind::Conv2d(_)), &[]);
        for (id, layer, shape) in shaped.layers() {
            self.layer.clone_from(&layer.name);
            let Some(first) = layer.inputs.first() else { continue };
            self.of_layer(&layer.kind, &shaped[*first], shape, n);
            // The fused operation of inference.
            if let (LayerKind::Conv2d(l), Some(chain)) = (&layer.kind, chains.iter().flatten().find(|c| c.first == id)) {
                let (bias, residual, relu) = (l.bias || chain.norm.is_some(), chain.inputs.len() > 1, chain.relu);
                let spec = Conv2dSpec { bias, residual, relu, ..convolution(l, &shaped[*first], n) };
                self.add(&conv2d::FWD, spec, Some(sample::CONV2D_FWD));
            }
        }
        if network.output_activation == OutputActivation::Softmax {
            let spec = SoftmaxSpec { rows: n, cols: network.classes.len(), inner: 1, log: false };
            self.add(&softmax::FWD, spec, None);
            self.add(&softmax::BWD, spec, None);
        }
        Ok(())
    }

    /// The problems of a layer from shape `x` to shape `out`, for `n` images.
    fn of_layer(&mut self, kind: &LayerKind, x: &LayerShape, out: &LayerShape, n: usize) {
        let (c, [h, w]) = (x.channels(), x.spatial().unwrap_or([1, 1]));
        let len = n * out.len();
        let bias_gradient = ReduceSpec { a: n, b: out.channels(), c: out.len() / out.channels().max(1), scale: 1.0 };
        match kind {
            LayerKind::Conv2d(l) => {
                let spec = convolution(l, x, n);
                self.add(&conv2d::FWD, spec, Some(sample::CONV2D_FWD));
                self.add(&conv2d::DGRAD, spec, Some(sample::CONV2D_DGRAD));
                self.add(&conv2d::WGRAD, spec, Some(sample::CONV2D_WGRAD));
                if l.bias {
                    self.add(&reduce::FWD, bias_gradient, None);
                }
            }
            LayerKind::Linear { in_features: i, out_features: o, bias } => {
                let (i, o, with) = (*i, *o, if *bias { Bias::Columns } else { Bias::None });
                // out = x w^T + bias, dx = dout w, dw = dout^T x
                self.add(&GEMM, product([n, o, i], false, true, with), Some(sample::GEMM));
                self.add(&GEMM, product([n, i, o], false, false, Bias::None), Some(sample::GEMM));
                self.add(&GEMM, product([o, i, n], true, false, Bias::None), Some(sample::GEMM));
                if *bias {
                    self.add(&reduce::FWD, bias_gradient, None);
                }
            }
            LayerKind::BatchNorm2d { eps, .. } => {
                let spec = NormSpec { n, c, plane: h * w, eps: *eps };
                for table in [&norm::INFER_FWD, &norm::INFER_DGRAD, &norm::PARAM_GRADS] {
                    self.add(table, spec, None);
                }
                // Unfused, with a ReLU, with the end of a residual block.
                for (residual, relu) in [(false, false), (false, true), (true, true)] {
                    let spec = TrainSpec { norm: spec, residual, relu };
                    self.add(&norm::TRAIN_FWD, spec, None);
                    self.add(&norm::TRAIN_BWD, spec, None);
                }
            }
            LayerKind::FrozenBatchNorm2d { eps, .. } => {
                let spec = NormSpec { n, c, plane: h * w, eps: *eps };
                for table in [&norm::INFER_FWD, &norm::INFER_DGRAD] {
                    self.add(table, spec, None);
                }
            }
            LayerKind::MaxPool2d(l) => {
                let spec = PoolSpec { planes: n * c, h, w, windows: windows(l, [h, w], false) };
                self.add(&pool::MAX_FWD, spec, None);
                self.add(&pool::MAX_BWD, spec, None);
            }
            LayerKind::AvgPool2d { pool, count_include_pad } => {
                self.average(n * c, [h, w], windows(pool, [h, w], *count_include_pad));
            }
            LayerKind::AdaptiveAvgPool2d { output } => self.average(n * c, [h, w], Windows::Adaptive { out: *output }),
            LayerKind::AdaptiveMaxPool2d { output } => {
                let spec = PoolSpec { planes: n * c, h, w, windows: Windows::Adaptive { out: *output } };
                self.add(&pool::MAX_FWD, spec, None);
                self.add(&pool::MAX_BWD, spec, None);
            }
            LayerKind::UpsampleNearest2d([rows, columns]) => {
                self.average(n * c, [h, w], Windows::Adaptive { out: [h * rows, w * columns] });
            }
            LayerKind::Activation(function) => self.unary(*function, len),
            LayerKind::Dropout { p } => self.add(&pointwise::DROPOUT, DropoutSpec { p: *p, seed: 0, len }, None),
            LayerKind::Add => self.add(&pointwise::BINARY, BinarySpec { op: Binary::Add, len }, None),
            LayerKind::Multiply => self.add(&pointwise::BINARY, BinarySpec { op: Binary::Mul, len }, None),
            // Copies, views, tiny layers, and compositions of the problems above.
            LayerKind::Input | LayerKind::Softmax | LayerKind::Flatten | LayerKind::Concat => {}
            LayerKind::PadShortcut { .. } | LayerKind::BinaryLogits | LayerKind::Unflatten { .. } => {}
            LayerKind::ZeroPad2d(_) | LayerKind::Crop2d(_) | LayerKind::PRelu { .. } | LayerKind::UpsampleBilinear2d(_) => {}
        }
    }

    fn average(&mut self, planes: usize, [h, w]: [usize; 2], windows: Windows) {
        let spec = PoolSpec { planes, h, w, windows };
        self.add(&pool::AVG_FWD, spec, None);
        self.add(&pool::AVG_BWD, spec, None);
    }

    fn unary(&mut self, op: Unary, len: usize) {
        let spec = UnarySpec { op, rule: ReluRule::Plain, len };
        self.add(&pointwise::UNARY_FWD, spec, None);
        self.add(&pointwise::UNARY_BWD, spec, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::families;

    fn names(network: &str, words: &str) -> Vec<String> {
        let filter = ProblemFilter::new(&[words.to_string()]);
        let found = problems(&[families::build(network, None).unwrap()], 1, &filter).unwrap();
        found.iter().map(|f| format!("{} {} x{}: {}", f.problem.op(), f.layer, f.count, f.problem.spec())).collect()
    }

    #[test]
    fn layers_become_problems_and_equal_ones_are_counted() {
        let found = names("resnet50", "conv2d.fwd layer1 3X3");
        // In training and in inference.
        let plain = "conv2d.fwd layer1.0.conv2 x3: n1 c64 56x56 oc64 3x3 s1,1 p1";
        let both = [plain.to_string(), format!("{plain} +bias relu")];
        assert_eq!(found, both);
        // The same problem under another network's name.
        assert_eq!(names("resnet50", "conv2d.fwd layer1.2.conv2"), both.map(|f| f.replace("1.0", "1.2")));
        let found = names("resnet50", "GEMM fc");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("m1 n1000 k2048 a b^T +bias") && found[2].contains("m1000 n2048 k1"), "{found:?}");
        assert_eq!(names("resnet20-cifar", "square").len(), 3);
        assert!(names("resnet20-cifar", "no such thing").is_empty());
        // The number of convolutions is independent of their grouping.
        let all =
            problems(&[families::build("resnet50", None).unwrap()], 2, &ProblemFilter::new(&["conv2d.wgrad".into()])).unwrap();
        assert_eq!(all.iter().map(|f| f.count).sum::<usize>(), 53);
    }
}
