//! Concatenation along the channels.

use super::{Exec, Output, Rule, Sink, Step, images};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::Accum;
use convscope_kernels::copy::{BWD, FWD, PlaceSpec};

/// `[n,c1,h,w], [n,c2,h,w], ...` -> `[n,c1+c2+...,h,w]`; vectors `[n,f1], [n,f2], ...` -> `[n,f1+f2+...]` alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat;

/// The sizes of an image stack; vectors are images of one pixel.
fn stack(x: &Shape) -> Result<[usize; 4], String> {
    match x[..] {
        [n, features] => Ok([n, features, 1, 1]),
        _ => images(x),
    }
}

/// Each input's place in the output.
fn specs<'a>(xs: &'a [&'a Tensor], out: &'a Shape) -> impl Iterator<Item = PlaceSpec> + 'a {
    let mut to = 0;
    xs.iter().map(move |x| {
        let [n, c, h, w] = stack(x.shape()).expect("infer accepted this shape");
        let (from_shape, to_shape) = ([c, h, w], [out[1], h, w]);
        let spec = PlaceSpec { n, from_shape, to_shape, from: 0, to, count: c, origin: [0, 0], stride: [1, 1] };
        to += c;
        spec
    })
}

impl Rule for Concat {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let shape = *xs.first().ok_or("wants at least one input")?;
        let first = stack(shape)?;
        let mut channels = 0;
        for x in xs {
            let [n, c, h, w] = stack(x)?;
            if x[..].len() != shape[..].len() || [n, h, w] != [first[0], first[2], first[3]] {
                return Err("inputs may differ in channels only".to_string());
            }
            channels += c;
        }
        let mut joined = shape[..].to_vec();
        joined[1] = channels;
        Ok(joined.into())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let mut out = xs[0].room(shape.len());
        for (i, spec) in specs(xs, shape).enumerate() {
            // The first placement writes zeros everywhere else, the others add to them.
            let accum = if i == 0 { Accum::Write } else { Accum::Add };
            exec.run(&FWD, &spec, &[xs[i]], &mut [&mut out], accum)?;
        }
        Ok(Tensor::new(shape.clone(), out)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        for (i, spec) in specs(&step.xs, step.out.shape()).enumerate() {
            sink.add(i, step.xs[i], |dx, accum| exec.run(&BWD, &spec, &[step.dout], &mut [dx], accum))?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case> {
        let vectors = Case::new(Concat, [&[2, 3], &[2, 1]]);
        let three = Case::new(Concat, [&[1, 2, 2, 2], &[1, 1, 2, 2], &[1, 2, 2, 2]]);
        vec![Case::new(Concat, [&[2, 1, 3, 2], &[2, 3, 3, 2]]), three, vectors]
    }
}

impl Tape {
    /// Concatenation along the channels.
    pub fn concat(&mut self, xs: &[Var]) -> Result<Var> {
        self.apply(Concat.into(), xs)
    }
}
