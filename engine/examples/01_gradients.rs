//! A gradient in ten lines: record an expression on a tape, go backward, and compare with finite differences.
//!
//! `cargo run --release -p convscope-engine --example 01_gradients`

use convscope_engine::gradcheck::{Input, check_function};
use convscope_engine::{Result, Rules, Tape, Tensor};

/// Runs the example.
pub fn main() -> Result<()> {
    // A tape records operations. A leaf is a value that nothing computed; its label is for people.
    let mut tape = Tape::new();
    let a = tape.leaf(Tensor::from_slice([1], &[2.0f32])?, "a");
    let b = tape.leaf(Tensor::from_slice([1], &[-3.0f32])?, "b");

    // Operators build an expression; `record` computes it and puts one node an operation on the tape.
    let y = tape.record((a * b + 10.0).powi(2) / a)?;
    println!("y = (a b + 10)^2 / a = {}", tape.value(y)?.item()?);

    // One walk back over the tape gives the gradients of all wanted nodes.
    let grads = tape.backward(y, None, &[a, b], &Rules::default())?;
    for (var, grad) in grads.iter() {
        println!("dy/d{} = {}", tape.nodes()[var.index()].label, grad.item()?);
    }

    // By hand, with s = a b + 10 = 4: dy/da = 2 s b / a - s^2 / a^2 = -16, and dy/db = 2 s = 8.
    let grad = |var| grads.of(var).map_or(Ok(f64::NAN), Tensor::item);
    assert_eq!([tape.value(y)?.item()?, grad(a)?, grad(b)?], [8.0, -16.0, 8.0]);

    // The same expression on tensors in f64, against central differences. Positive values for `a`, which divides.
    let inputs = [Input::positive([2, 3]), Input::any([2, 3])];
    let worst = check_function(&inputs, 1, |tape, x| tape.record((x[0] * x[1] + 10.0).powi(2) / x[0]))?;
    println!("against finite differences: {worst}");
    assert!(worst.is_right());
    Ok(())
}
