//! Concatenation along the channels.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, images};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::Accum;
use convscope_kernels::copy::{BWD, CopySpec, FWD};

/// `[n,c1,h,w], [n,c2,h,w], ...` -> `[n,c1+c2+...,h,w]`; vectors `[n,f1], [n,f2], ...` -> `[n,f1+f2+...]` alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat;

/// The sizes of an image stack; a vector is an image of one pixel.
fn stack(x: &Shape) -> Result<[usize; 4], String> {
    match x[..] {
        [n, features] => Ok([n, features, 1, 1]),
        _ => images(x),
    }
}

impl Operation for Concat {
    /// For each input, its copy to the output.
    type Spec = Vec<CopySpec>;

    fn name(&self) -> &'static str {
        "Concat"
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, Vec<CopySpec>), String> {
        let shape = *xs.first().ok_or("expects at least one input")?;
        let first = stack(shape)?;
        let mut channels = 0;
        let mut specs = Vec::new();
        for x in xs {
            let [n, c, h, w] = stack(x)?;
            if x[..].len() != shape[..].len() || [n, h, w] != [first[0], first[2], first[3]] {
                return Err("inputs may differ in channels only".to_string());
            }
            let (from_shape, to_shape) = ([c, h, w], [0, h, w]);
            specs.push(CopySpec { n, from_shape, to_shape, from: 0, to: channels, count: c, origin: [0, 0], stride: [1, 1] });
            channels += c;
        }
        specs.iter_mut().for_each(|spec| spec.to_shape[0] = channels);
        let mut joined = shape[..].to_vec();
        joined[1] = channels;
        Ok((joined.into(), specs))
    }

    fn forward(&self, spec: &Vec<CopySpec>, f: &mut Forward) -> Result<Output> {
        let mut out = f.xs[0].buffer_like(f.shape.len());
        for (i, spec) in spec.iter().enumerate() {
            // The first copy writes zeros elsewhere; the others add to it.
            let accum = if i == 0 { Accum::Write } else { Accum::Add };
            f.exec.run(&FWD, spec, &[f.xs[i]], &mut [&mut out], accum)?;
        }
        Ok(Tensor::new(f.shape.clone(), out)?.into())
    }

    fn backward(&self, spec: &Vec<CopySpec>, b: &mut Backward) -> Result<()> {
        spec.iter().enumerate().try_for_each(|(i, spec)| b.add_kernel(i, &BWD, spec, &[b.dout]))
    }

    fn cases() -> Vec<Case<Self>> {
        let vectors = Case::new(Concat, [&[2, 3], &[2, 1]]);
        let three = Case::new(Concat, [&[1, 2, 2, 2], &[1, 1, 2, 2], &[1, 2, 2, 2]]);
        vec![Case::new(Concat, [&[2, 1, 3, 2], &[2, 3, 3, 2]]), three, vectors]
    }
}

impl Tape {
    /// Concatenation along the channels of `[n,c,h,w]` or `[n,c]`.
    ///
    /// # Errors
    /// If the inputs differ in more than channels, or one is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2], &[1.0f32, 2.0])?, "x");
    /// let y = tape.leaf(Tensor::from_slice([1, 1], &[3.0f32])?, "y");
    /// let z = tape.concat(&[x, y])?;
    /// assert_eq!(tape.value(z)?.f32(), [1.0, 2.0, 3.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn concat(&mut self, xs: &[Var]) -> Result<Var> {
        self.apply(Concat, xs)
    }
}
