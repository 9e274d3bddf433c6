//! A line through noisy points, by gradient descent written out by hand.
//!
//! `cargo run --release -p convscope-engine --example 02_regression`

use convscope_engine::kernels::random::normal;
use convscope_engine::{Result, Rules, Tape, Tensor};

/// Runs the example.
pub fn main() -> Result<()> {
    // 64 points of y = 3 x - 1 with noise of deviation 0.1.
    let xs: Vec<f32> = (0..64).map(|i| normal(1, i)).collect();
    let ys: Vec<f32> = xs.iter().zip(0..).map(|(x, i)| 3.0 * x - 1.0 + 0.1 * normal(2, i)).collect();
    let (xs, ys) = (Tensor::from_slice([64, 1], &xs)?, Tensor::from_slice([64, 1], &ys)?);

    // Parameters are plain tensors. They outlive the tape, which is made anew for each step.
    let mut slope = Tensor::from_slice([1], &[0.0f32])?;
    let mut offset = Tensor::from_slice([1], &[0.0f32])?;
    let mut loss = f64::NAN;
    for step in 0..100 {
        let mut tape = Tape::new();
        let (x, y) = (tape.leaf(xs.clone(), "x"), tape.leaf(ys.clone(), "y"));
        let (a, b) = (tape.leaf(slope.clone(), "slope"), tape.leaf(offset.clone(), "offset"));

        // Mean squared error. The one slope and the one offset broadcast to all points.
        let error = tape.record((a * x + b - y).powi(2).mean())?;
        loss = tape.value(error)?.item()?;

        // A step of gradient descent: each parameter moves against its gradient.
        let grads = tape.backward(error, None, &[a, b], &Rules::default())?;
        for (parameter, var) in [(&mut slope, a), (&mut offset, b)] {
            if let Some(grad) = grads.of(var) {
                *parameter = parameter.zip(grad, |p, g| p - 0.1 * g)?;
            }
        }
        if step % 20 == 0 {
            println!("step {step:2}: loss {loss:.4}, y = {:.3} x + {:.3}", slope.item()?, offset.item()?);
        }
    }
    println!("result:  loss {loss:.4}, y = {:.3} x + {:.3}", slope.item()?, offset.item()?);
    assert!((slope.item()? - 3.0).abs() < 0.05 && (offset.item()? + 1.0).abs() < 0.05 && loss < 0.02);
    Ok(())
}
