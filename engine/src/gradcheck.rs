//! Gradients against finite differences, in f64, through the tape.

use crate::error::Result;
pub use crate::operation::{Case, Input};
use crate::operation::{Operation, Rules};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::random;
use std::fmt::{Display, Formatter};

/// Step of the central difference. In f64 its rounding error is near 1e-10, and its truncation error is smaller.
const STEP: f64 = 1e-6;

/// Distinct values, none close to another or to the kinks at 0 and 6: shuffled multiples of one half.
fn values(input: &Input, seed: u64) -> Vec<f64> {
    let n = input.shape.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| random::philox(seed, *i as u64)[0]);
    let spacing = 4.0 / n.max(4) as f64;
    let level = |i: usize| (i as f64 + 0.5 - (n / 2) as f64) * spacing;
    order.into_iter().map(|i| if input.positive { 0.5 + 0.25 * (level(i) + 2.0) } else { level(i) }).collect()
}

/// Largest relative error of a right gradient.
const TOLERANCE: f64 = 1e-6;

/// The worst element of all gradients that were checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Distance of the gradient from the central difference, as a share of the largest gradient of that input.
    pub error: f64,
    /// Index of the case among the operation's cases.
    pub case: usize,
    /// Index of the input.
    pub input: usize,
    /// Index of the element.
    pub element: usize,
    /// The tape's gradient there.
    pub gradient: f64,
    /// The central difference there.
    pub difference: f64,
}

impl Worst {
    /// Nothing checked yet.
    const NONE: Worst = Worst { error: 0.0, case: 0, input: 0, element: 0, gradient: 0.0, difference: 0.0 };

    /// Whether the error is below 1e-6. A right gradient is at 1e-8 or less; a wrong one is seldom below 1e-3.
    pub fn is_right(&self) -> bool {
        self.error < TOLERANCE
    }
}

impl Display for Worst {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        let Worst { error, case, input, element, gradient, difference } = self;
        write!(
            f,
            "error {error:.1e} (case {case}, input {input}, element {element}: gradient {gradient}, difference {difference})"
        )
    }
}

/// Compares the tape's gradients with central differences. The result is the worst element.
///
/// The upstream gradient is random instead of ones, which exposes wrong weights in sums.
///
/// # Errors
/// [`Error`](crate::Error) if the operation refuses the inputs of the case.
///
/// ```
/// use convscope_engine::gradcheck::{Case, check};
/// use convscope_engine::ops::Linear;
///
/// let worst = check(&Case::new(Linear, [&[4, 3], &[2, 3], &[2]]), 1)?;
/// assert!(worst.is_right(), "{worst}");
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub fn check<O: Operation + Clone>(case: &Case<O>, seed: u64) -> Result<Worst> {
    check_function(&case.inputs, seed, |tape, inputs| tape.apply(case.op.clone(), inputs))
}

/// The worst element over all cases of an operation; its error is infinite without cases.
///
/// # Errors
/// [`Error`](crate::Error) if the operation refuses one of its cases.
///
/// ```
/// use convscope_engine::{gradcheck, ops::Conv2d};
///
/// assert!(gradcheck::check_all::<Conv2d>()?.is_right());
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub fn check_all<O: Operation + Clone>() -> Result<Worst> {
    let cases = O::cases();
    let of_case = |(i, case): (usize, &Case<O>)| Ok(Worst { case: i, ..check(case, 17 * i as u64)? });
    let results = cases.iter().enumerate().map(of_case).collect::<Result<Vec<_>>>()?;
    let worst = results.into_iter().max_by(|a, b| a.error.total_cmp(&b.error));
    Ok(worst.unwrap_or(Worst { error: f64::INFINITY, ..Worst::NONE }))
}

