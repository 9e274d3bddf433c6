//! Broadcasting, by numpy's rules: shapes are aligned at their last dimensions, and a dimension of size 1 is repeated.
//!
//! Each run of repeated dimensions is one step `[outer, inner] -> [outer, count, inner]`. Where `outer` or `inner` is 1, the step is
//! the gradient of a sum and runs that kernel; otherwise it is a 1x1 convolution from one channel to `count` by ones. The
//! gradient takes the steps back: sums over the repeated dimensions.

use crate::error::{Error, Result};
use crate::operation::{Backward, Case, Exec, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::conv2d::{Conv2dSpec, DGRAD, FWD};
use convscope_kernels::reduce::{self, ReduceSpec};

/// `x` repeated to a larger shape, such as `[c,1,1] -> [n,c,h,w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Shape of the result.
    pub shape: Shape,
}

/// `[outer, inner] -> [outer, count, inner]`.
#[derive(Clone, Copy, Debug)]
pub struct BroadcastStep {
    outer: usize,
    count: usize,
    inner: usize,
}

impl BroadcastStep {
    fn reduction(&self) -> Option<ReduceSpec> {
        let BroadcastStep { outer, count, inner } = *self;
        match (outer, inner) {
            (1, _) => Some(ReduceSpec { a: count, b: inner, c: 1, scale: 1.0 }),
            (_, 1) => Some(ReduceSpec { a: 1, b: outer, c: count, scale: 1.0 }),
            _ => None,
        }
    }

    fn convolution(&self) -> Conv2dSpec {
        Conv2dSpec::simple(self.outer, 1, self.inner, 1, self.count, 1)
    }

    fn ones(&self, like: &Tensor) -> Result<Tensor> {
        Tensor::full([self.count, 1, 1, 1], like.dtype(), 1.0).on(like.device())
    }

    fn repeat(&self, exec: &mut Exec, x: &Tensor) -> Result<Tensor> {
        let shape = [self.outer, self.count, self.inner].into();
        match self.reduction() {
            Some(spec) => exec.make(&reduce::BWD, &spec, &[x], &shape),
            None => exec.make(&FWD, &self.convolution(), &[x, &self.ones(x)?], &shape),
        }
    }

    fn sum(&self, exec: &mut Exec, x: &Tensor) -> Result<Tensor> {
        let shape = [self.outer, self.inner].into();
        match self.reduction() {
            Some(spec) => exec.make(&reduce::FWD, &spec, &[x], &shape),
            None => exec.make(&DGRAD, &self.convolution(), &[x, &self.ones(x)?], &shape),
        }
    }
}

impl Operation for Broadcast {
    /// One step for each run of repeated dimensions, the innermost first.
    type Spec = Vec<BroadcastStep>;

    fn name(&self) -> &'static str {
        "Broadcast"
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, Vec<BroadcastStep>), String> {
        let [x] = arity(xs)?;
        let refused = || format!("cannot become {}", self.shape);
        let missing = self.shape[..].len().checked_sub(x[..].len()).ok_or_else(refused)?;
        let from = |i: usize| if i < missing { 1 } else { x[i - missing] };
        let mut steps: Vec<BroadcastStep> = Vec::new();
        let (mut outer, mut inner, mut in_run) = (x.len(), 1, false);
        for (i, &size) in self.shape.iter().enumerate().rev() {
            match from(i) == size {
                true if size == 1 => {}
                true => {
                    (outer, inner, in_run) = (outer / size.max(1), inner * size, false);
                }
                false if from(i) != 1 => return Err(refused()),
                false => {
                    match steps.last_mut() {
                        Some(step) if in_run => step.count *= size,
                        _ => steps.push(BroadcastStep { outer, count: size, inner }),
                    }
                    (inner, in_run) = (inner * size, true);
                }
            }
        }
        Ok((self.shape.clone(), steps))
    }

    fn forward(&self, spec: &Vec<BroadcastStep>, f: &mut Forward) -> Result<Output> {
        let repeated = spec.iter().try_fold(f.xs[0].clone(), |x, step| step.repeat(&mut f.exec, &x))?;
        Ok(repeated.reshape(f.shape.clone())?.into())
    }

    fn backward(&self, spec: &Vec<BroadcastStep>, b: &mut Backward) -> Result<()> {
        let dx = spec.iter().rev().try_fold(b.dout.clone(), |dout, step| step.sum(&mut b.exec, &dout))?;
        b.add(0, &dx)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |x: &[usize], shape: &[usize]| Case::new(Broadcast { shape: shape.to_vec().into() }, [x]);
        vec![
            case(&[1], &[2, 3]),
            case(&[3], &[2, 3]),
            case(&[2, 1], &[2, 3]),
            case(&[3, 1, 1], &[2, 3, 2, 4]),
            case(&[2, 1, 3, 2], &[2, 4, 3, 2]),
            case(&[2, 1, 3, 1], &[2, 3, 3, 4]),
            case(&[2, 3], &[2, 3]),
        ]
    }
}

