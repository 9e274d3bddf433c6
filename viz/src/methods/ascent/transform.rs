//! Small random transforms of an image, and their adjoint for the gradient.

use super::options::RandomTransform;
use convscope_kernels::random::uniform;

/// A transform, as the source position of each output pixel.
pub(super) struct Transform {
    /// Rotation and scale.
    matrix: [f32; 4],
    /// Shift in rows and columns.
    shift: [f32; 2],
}

impl Transform {
    /// The identity.
    pub(super) const IDENTITY: Self = Transform { matrix: [1.0, 0.0, 0.0, 1.0], shift: [0.0; 2] };

    /// The transform of a step, from random values.
    pub(super) fn draw(transform: &RandomTransform, stream: u64, step: usize) -> Self {
        let number = |k: u64| uniform(stream, 4 * step as u64 + k);
        let either_way = |k, most: f32| most * (2.0 * number(k) - 1.0);
        let shift = |k| (number(k) * (2 * transform.jitter + 1) as f32).floor() - transform.jitter as f32;
        let (sin, cos) = either_way(2, transform.rotate).to_radians().sin_cos();
        let scale = 1.0 + either_way(3, transform.scale);
        Transform { matrix: [cos, -sin, sin, cos].map(|v| v * scale), shift: [shift(0), shift(1)] }
    }

    /// The transformed image: bilinear, periodic beyond the edges. Integer shifts copy pixels exactly.
    pub(super) fn apply(&self, image: &[f32], size: [usize; 2]) -> Vec<f32> {
        let plane = size[0] * size[1];
        let mut out = vec![0.0; image.len()];
        self.each(size, |to, from, weight| {
            out[to..].iter_mut().step_by(plane).zip(image[from..].iter().step_by(plane)).for_each(|(o, v)| *o += weight * v);
        });
        out
    }

    /// The gradient of the image, from the gradient of the transformed image.
    pub(super) fn adjoint(&self, grad: &[f32], size: [usize; 2]) -> Vec<f32> {
        let plane = size[0] * size[1];
        let mut out = vec![0.0; grad.len()];
        self.each(size, |to, from, weight| {
            out[from..].iter_mut().step_by(plane).zip(grad[to..].iter().step_by(plane)).for_each(|(o, v)| *o += weight * v);
        });
        out
    }

    /// Every (output pixel, input pixel, weight).
    fn each(&self, [h, w]: [usize; 2], mut f: impl FnMut(usize, usize, f32)) {
        let centre = [(h as f32 - 1.0) / 2.0, (w as f32 - 1.0) / 2.0];
        let wrap = |v: isize, n: usize| v.rem_euclid(n as isize) as usize;
        for row in 0..h {
            for col in 0..w {
                let (dy, dx) = (row as f32 - centre[0], col as f32 - centre[1]);
                let y = self.matrix[0] * dy + self.matrix[1] * dx + centre[0] + self.shift[0];
                let x = self.matrix[2] * dy + self.matrix[3] * dx + centre[1] + self.shift[1];
                let (fy, fx) = (y - y.floor(), x - x.floor());
                for (oy, wy) in [(0, 1.0 - fy), (1, fy)] {
                    for (ox, wx) in [(0, 1.0 - fx), (1, fx)] {
                        if wy * wx > 0.0 {
                            let from = wrap(y.floor() as isize + oy, h) * w + wrap(x.floor() as isize + ox, w);
                            f(row * w + col, from, wy * wx);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dot, numbers};
    use super::*;

    #[test]
    fn movements_roll_and_have_their_adjoint() {
        let size = [6, 7];
        let (x, y) = (numbers(1, 3 * 42), numbers(2, 3 * 42));
        let transform = RandomTransform { jitter: 2, rotate: 10.0, scale: 0.1 };
        for step in 0..5 {
            let transform = Transform::draw(&transform, 9, step);
            let (a, b) = (dot(&transform.apply(&x, size), &y), dot(&x, &transform.adjoint(&y, size)));
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        assert_eq!(Transform::IDENTITY.apply(&x, size), x);
        let mut shifts = std::collections::HashSet::new();
        for step in 0..200 {
            let rolled = Transform::draw(&RandomTransform { jitter: 2, ..RandomTransform::default() }, 9, step).apply(&x, size);
            let found = (0..42).find(|s| (0..42).all(|i| rolled[i] == x[(i / 7 + s / 7) % 6 * 7 + (i + s) % 7]));
            shifts.insert(found.expect("a whole shift copies every pixel"));
        }
        assert_eq!(shifts.len(), 25, "shifts of -2..=2 both ways");
    }
}
