//! Batch normalisation in training, with the addition and the ReLU that may follow it.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::norm::{NormSpec, RUNNING, RunningSpec, TRAIN_BWD, TRAIN_FWD, TrainSpec};
use convscope_kernels::pointwise::{ReluRule, UNARY_BWD, Unary, UnarySpec};
use convscope_kernels::{Accum, Context};

/// `relu(gamma (x - mean) / sqrt(var + eps) + beta + residual)` per channel of `x [n,c,h,w]` or `[n,c]`, by the batch's own statistics.
///
/// Inputs `x, gamma, beta`, and an optional residual. The batch's mean and biased variance are saved, and the gradient flows
/// through them (see [`Tape::saved`]). The end of a residual block is one operation, as each of the three alone is bound by
/// memory bandwidth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTraining {
    /// Added to the variance.
    pub eps: f64,
    /// Whether the last input is added to the result.
    pub residual: bool,
    /// Whether the result ends in `max(.., 0)`; the rule of ReLU holds for it too.
    pub relu: bool,
}

impl Operation for BatchNormTraining {
    type Spec = TrainSpec;

    fn name(&self) -> &'static str {
        "BatchNorm"
    }

    fn settings(&self) -> String {
        let mut s = "training".to_string();
        for (is, name) in [(self.residual, " +residual"), (self.relu, " relu")] {
            s += if is { name } else { "" };
        }
        s
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, TrainSpec), String> {
        let want = if self.residual { 4 } else { 3 };
        if xs.len() != want {
            return Err(format!("expects {want} inputs, not {}", xs.len()));
        }
        let &[_, c, ..] = &xs[0][..] else { return Err("expects an image stack [n,c,h,w] or vectors [n,c]".to_string()) };
        if xs[1..3].iter().any(|p| p.len() != c) {
            return Err(format!("expects parameters of {c} channels"));
        }
        if self.residual && xs[3] != xs[0] {
            return Err("expects a residual of the image stack's shape".to_string());
        }
        let norm = NormSpec { n: xs[0][0], c, plane: xs[0][2..].iter().product(), eps: self.eps };
        Ok((xs[0].clone(), TrainSpec { norm, residual: self.residual, relu: self.relu }))
    }

    fn forward(&self, spec: &TrainSpec, f: &mut Forward) -> Result<Output> {
        let c = spec.norm.c;
        let [mut out, mut mean, mut var] = [f.shape.len(), c, c].map(|len| f.xs[0].buffer_like(len));
        f.exec.run(&TRAIN_FWD, spec, f.xs, &mut [&mut out, &mut mean, &mut var], Accum::Write)?;
        Ok(Output { value: Tensor::new(f.shape.clone(), out)?, saved: vec![Tensor::new([c], mean)?, Tensor::new([c], var)?] })
    }

    fn backward(&self, spec: &TrainSpec, b: &mut Backward) -> Result<()> {
        let (x, gamma, beta, out) = (b.xs[0], b.xs[1], b.xs[2], b.out);
        let [mean, var] = b.saved else { unreachable!("forward saved both") };
        let mut s = *spec;
        // The kernel has the derivative of ReLU only; other rules run before it.
        let ruled;
        let mut dout = b.dout;
        if s.relu && b.rules.relu != ReluRule::Plain {
            let spec = UnarySpec { op: Unary::Relu, rule: b.rules.relu, len: out.len() };
            ruled = b.exec.make(&UNARY_BWD, &spec, &[out, dout], out.shape())?;
            (dout, s.relu) = (&ruled, false);
        }
        let c = s.norm.c;
        let [mut dx, mut dgamma, mut dbeta] = [x.len(), c, c].map(|len| x.buffer_like(len));
        let mut inputs = vec![dout, x, gamma, beta, mean, var];
        let mut outputs = vec![&mut dx, &mut dgamma, &mut dbeta];
        let mut dresidual = None;
        if s.residual && s.relu {
            inputs.push(out);
            outputs.push(dresidual.insert(x.buffer_like(x.len())));
        }
        b.exec.run(&TRAIN_BWD, &s, &inputs, &mut outputs, Accum::Write)?;
        b.add(0, &Tensor::new(x.shape().clone(), dx)?)?;
        b.add(1, &Tensor::new([c], dgamma)?)?;
        b.add(2, &Tensor::new([c], dbeta)?)?;
        match dresidual {
            Some(dresidual) => b.add(3, &Tensor::new(x.shape().clone(), dresidual)?),
            None => b.add(3, dout),
        }
    }

    fn cases() -> Vec<Case<Self>> {
        let plain = BatchNormTraining { eps: 1e-5, residual: false, relu: false };
        let mut cases = vec![Case::new(plain, [&[4, 1, 3, 1], &[1], &[1]])];
        for relu in [false, true] {
            cases.push(Case::new(BatchNormTraining { relu, ..plain }, [&[2, 3, 2, 4], &[3], &[3]]));
            let both = BatchNormTraining { residual: true, relu, ..plain };
            cases.push(Case::new(both, [&[2, 3, 2, 4], &[3], &[3], &[2, 3, 2, 4]]));
        }
        cases
    }
}

