//! Gradients of the penalties, on an image `[c, h, w]`.

/// Of Σ (Δx² + Δy²)^(β/2), the differences being those to the right and downward neighbour inside the image.
pub(super) fn total_variation(image: &[f32], [h, w]: [usize; 2], beta: f32) -> Vec<f32> {
    let mut grad = vec![0.0; image.len()];
    for (x, g) in image.chunks(h * w).zip(grad.chunks_mut(h * w)) {
        for row in 0..h {
            for col in 0..w {
                let at = row * w + col;
                let right = if col + 1 < w { x[at + 1] - x[at] } else { 0.0 };
                let down = if row + 1 < h { x[at + w] - x[at] } else { 0.0 };
                let square = right * right + down * down;
                if square == 0.0 {
                    continue; // flat: a minimum for every beta
                }
                let outer = beta * square.powf(beta / 2.0 - 1.0);
                if col + 1 < w {
                    g[at + 1] += outer * right;
                }
                if row + 1 < h {
                    g[at + w] += outer * down;
                }
                g[at] -= outer * (right + down);
            }
        }
    }
    grad
}

/// Of Σ (x − grey)².
pub(super) fn l2(image: &[f32], grey: f32) -> Vec<f32> {
    image.iter().map(|x| 2.0 * (x - grey)).collect()
}
