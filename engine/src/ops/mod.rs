//! Operations: one file each, holding shape rule, forward, backward, what is saved, and the gradient-check cases.
//!
//! To add one: write its file with an `impl Rule` and an `impl Tape` shorthand, and add one line to the list at the end of this
//! file. A composite (see `loss.rs`) needs only the shorthand.

mod activation;
mod arithmetic;
mod batch_norm;
mod batch_norm_training;
mod bilinear;
mod concat;
mod conv2d;
mod dropout;
mod linear;
mod loss;
mod pool;
mod reduce;
mod reshape;
mod slice;
mod softmax;
mod zero_pad;

pub use activation::Activation;
pub use arithmetic::Arithmetic;
pub use batch_norm::BatchNorm;
pub use batch_norm_training::BatchNormTraining;
pub use bilinear::Bilinear;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use linear::Linear;
pub use pool::{AvgPool, MaxPool};
pub use reduce::Reduce;
pub use reshape::Reshape;
pub use slice::Slice;
pub use softmax::Softmax;
pub use zero_pad::ZeroPad;

use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Rules, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{ReluRule, UNARY_FWD, Unary, UnarySpec};
use convscope_kernels::table::Table;
use convscope_kernels::{Accum, Buffer, Call, DType};
use std::fmt::Display;
use std::sync::Arc;

/// Runs kernels and remembers which.
#[derive(Default)]
pub struct Exec {
    pub(crate) calls: Vec<Call>,
}

impl Exec {
    /// Runs a table's kernel on whole tensors.
    pub(crate) fn run<S: Display>(
        &mut self,
        table: &'static Table<S>,
        spec: &S,
        inputs: &[&Tensor],
        outputs: &mut [&mut Buffer],
        accum: Accum,
    ) -> Result<()> {
        let inputs: Vec<&Buffer> = inputs.iter().map(|t| t.buffer()).collect();
        self.calls.push(table.run(spec, &inputs, outputs, accum)?);
        Ok(())
    }

    /// Runs a table's kernel into one new tensor of `shape`.
    pub(crate) fn make<S: Display>(
        &mut self,
        table: &'static Table<S>,
        spec: &S,
        inputs: &[&Tensor],
        shape: &Shape,
    ) -> Result<Tensor> {
        let mut out = inputs.first().map_or_else(|| Buffer::new(DType::F32, shape.len()), |t| t.room(shape.len()));
        self.run(table, spec, inputs, &mut [&mut out], Accum::Write)?;
        Tensor::new(shape.clone(), out)
    }
}

/// What a forward computation gives.
pub struct Output {
    /// The value.
    pub value: Tensor,
    /// What backward needs beside inputs and value.
    pub saved: Vec<Tensor>,
}

impl From<Tensor> for Output {
    fn from(value: Tensor) -> Self {
        Output { value, saved: Vec::new() }
    }
}

/// What a backward computation sees.
pub struct Step<'a> {
    /// Inputs of the forward computation.
    pub xs: Vec<&'a Tensor>,
    /// Its value.
    pub out: &'a Tensor,
    /// What it saved.
    pub saved: &'a [Tensor],
    /// Gradient of the value.
    pub dout: &'a Tensor,
    /// How this pass differs from the derivative, if it does.
    pub rules: &'a Rules,
}

/// Where a backward computation puts the gradients of its inputs. It can only add; what nobody wants is not computed.
pub struct Sink<'a> {
    pub(crate) grads: &'a mut [Option<Arc<Buffer>>],
    pub(crate) inputs: &'a [Var],
    pub(crate) want: &'a [bool],
}

impl Sink<'_> {
    /// Whether the gradient of input `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.want.get(i).copied().unwrap_or(false)
    }

    /// Lets `f` write, or add to, the gradient of input `i` (of `x`'s length and type) if it is wanted.
    pub fn add(&mut self, i: usize, x: &Tensor, f: impl FnOnce(&mut Buffer, Accum) -> Result<()>) -> Result<()> {
        if !self.wants(i) {
            return Ok(());
        }
        let slot = &mut self.grads[self.inputs[i].index()];
        match slot {
            Some(grad) => f(Arc::make_mut(grad), Accum::Add),
            None => {
                let mut grad = x.room(x.len());
                f(&mut grad, Accum::Write)?;
                *slot = Some(Arc::new(grad));
                Ok(())
            }
        }
    }

    /// Adds a gradient that is there already, without a copy where it is the first.
    pub fn pass(&mut self, exec: &mut Exec, i: usize, grad: &Tensor) -> Result<()> {
        if !self.wants(i) {
            return Ok(());
        }
        match &mut self.grads[self.inputs[i].index()] {
            slot @ None => {
                *slot = Some(grad.shared());
                Ok(())
            }
            Some(sum) => {
                let spec = UnarySpec { op: Unary::Affine(1.0, 0.0), rule: ReluRule::Plain, len: grad.len() };
                exec.run(&UNARY_FWD, &spec, &[grad], &mut [Arc::make_mut(sum)], Accum::Add)
            }
        }
    }
}

/// An operation.
pub trait Rule {
    /// Name in messages and traces.
    fn name(&self) -> &'static str;
    /// Its settings in a few characters, such as `3x3 s1 p1`.
    fn settings(&self) -> String;
    /// Shape of the value, or why the inputs do not go together.
    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String>;
    /// The value; `shape` is what [`Rule::infer`] gave.
    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output>;
    /// Adds the gradients of the wanted inputs to `sink`.
    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()>;
    /// Problems for the gradient check.
    fn cases() -> Vec<Case>
    where
        Self: Sized;
}

/// `Ok` with exactly `N` shapes.
pub(crate) fn arity<'a, const N: usize>(xs: &[&'a Shape]) -> Result<[&'a Shape; N], String> {
    xs.try_into().map_err(|_| format!("wants {N} inputs, not {}", xs.len()))
}

/// The sizes of an image stack.
pub(crate) fn images(x: &Shape) -> Result<[usize; 4], String> {
    x.nchw().ok_or_else(|| "wants an image stack [n,c,h,w]".to_string())
}

macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        /// An operation, as plain data.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op { $($op($op)),* }

        impl Op {
            /// The file that knows it.
            pub fn rule(&self) -> &dyn Rule {
                match self { $(Op::$op(rule) => rule),* }
            }
            /// The gradient-check cases of every operation.
            pub fn all_cases() -> Vec<Case> {
                let mut all = Vec::new();
                $(all.extend($op::cases());)*
                all
            }
        }

        $(impl From<$op> for Op {
            fn from(op: $op) -> Op { Op::$op(op) }
        })*
    };
}

ops!(
    Activation,
    Arithmetic,
    AvgPool,
    BatchNorm,
    BatchNormTraining,
    Bilinear,
    Concat,
    Conv2d,
    Dropout,
    Linear,
    MaxPool,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    ZeroPad,
);
