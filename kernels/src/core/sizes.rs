//! Sizes of problems, checked once before anything is computed from them.

/// A size along one axis at most: sums and products of two fit any integer that kernels count with.
const MOST: usize = i32::MAX as usize;

/// The product of sizes, zeros aside: the number of elements, and of turns of any loop over some of the axes.
///
/// # Errors
/// If so many elements of any type overflow a length in bytes.
pub(crate) fn elements(what: &str, sizes: &[usize]) -> Result<usize, String> {
    let all = sizes.iter().try_fold(1usize, |product, size| product.checked_mul((*size).max(1)));
    let fits = all.filter(|all| *all <= isize::MAX as usize / 8);
    fits.ok_or_else(|| format!("{what} of {} elements are more than memory can hold", times(sizes)))
}

/// # Errors
/// If one of these sizes is zero, or larger than an axis can be.
pub(crate) fn positive(what: &str, sizes: &[usize]) -> Result<(), String> {
    if sizes.contains(&0) {
        return Err(format!("{what} {} must be at least 1", times(sizes)));
    }
    bounded(what, sizes)
}

/// # Errors
/// If one of these sizes is larger than an axis can be.
pub(crate) fn bounded(what: &str, sizes: &[usize]) -> Result<(), String> {
    if sizes.iter().all(|size| *size <= MOST) { Ok(()) } else { Err(format!("{what} {} must be at most {MOST}", times(sizes))) }
}

