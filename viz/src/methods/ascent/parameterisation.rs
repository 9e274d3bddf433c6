//! Image parameterisations: from the parameters that an ascent changes to the image, and the gradient back.

use super::AscentError;
use super::options::{Options, Parameters, Start};
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
use convscope_kernels::random::{normal, uniform};
use convscope_kernels::{Accum, Buffer, Context, DType};
use std::f64::consts::PI;

/// Square root of the covariance of colours in ImageNet, over the largest length of a column: red, green, blue from three
/// independent ones (Lucid, `color.py`).
const COLOURS: [[f32; 3]; 3] = {
    const LENGTH: f32 = 0.461_952_4; // √(.26² + .27² + .27²)
    [
        [0.26 / LENGTH, 0.09 / LENGTH, 0.02 / LENGTH],
        [0.27 / LENGTH, 0.0, -0.05 / LENGTH],
        [0.27 / LENGTH, -0.09 / LENGTH, 0.03 / LENGTH],
    ]
};
/// Lucid divides by it so that its learning rate of 0.05 suits.
const FOURIER_GAIN: f32 = 0.25;
/// How near to black and white a start image may come: the sigmoid reaches neither.
const MARGIN: f32 = 1.0 / 512.0;

/// An image parameterisation: how parameters `[c, h, w]` stand for an image `[c, h, w]`.
pub(super) enum Parameterisation {
    Pixels,
    Fourier(Fourier),
}

/// Waves by the Hartley transform: cos + sin, real, its own inverse and its own adjoint, and seamless at the edges.
pub(super) struct Fourier {
    context: Context,
    size: [usize; 2],
    /// `[h,h]` and `[w,w]`, orthonormal and symmetric.
    rows: Buffer,
    cols: Buffer,
    /// Weight of each wave, `[h,w]`.
    weights: Vec<f32>,
}

impl Parameterisation {
    pub(super) fn new(options: &Options, context: &Context) -> Self {
        match options.parameters {
            Parameters::Pixels => Parameterisation::Pixels,
            Parameters::Fourier { decay } => Parameterisation::Fourier(Fourier::new(options.size, decay, context)),
        }
    }

    /// Parameters at the start; a stream's numbers go to parameters in their order. Each attempt of a normal start draws new
    /// numbers of twice the deviation.
    pub(super) fn start(&self, options: &Options, shape: [usize; 3], stream: u64, attempt: u32) -> Result<Vec<f32>, AscentError> {
        let count = shape.iter().product::<usize>() as u64;
        let [low, high] = options.range;
        let grey = if let Parameterisation::Pixels = self { (low + high) / 2.0 } else { 0.0 };
        Ok(match (&options.start, self) {
            (Start::Uniform { low, high }, _) => (0..count).map(|i| low + (high - low) * uniform(stream, i)).collect(),
            (Start::Normal { sd }, _) => {
                let (sd, first) = (sd * 2f32.powi(attempt as i32), count * u64::from(attempt));
                (first..first + count).map(|i| grey + sd * normal(stream, i)).collect()
            }
            (Start::Image(image), Parameterisation::Pixels) => image.clone(),
            (Start::Image(image), Parameterisation::Fourier(fourier)) => fourier.parameters(image)?,
        })
    }

    /// The image that parameters stand for.
    pub(super) fn image(&self, parameters: &[f32]) -> Result<Vec<f32>, AscentError> {
        match self {
            Parameterisation::Pixels => Ok(parameters.to_vec()),
            Parameterisation::Fourier(fourier) => fourier.image(parameters),
        }
    }

    /// The gradient of the parameters from that of the image they stand for.
    pub(super) fn adjoint(&self, image: &[f32], grad: Vec<f32>) -> Result<Vec<f32>, AscentError> {
        match self {
            Parameterisation::Pixels => Ok(grad),
            Parameterisation::Fourier(fourier) => fourier.adjoint(image, grad),
        }
    }
}

impl Fourier {
    fn new(size: [usize; 2], decay: f32, context: &Context) -> Self {
        let [h, w] = size;
        let lowest = 1.0 / h.max(w) as f32;
        let frequency = |k: usize, n: usize| k.min(n - k) as f32 / n as f32;
        let weight = |i: usize| frequency(i / w, h).hypot(frequency(i % w, w)).max(lowest).powf(-decay) * FOURIER_GAIN;
        let context = context.clone();
        Fourier { context, size, rows: hartley(h), cols: hartley(w), weights: (0..h * w).map(weight).collect() }
    }

    /// Rows and columns of each plane through the Hartley transform.
    fn transform(&self, planes: &[f32]) -> Result<Vec<f32>, AscentError> {
        let [h, w] = self.size;
        let mut out = Vec::with_capacity(planes.len());
        for plane in planes.chunks(h * w) {
            let product = |a: &Buffer, b: &Buffer, k: usize| {
                let spec = GemmSpec { m: h, n: w, k, ta: false, tb: false, bias: Bias::None };
                let mut c = Buffer::new(DType::F32, h * w);
                GEMM.run(&self.context, &spec, &[a, b], &mut [&mut c], Accum::Write)
                    .map(|_| c)
                    .map_err(convscope_engine::Error::from)
            };
            let half = product(&self.rows, &Buffer::from_slice(plane), h)?;
            out.extend_from_slice(product(&half, &self.cols, w)?.as_slice());
        }
        Ok(out)
    }