impl Tape {
    /// Batch normalisation by the batch's own mean and biased variance, available through [`Tape::saved`] (Ioffe & Szegedy, ICML
    /// 2015).
    ///
    /// # Errors
    /// If `gamma` or `beta` is not `[c]`, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::kernels::DType;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 1], &[3.0f32, 7.0])?, "x");
    /// let gamma = tape.leaf(Tensor::full([1], DType::F32, 1.0), "gamma");
    /// let beta = tape.leaf(Tensor::full([1], DType::F32, 0.0), "beta");
    /// let y = tape.batch_norm_training(x, gamma, beta, 0.0)?;
    /// assert_eq!(tape.value(y)?.f32(), [-1.0, 1.0]);
    /// assert_eq!(tape.saved(y)?[0].f32(), [5.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn batch_norm_training(&mut self, x: Var, gamma: Var, beta: Var, eps: f64) -> Result<Var> {
        self.apply(BatchNormTraining { eps, residual: false, relu: false }, &[x, gamma, beta])
    }
}

/// Moves a running statistic `[c]` of batch normalisation towards that of a batch, on the device of `batch`:
/// `running = (1 - momentum) * running + momentum * correction * batch`.
///
/// # Errors
/// If the shapes or types differ, or the device is out of memory.
pub fn update_running(context: &Context, running: &mut Tensor, batch: &Tensor, momentum: f64, correction: f64) -> Result<()> {
    let spec = RunningSpec { len: batch.len(), momentum, correction };
    let (old, mut out) = (running.on(batch.device())?, batch.buffer_like(batch.len()));
    RUNNING.run(context, &spec, &[old.buffer(), batch.buffer()], &mut [&mut out], Accum::Write)?;
    *running = Tensor::new(batch.shape().clone(), out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Rules;
    use convscope_kernels::DType;

    /// The one operation and the three, under each rule of ReLU: values and all gradients.
    #[test]
    fn it_is_batch_norm_addition_and_relu() {
        for relu in [ReluRule::Plain, ReluRule::Guided, ReluRule::Deconv] {
            let pass = |joined: bool| {
                let mut tape = Tape::new();
                let shapes: [&[usize]; 4] = [&[2, 3, 4, 5], &[3], &[3], &[2, 3, 4, 5]];
                let leaves = shapes.map(|shape| {
                    let len = shape.iter().product::<usize>() as u64;
                    let values: Vec<f64> = (0..len).map(|i| f64::from(convscope_kernels::random::normal(len, i))).collect();
                    tape.leaf(Tensor::from_slice(shape.to_vec(), &values).unwrap(), "")
                });
                let [x, gamma, beta, residual] = leaves;
                let out = if joined {
                    tape.apply(BatchNormTraining { eps: 1e-5, residual: true, relu: true }, &leaves).unwrap()
                } else {
                    let norm = tape.batch_norm_training(x, gamma, beta, 1e-5).unwrap();
                    let sum = tape.add(norm, residual).unwrap();
                    tape.relu(sum).unwrap()
                };
                // Of both signs, for the rules that look at it.
                let loss = tape.mul(out, residual).unwrap();
                let grads = tape.backward(loss, None, &leaves, &Rules { relu }).unwrap();
                let mut all = vec![tape.value(out).unwrap().clone()];
                all.extend(leaves.map(|v| grads.of(v).unwrap().clone()));
                all
            };
            for (joined, separate) in pass(true).iter().zip(&pass(false)) {
                assert_eq!(joined.dtype(), DType::F64);
                for (a, b) in joined.f64().iter().zip(separate.f64()) {
                    assert!((a - b).abs() < 1e-12, "{relu:?}: {a} instead of {b}");
                }
            }
        }
    }
}