fn times(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// Positions of a window of `kernel` numbers with this dilation and stride along `size` numbers, with padding before and after.
pub(crate) fn window_positions(size: usize, padding: [usize; 2], kernel: usize, stride: usize, dilation: usize) -> Option<usize> {
    let extent = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let padded = size.checked_add(padding[0])?.checked_add(padding[1])?;
    padded.checked_sub(extent)?.checked_div(stride)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use crate::core::device::DType;
    use crate::core::error::Error;
    use crate::core::table::{Accum, Table};
    use crate::ops::conv2d::{self, Conv2dSpec};
    use crate::ops::copy::{self, CopySpec};
    use crate::ops::gemm::{self, Bias, GemmSpec};
    use crate::ops::norm::{self, NormSpec, RunningSpec, TrainSpec};
    use crate::ops::optim::{self, EmaSpec, Rule, StepSpec};
    use crate::ops::pointwise::{self, Binary, BinarySpec, DropoutSpec, ReluRule, Unary, UnarySpec};
    use crate::ops::pool::{self, PoolSpec, Windows};
    use crate::ops::reduce::{self, ReduceSpec, SquaresSpec};
    use crate::ops::softmax::{self, SoftmaxSpec};
    use crate::{Buffer, random};
    use std::fmt::Display;

    /// Sizes at which arithmetic goes wrong, among some that are all right.
    struct Hostile(u64);

    impl Hostile {
        fn word(&mut self) -> usize {
            self.0 += 1;
            random::philox(17, self.0)[0] as usize
        }
        fn is(&mut self) -> bool {
            self.word().is_multiple_of(2)
        }
        fn size(&mut self) -> usize {
            const SIZES: [usize; 20] = [
                0,
                1,
                1,
                1,
                2,
                2,
                3,
                4,
                7,
                8,
                16,
                64,
                1 << 16,
                i32::MAX as usize,
                1 << 31,
                1 << 32,
                1 << 33,
                1 << 62,
                1 << 63,
                usize::MAX,
            ];
            // Half of all sizes are small, so that some problems are wrong in one size only.
            let among = if self.is() { 12 } else { SIZES.len() };
            SIZES[self.word() % among]
        }
        fn sizes<const N: usize>(&mut self) -> [usize; N] {
            std::array::from_fn(|_| self.size())
        }
    }

    /// Problems per table.
    const MANY: usize = 20_000;

    /// With empty buffers, and with those of a valid problem that are small enough to be made: an error or a result, never a panic.
    fn never_panics<S: Display + Sync>(table: &Table<S>, mut spec: impl FnMut(&mut Hostile) -> S) {
        let (mut hostile, mut wrong, mut ran) = (Hostile(0), 0, 0);
        let context = crate::Context::default();
        for _ in 0..MANY {
            let spec = spec(&mut hostile);
            let picked = table.pick(&context, DType::F32, &spec).map(|row| row.name());
            let invalid = matches!(picked, Err(Error::Spec { .. }));
            wrong += usize::from(invalid);
            // As many buffers as the problem has, or some number.
            let signature = (!invalid).then(|| (table.signature)(&spec));
            let (inputs, outputs) = signature.as_ref().map_or((2, 1), |s| (s.inputs.len(), s.outputs.len()));
            let empty = |n: usize| (0..n).map(|_| Buffer::zeros(DType::F32, 0)).collect::<Vec<_>>();
            let (x, mut out) = (empty(inputs), empty(outputs));
            let result =
                table.run(&context, &spec, &x.iter().collect::<Vec<_>>(), &mut out.iter_mut().collect::<Vec<_>>(), Accum::Write);
            assert!(!invalid || result.is_err());
            let Some(signature) = signature else { continue };
            let all = || signature.inputs.iter().chain(&signature.outputs);
            assert!(result.is_err() || all().all(|o| o.len == 0), "{} {spec}: empty buffers were enough", table.op);
            let work = (table.flops)(&spec).max(all().map(|o| o.len as u64).max().unwrap_or(0));
            if work <= 1 << 14 && picked.is_ok() {
                let made = |o: &crate::core::operand::Operand| crate::verify::check::input(table, &spec, o, DType::F32, 1);
                let x: Vec<Buffer> = signature.inputs.iter().map(made).collect();
                let mut out: Vec<Buffer> = signature.outputs.iter().map(made).collect();
                table
                    .run(&context, &spec, &x.iter().collect::<Vec<_>>(), &mut out.iter_mut().collect::<Vec<_>>(), Accum::Write)
                    .unwrap();
                ran += 1;
            }
        }
        println!("{}: {wrong} problems of {MANY} are wrong, {ran} ran", table.op);
        assert!(wrong > 0 && ran > 0, "{}: {wrong} wrong, {ran} ran", table.op);
    }

    fn conv(h: &mut Hostile) -> Conv2dSpec {
        let [n, c, hh, w, oc] = h.sizes();
        let groups = if h.is() { 1 } else { h.size() };
        let [bias, residual, relu] = [h.is(), h.is(), h.is()];
        let (kernel, padding) = (h.sizes(), if h.is() { [0; 4] } else { h.sizes() });
        let one = |h: &mut Hostile| if h.is() { [1, 1] } else { h.sizes() };
        let (stride, dilation) = (one(h), one(h));
        Conv2dSpec { n, c, h: hh, w, oc, kernel, stride, padding, dilation, groups, bias, residual, relu }
    }

    #[test]
    fn hostile_convolutions_are_errors() {
        never_panics(&conv2d::FWD, conv);
        never_panics(&conv2d::DGRAD, conv);
        never_panics(&conv2d::WGRAD, conv);
    }

    fn pooling(h: &mut Hostile) -> PoolSpec {
        let windows = if h.is() {
            Windows::Adaptive { out: h.sizes() }
        } else {
            let padding = if h.is() { [0; 4] } else { h.sizes() };
            Windows::Sliding { kernel: h.sizes(), stride: h.sizes(), padding, ceil: h.is(), count_padding: h.is() }
        };
        PoolSpec { planes: h.size(), h: h.size(), w: h.size(), windows }
    }

    #[test]
    fn hostile_poolings_are_errors() {
        never_panics(&pool::MAX_FWD, pooling);
        never_panics(&pool::MAX_BWD, pooling);
        never_panics(&pool::AVG_FWD, pooling);
        never_panics(&pool::AVG_BWD, pooling);
    }

    #[test]
    fn hostile_products_and_sums_are_errors() {
        never_panics(&gemm::GEMM, |h| {
            let [m, n, k] = h.sizes();
            let bias = if h.is() { Bias::Columns } else { Bias::None };
            GemmSpec { m, n, k, ta: h.is(), tb: h.is(), bias }
        });
        let sum = |h: &mut Hostile| ReduceSpec { a: h.size(), b: h.size(), c: h.size(), scale: 0.5 };
        never_panics(&reduce::FWD, sum);
        never_panics(&reduce::BWD, sum);
        let softmax = |h: &mut Hostile| SoftmaxSpec { rows: h.size(), cols: h.size(), inner: h.size(), log: h.is() };
        never_panics(&softmax::FWD, softmax);
        never_panics(&softmax::BWD, softmax);
    }

    #[test]
    fn hostile_norms_are_errors() {
        let norm = |h: &mut Hostile| NormSpec { n: h.size(), c: h.size(), plane: h.size(), eps: 1e-5 };
        never_panics(&norm::INFER_FWD, norm);
        never_panics(&norm::PARAM_GRADS, norm);
        never_panics(&norm::INFER_DGRAD, norm);
        let train = |h: &mut Hostile| TrainSpec { norm: norm(h), residual: h.is(), relu: h.is() };
        never_panics(&norm::TRAIN_FWD, train);
        never_panics(&norm::TRAIN_BWD, train);
    }

    #[test]
    fn hostile_lengths_and_blocks_are_errors() {
        let unary = |h: &mut Hostile| UnarySpec { op: Unary::Relu, rule: ReluRule::Plain, len: h.size() };
        never_panics(&pointwise::UNARY_FWD, unary);
        never_panics(&pointwise::UNARY_BWD, unary);
        never_panics(&pointwise::BINARY, |h| BinarySpec { op: Binary::Add, len: h.size() });
        never_panics(&pointwise::DROPOUT, |h| DropoutSpec { p: 0.5, seed: 3, len: h.size() });
        let rule = Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: false };
        never_panics(&optim::STEP, |h| StepSpec { rule, len: h.size(), clip: h.is().then_some(1.0) });
        never_panics(&optim::EMA, |h| EmaSpec { len: h.size(), rate: 0.5 });
        never_panics(&norm::RUNNING, |h| RunningSpec { len: h.size(), momentum: 0.1, correction: 1.0 });
        never_panics(&reduce::SUM_SQUARES, |h| SquaresSpec { len: h.size() });
        let block = |h: &mut Hostile| CopySpec {
            n: h.size(),
            from_shape: h.sizes(),
            to_shape: h.sizes(),
            from: h.size() % 3,
            to: h.size() % 3,
            count: h.size(),
            origin: h.sizes(),
            stride: h.sizes(),
        };
        never_panics(&copy::FWD, block);
        never_panics(&copy::BWD, block);
    }
}
