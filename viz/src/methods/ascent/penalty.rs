//! Gradients of the penalties, on an image `[c, h, w]`.

/// Gradient of Σ (Δx² + Δy²)^(β/2), with differences to the right and lower neighbour inside the image.
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

/// Gradient of Σ (x − grey)².
pub(super) fn l2(image: &[f32], grey: f32) -> Vec<f32> {
    image.iter().map(|x| 2.0 * (x - grey)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::numbers;
    use super::*;

    /// Central differences in f64 against the gradients.
    #[test]
    fn penalty_gradients_are_those_of_finite_differences() {
        let size = [4, 5];
        let image = numbers(3, 2 * 20);
        let variation = |x: &[f64], beta: f64| {
            let mut sum = 0.0;
            for (c, row, col) in (0..2).flat_map(|c| (0..4).flat_map(move |r| (0..5).map(move |l| (c, r, l)))) {
                let at = |row: usize, col: usize| x[(c * 4 + row) * 5 + col];
                let right = if col < 4 { at(row, col + 1) - at(row, col) } else { 0.0 };
                let down = if row < 3 { at(row + 1, col) - at(row, col) } else { 0.0 };
                sum += (right * right + down * down).powf(beta / 2.0);
            }
            sum
        };
        let check = |grad: Vec<f32>, f: &dyn Fn(&[f64]) -> f64| {
            for (i, got) in grad.iter().enumerate() {
                let moved = |by: f64| {
                    let mut x: Vec<f64> = image.iter().map(|v| f64::from(*v)).collect();
                    x[i] += by;
                    f(&x)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0), "{i}: {got} {want}");
            }
        };
        for beta in [1.0, 1.5, 2.0, 3.0] {
            check(total_variation(&image, size, beta), &|x| variation(x, f64::from(beta)));
        }
        check(l2(&image, 0.5), &|x| x.iter().map(|v| (v - 0.5).powi(2)).sum());
        assert!(total_variation(&[0.3; 40], size, 1.0).iter().all(|g| *g == 0.0));
    }
}
