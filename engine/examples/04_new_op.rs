//! A new operation, outside of the engine: the shifted logarithm `ln(x + shift)`. The gradient check accepts it, and refuses one
//! whose gradient has the wrong sign.
//!
//! `cargo run --release -p convscope-engine --example 04_new_op`

use convscope_engine::gradcheck::check_all;
use convscope_engine::operation::{Backward, Case, Forward, Input, Operation, Output, arity};
use convscope_engine::{Result, Rules, Shape, Tape, Tensor};

/// `ln(x + shift)`. An operation is plain data: its settings.
#[derive(Clone, Debug)]
struct ShiftedLog {
    shift: f64,
}

impl Operation for ShiftedLog {
    // Sizes that `infer` finds out and the kernels need, kept in the node. A plain loop needs none.
    type Spec = ();

    fn name(&self) -> &'static str {
        "ShiftedLog"
    }

    // The shape of the value, or the reason why the inputs do not fit.
    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ()), String> {
        let [x] = arity(xs)?;
        Ok((x.clone(), ()))
    }

    // `map` and `zip` are loops that serve f32 and f64; `f.exec` runs the kernels of a table instead.
    fn forward(&self, _: &(), f: &mut Forward) -> Result<Output> {
        Ok(f.xs[0].map(|x| (x + self.shift).ln()).into())
    }

    // The chain rule: the gradient of the value times the derivative, added to the gradient of input 0.
    fn backward(&self, _: &(), b: &mut Backward) -> Result<()> {
        let dx = b.xs[0].zip(b.dout, |x, dout| dout / (x + self.shift))?;
        b.add(0, &dx)
    }

    // Cases of the gradient check; the logarithm needs positive values.
    fn cases() -> Vec<Case<Self>> {
        let inputs = vec![Input::positive([2, 3])];
        [0.0, 1.0].map(|shift| Case { op: ShiftedLog { shift }, inputs: inputs.clone() }).to_vec()
    }
}

/// The same with a mistake in its gradient.
#[derive(Clone, Debug)]
struct WrongSign(ShiftedLog);

impl Operation for WrongSign {
    type Spec = ();
    fn name(&self) -> &'static str {
        "WrongSign"
    }
    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ()), String> {
        self.0.infer(xs)
    }
    fn forward(&self, spec: &(), f: &mut Forward) -> Result<Output> {
        self.0.forward(spec, f)
    }
    fn backward(&self, _: &(), b: &mut Backward) -> Result<()> {
        let dx = b.xs[0].zip(b.dout, |x, dout| -dout / (x + self.0.shift))?;
        b.add(0, &dx)
    }
    fn cases() -> Vec<Case<Self>> {
        let wrong = |case: Case<ShiftedLog>| Case { op: WrongSign(case.op), inputs: case.inputs };
        ShiftedLog::cases().into_iter().map(wrong).collect()
    }
}

/// Runs the example.
pub fn main() -> Result<()> {
    // It goes on the tape as any operation does, and mixes with them.
    let mut tape = Tape::new();
    let x = tape.leaf(Tensor::from_slice([3], &[0.0f32, 1.0, 3.0])?, "x");
    let log = tape.apply(ShiftedLog { shift: 1.0 }, &[x])?;
    let y = tape.record((log * 2.0).sum())?;
    let grads = tape.backward(y, None, &[x], &Rules::default())?;
    let dx = grads.of(x).map(Tensor::to_f64);
    println!("y = sum of 2 ln(x + 1) = {:.4}, dy/dx = {dx:?}", tape.value(y)?.item()?);
    assert_eq!(dx, Some(vec![2.0, 1.0, 0.5]));

    // The worst element of the gradients against finite differences.
    let (right, wrong) = (check_all::<ShiftedLog>()?, check_all::<WrongSign>()?);
    println!("gradient check: {right}\nwith the wrong sign: {wrong}");
    assert!(right.is_right() && !wrong.is_right());
    Ok(())
}
