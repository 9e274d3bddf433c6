//! A convolution learns the filter that made a picture of edges, from the picture alone.
//!
//! `cargo run --release -p convscope-engine --example 03_convolution`

use convscope_engine::kernels::random::normal;
use convscope_engine::ops::Conv2d;
use convscope_engine::optim::Optimizer;
use convscope_engine::{Result, Rules, Tape, Tensor};

/// Sobel's filter: it responds to edges that run from top to bottom.
const SOBEL: [f32; 9] = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];

/// Runs the example.
pub fn main() -> Result<()> {
    // Images are `[n, c, h, w]`, filters `[output channels, input channels, height, width]`.
    let noise: Vec<f32> = (0..32 * 32).map(|i| normal(1, i)).collect();
    let image = Tensor::from_slice([1, 1, 32, 32], &noise)?;
    // One pixel of zeros around the image, so that the result has its size.
    let settings = Conv2d { padding: [1; 4], ..Conv2d::default() };

    // The picture of edges, by Sobel's filter. An inference tape keeps values until they are released.
    let mut tape = Tape::inference();
    let (x, w) = (tape.leaf(image.clone(), "image"), tape.leaf(Tensor::from_slice([1, 1, 3, 3], &SOBEL)?, "sobel"));
    let edges = tape.conv2d(x, w, None, settings)?;
    let edges = tape.value(edges)?.clone();

    // The learner starts from noise and sees the image and its edges.
    let start: Vec<f32> = (0..9).map(|i| 0.1 * normal(2, i)).collect();
    let mut filter = Tensor::from_slice([1, 1, 3, 3], &start)?;
    let mut optimizer = Optimizer::sgd(0.2, 0.5, 0.0);
    for step in 0..60 {
        let mut tape = Tape::new();
        let (x, w) = (tape.leaf(image.clone(), "image"), tape.leaf(filter.clone(), "filter"));
        let target = tape.leaf(edges.clone(), "edges");
        let y = tape.conv2d(x, w, None, settings)?;
        let loss = tape.record((y - target).powi(2).mean())?;
        if step % 20 == 0 {
            println!("step {step:2}: loss {:.6}", tape.value(loss)?.item()?);
        }
        // The gradient of the filter only: none is computed for the image.
        let grads = tape.backward(loss, None, &[w], &Rules::default())?;
        optimizer.step(grads.of(w).map(|grad| (&mut filter, grad)))?;
    }
    for row in filter.f32().chunks(3) {
        println!("{:6.3} {:6.3} {:6.3}", row[0], row[1], row[2]);
    }
    let worst = filter.f32().iter().zip(SOBEL).map(|(learnt, sobel)| (learnt - sobel).abs()).fold(0.0, f32::max);
    println!("largest difference from Sobel's filter: {worst:.4}");
    assert!(worst < 0.01);
    Ok(())
}