/// The shape that both broadcast to.
fn common(x: &Shape, y: &Shape) -> Option<Shape> {
    let dims = x[..].len().max(y[..].len());
    let size = |s: &Shape, i: usize| (i + s[..].len()).checked_sub(dims).map_or(1, |i| s[i]);
    let pair = |i: usize| match (size(x, i), size(y, i)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    };
    (0..dims).map(pair).collect::<Option<Vec<usize>>>().map(Shape::from)
}

impl Tape {
    /// `x` repeated to `shape` by numpy's rules, see [`Broadcast`].
    ///
    /// # Errors
    /// If a size differs that is not 1, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 1], &[1.0f32, 2.0])?, "x");
    /// let y = tape.broadcast(x, [2, 3])?;
    /// assert_eq!(tape.value(y)?.f32(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn broadcast(&mut self, x: Var, shape: impl Into<Shape>) -> Result<Var> {
        let shape = shape.into();
        if *self.value(x)?.shape() == shape { Ok(x) } else { self.apply(Broadcast { shape }, &[x]) }
    }

    /// Two values under the shape that both broadcast to.
    pub(crate) fn alike(&mut self, op: &'static str, x: Var, y: Var) -> Result<[Var; 2]> {
        let [a, b] = [self.value(x)?.shape(), self.value(y)?.shape()];
        let shape = common(a, b).ok_or_else(|| Error::Shapes {
            op,
            reason: "the shapes do not broadcast".to_string(),
            shapes: vec![a.clone(), b.clone()],
        })?;
        Ok([self.broadcast(x, shape.clone())?, self.broadcast(y, shape)?])
    }
}

#[cfg(test)]
mod tests {
    use crate::{Shape, Tape, Tensor};

    /// Every shape of up to four dimensions to `[2,3,4,5]`, against indices.
    #[test]
    fn every_pattern_repeats_as_numpy_does() {
        let full = [2usize, 3, 4, 5];
        for (pattern, dims) in (0..16usize).flat_map(|p| (0..=4).map(move |d| (p, d))) {
            let from: Vec<usize> = (4 - dims..4).map(|i| if pattern >> i & 1 == 1 { full[i] } else { 1 }).collect();
            let len: usize = from.iter().product();
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let mut tape = Tape::new();
            let x = tape.leaf(Tensor::from_slice(from.clone(), &values).unwrap(), "");
            let y = tape.broadcast(x, full).unwrap();
            for (i, y) in tape.value(y).unwrap().f32().iter().enumerate() {
                let at = [i / 60, i / 20 % 3, i / 5 % 4, i % 5];
                let index = (0..dims).fold(0, |sum, d| sum * from[d] + at[d + 4 - dims] % from[d]);
                assert_eq!(*y, index as f32, "{from:?} at {at:?}");
            }
        }
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_refused() {
        let mut tape = Tape::new();
        let [x, y] = [vec![2, 3], vec![2]].map(|s| tape.leaf(Tensor::zeros(s, crate::kernels::DType::F32), ""));
        assert!(tape.add(x, y).unwrap_err().to_string().contains("do not broadcast"));
        assert!(tape.broadcast(x, [3]).is_err() && tape.broadcast(x, Shape::from([4, 3])).is_err());
    }
}