    fn weigh(&self, planes: &mut [f32], f: impl Fn(f32, f32) -> f32) {
        planes.chunks_mut(self.weights.len()).for_each(|p| p.iter_mut().zip(&self.weights).for_each(|(v, w)| *v = f(*v, *w)));
    }

    fn image(&self, parameters: &[f32]) -> Result<Vec<f32>, AscentError> {
        let mut waves = parameters.to_vec();
        self.weigh(&mut waves, |v, w| v * w);
        let mut image = self.transform(&waves)?;
        self.mix(&mut image, COLOURS);
        image.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
        Ok(image)
    }

    fn adjoint(&self, image: &[f32], mut grad: Vec<f32>) -> Result<Vec<f32>, AscentError> {
        grad.iter_mut().zip(image).for_each(|(g, p)| *g *= p * (1.0 - p));
        self.mix(&mut grad, transposed(COLOURS));
        let mut grad = self.transform(&grad)?;
        self.weigh(&mut grad, |v, w| v * w);
        Ok(grad)
    }

    /// The parameters that stand for an image in 0..1.
    fn parameters(&self, image: &[f32]) -> Result<Vec<f32>, AscentError> {
        let logit = |v: &f32| {
            let p = v.clamp(MARGIN, 1.0 - MARGIN);
            (p / (1.0 - p)).ln()
        };
        let mut planes: Vec<f32> = image.iter().map(logit).collect();
        self.mix(&mut planes, inverse(COLOURS));
        let mut waves = self.transform(&planes)?;
        self.weigh(&mut waves, |v, w| v / w);
        Ok(waves)
    }

    /// Each pixel of three planes times a matrix; other numbers of channels stay as they are.
    fn mix(&self, planes: &mut [f32], matrix: [[f32; 3]; 3]) {
        let plane = self.weights.len();
        if planes.len() != 3 * plane {
            return;
        }
        for i in 0..plane {
            let pixel = [planes[i], planes[i + plane], planes[i + 2 * plane]];
            for (c, row) in matrix.iter().enumerate() {
                planes[i + c * plane] = row.iter().zip(pixel).map(|(m, v)| m * v).sum();
            }
        }
    }
}

/// The matrix of the discrete Hartley transform of length `n`: (cos + sin)(2π i j / n) / √n.
fn hartley(n: usize) -> Buffer {
    let entry = |i: usize| {
        let (sin, cos) = (2.0 * PI * ((i / n) * (i % n) % n) as f64 / n as f64).sin_cos();
        ((cos + sin) / (n as f64).sqrt()) as f32
    };
    Buffer::from_slice(&(0..n * n).map(entry).collect::<Vec<f32>>())
}

fn transposed(m: [[f32; 3]; 3]) -> [[f32; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| m[j][i]))
}

/// By cofactors.
fn inverse(m: [[f32; 3]; 3]) -> [[f32; 3]; 3] {
    let cofactor = |i: usize, j: usize| {
        let at = |di: usize, dj: usize| m[(i + di) % 3][(j + dj) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f32 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::super::tests::{dot, numbers, tiny};
    use super::*;

    #[test]
    fn waves_have_their_inverse_and_their_gradient() {
        let model = tiny();
        for size in [[8, 8], [7, 10]] {
            let options = Options { size, ..Preset::Default.options(&model.network) };
            let parameterisation = Parameterisation::new(&options, &model.context);
            let count = 3 * size[0] * size[1];
            let picture: Vec<f32> = (0..count).map(|i| 0.1 + 0.8 * ((i * 29 % 31) as f32 / 31.0)).collect();
            let parameters = parameterisation
                .start(&Options { start: Start::Image(picture.clone()), ..options.clone() }, [3, size[0], size[1]], 0, 0)
                .unwrap();
            let back = parameterisation.image(&parameters).unwrap();
            assert!(back.iter().zip(&picture).all(|(a, b)| (a - b).abs() < 1e-4));

            let (z, towards, dy) = (numbers(4, count), numbers(5, count), numbers(6, count));
            let moved = |by: f32| {
                let z: Vec<f32> = z.iter().zip(&towards).map(|(z, d)| 0.3 * z + by * d).collect();
                parameterisation.image(&z).unwrap()
            };
            let image = moved(0.0);
            let slope = (dot(&moved(1e-3), &dy) - dot(&moved(-1e-3), &dy)) / 2e-3;
            let got = dot(&parameterisation.adjoint(&image, dy.clone()).unwrap(), &towards);
            assert!((slope - got).abs() < 2e-3 * slope.abs().max(1.0), "{slope} {got}");
        }
    }
}