/// As [`check`], for any computation on a tape.
///
/// # Errors
/// [`Error`](crate::Error) if one of its operations refuses.
///
/// ```
/// use convscope_engine::gradcheck::{Input, check_function};
///
/// let inputs = [Input::any([2, 3]), Input::any([3])];
/// let worst = check_function(&inputs, 1, |tape, x| tape.record((x[0] - x[1]).tanh().mean()))?;
/// assert!(worst.is_right(), "{worst}");
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub fn check_function(inputs: &[Input], seed: u64, build: impl Fn(&mut Tape, &[Var]) -> Result<Var>) -> Result<Worst> {
    let mut data: Vec<Vec<f64>> = inputs.iter().enumerate().map(|(i, x)| values(x, seed + i as u64)).collect();
    let run = |data: &[Vec<f64>]| -> Result<(Tape, Vec<Var>, Var)> {
        let mut tape = Tape::new();
        let leaf = |(x, d): (&Input, &Vec<f64>)| Ok(tape.leaf(Tensor::from_slice(x.shape.clone(), d)?, ""));
        let vars = inputs.iter().zip(data).map(leaf).collect::<Result<Vec<_>>>()?;
        let out = build(&mut tape, &vars)?;
        Ok((tape, vars, out))
    };
    let (mut tape, vars, out) = run(&data)?;
    let len = tape.value(out)?.len();
    let dout: Vec<f64> = (0..len).map(|i| f64::from(random::normal(seed + 1000, i as u64))).collect();
    let upstream = Tensor::from_slice(tape.value(out)?.shape().clone(), &dout)?;
    let wants: Vec<Var> = vars.iter().zip(inputs).filter(|(_, x)| x.differentiable).map(|(v, _)| *v).collect();
    let grads = tape.backward(out, Some(upstream), &wants, &Rules::default())?;

    let mut worst = Worst::NONE;
    for (i, var) in vars.iter().enumerate().filter(|(i, _)| inputs[*i].differentiable) {
        let dx = grads.of(*var).map(|t| t.f64().to_vec()).unwrap_or_default();
        let largest = dx.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        for (j, &gradient) in dx.iter().enumerate() {
            let x = data[i][j];
            let mut side = |d: f64| -> Result<Vec<f64>> {
                data[i][j] = x + d;
                let (tape, _, out) = run(&data)?;
                Ok(tape.value(out)?.f64().to_vec())
            };
            let (hi, lo) = (side(STEP)?, side(-STEP)?);
            data[i][j] = x;
            let difference: f64 = hi.iter().zip(&lo).zip(&dout).map(|((h, l), d)| (h - l) * d).sum::<f64>() / (2.0 * STEP);
            let error = (gradient - difference).abs() / largest;
            // NaN must not count as small.
            let error = if error.is_nan() { f64::INFINITY } else { error };
            if error > worst.error {
                worst = Worst { error, input: i, element: j, gradient, difference, ..worst };
            }
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ops::*;

    /// Checks each case of the operations, and counts the operations.
    macro_rules! all_pass {
        ($($op:ty),* $(,)?) => {{
            let mut count = 0;
            $(
                let cases = <$op>::cases();
                assert!(!cases.is_empty());
                for (seed, case) in (0..).step_by(17).zip(&cases) {
                    let worst = check(case, seed).unwrap_or_else(|e| panic!("{case:?}: {e}"));
                    assert!(worst.is_right(), "{case:?}: {worst}");
                }
                count += 1;
            )*
            count
        }};
    }

    #[test]
    fn every_operation_passes_in_f64() {
        let checked = all_pass![
            Activation,
            Arithmetic,
            AvgPool,
            BatchNorm,
            BatchNormTraining,
            Bilinear,
            Broadcast,
            Concat,
            Conv2d,
            Divide,
            Dropout,
            Linear,
            MaxPool,
            Reduce,
            Reshape,
            Slice,
            Softmax,
            ZeroPad,
        ];
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops")).unwrap();
        let text = |file: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(file.unwrap().path()).unwrap();
        let written: usize = files.map(|file| text(file).matches("\nimpl Operation for ").count()).sum();
        assert_eq!(checked, written, "an operation is missing in the list above");
    }

    /// A value used twice receives both gradients; a wanted inner node keeps its own.
    #[test]
    fn gradients_add_up_where_a_value_is_used_twice() {
        let x = Input::any([2, 3, 4, 4]);
        let worst = check_function(&[x], 5, |tape, v| {
            let a = tape.relu(v[0])?;
            let b = tape.add(a, v[0])?;
            let c = tape.mul(b, b)?;
            tape.mean(c)
        });
        assert!(worst.unwrap().is_right());
    }

    /// The check must fail on a wrong gradient: guided backpropagation is not the derivative.
    #[test]
    fn a_wrong_gradient_is_seen() {
        use convscope_kernels::pointwise::ReluRule;
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([4], &[1.0f64, 2.0, -1.0, 3.0]).unwrap(), "x");
        let y = tape.relu(x).unwrap();
        let up = || Some(Tensor::from_slice([4], &[1.0f64, -1.0, 1.0, -2.0]).unwrap());
        let mut grad = |relu| tape.backward(y, up(), &[x], &Rules { relu }).unwrap().of(x).unwrap().f64().to_vec();
        assert_eq!(grad(ReluRule::Plain), [1.0, -1.0, 0.0, -2.0]);
        assert_eq!(grad(ReluRule::Guided), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(grad(ReluRule::Deconv), [1.0, 0.0, 1.0, 0.0]);
    }
}
