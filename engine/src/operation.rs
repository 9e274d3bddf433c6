//! An operation: shape rule, forward, backward, and the cases that check its gradient.
//!
//! [`Operation`] is open: operations of other crates are equal to those of [`crate::ops`]. The example `04_new_op` adds one.

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{ReluRule, UNARY_FWD, Unary, UnarySpec};
use convscope_kernels::table::Table;
use convscope_kernels::{Accum, Buffer, Call, Context, DType};
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// A differentiable operation: plain data with its hyperparameters.
///
/// [`Tape::apply`](crate::Tape::apply) infers its shape, computes and records it.
/// [`gradcheck::check_all`](crate::gradcheck::check_all) compares its gradient with finite differences.
///
/// ```
/// use convscope_engine::operation::{Backward, Case, Forward, Operation, Output, arity};
/// use convscope_engine::{Result, Shape, Tape, Tensor, gradcheck};
///
/// /// `x^3`.
/// #[derive(Clone, Debug)]
/// struct Cube;
///
/// impl Operation for Cube {
///     type Spec = ();
///     fn name(&self) -> &'static str {
///         "Cube"
///     }
///     fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ()), String> {
///         let [x] = arity(xs)?;
///         Ok((x.clone(), ()))
///     }
///     fn forward(&self, _: &(), f: &mut Forward) -> Result<Output> {
///         Ok(f.xs[0].map(|x| x * x * x).into())
///     }
///     fn backward(&self, _: &(), b: &mut Backward) -> Result<()> {
///         let dx = b.xs[0].zip(b.dout, |x, dout| 3.0 * x * x * dout)?;
///         b.add(0, &dx)
///     }
///     fn cases() -> Vec<Case<Self>> {
///         vec![Case::new(Cube, [&[2, 3]])]
///     }
/// }
///
/// let mut tape = Tape::new();
/// let x = tape.leaf(Tensor::from_slice([2], &[2.0f32, -1.0])?, "x");
/// let y = tape.apply(Cube, &[x])?;
/// assert_eq!(tape.value(y)?.f32(), [8.0, -1.0]);
/// assert!(gradcheck::check_all::<Cube>()?.is_right());
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub trait Operation: Debug + Send + Sync + Sized + 'static {
    /// Sizes of the operation on given inputs, such as a kernel's spec. A node keeps them for the backward pass.
    type Spec: Debug + Send + Sync + 'static;

    /// Name in messages and traces.
    fn name(&self) -> &'static str;

    /// Hyperparameters in a few characters, such as `3x3 s1 p1`.
    fn settings(&self) -> String {
        String::new()
    }

    /// Output shape and spec.
    ///
    /// # Errors
    /// The reason, if the inputs do not fit each other.
    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, Self::Spec), String>;

    /// Computes the value.
    ///
    /// # Errors
    /// [`Error`] if a kernel table refuses, or memory is exhausted.
    fn forward(&self, spec: &Self::Spec, f: &mut Forward) -> Result<Output>;

    /// Adds the gradients of the wanted inputs.
    ///
    /// # Errors
    /// [`Error`] if a kernel table refuses, or memory is exhausted.
    fn backward(&self, spec: &Self::Spec, b: &mut Backward) -> Result<()>;

    /// Cases of the gradient check.
    fn cases() -> Vec<Case<Self>>;
}

/// Arguments of a forward computation.
pub struct Forward<'a> {
    /// Inputs, on one device.
    pub xs: &'a [&'a Tensor],
    /// Output shape, from [`Operation::infer`].
    pub shape: &'a Shape,
    /// Access to kernels.
    pub exec: Exec,
}

/// Result of a forward computation.
pub struct Output {
    /// The value.
    pub value: Tensor,
    /// Tensors for the backward computation, besides inputs and value.
    pub saved: Vec<Tensor>,
}

impl From<Tensor> for Output {
    fn from(value: Tensor) -> Self {
        Output { value, saved: Vec::new() }
    }
}

/// Arguments of a backward computation, and the gradients it adds to. Unwanted gradients are skipped.
pub struct Backward<'a> {
    /// Inputs of the forward computation.
    pub xs: &'a [&'a Tensor],
    /// Output value.
    pub out: &'a Tensor,
    /// Saved tensors.
    pub saved: &'a [Tensor],
    /// Gradient of the output.
    pub dout: &'a Tensor,
    /// Deviations of this pass from the derivative.
    pub rules: &'a Rules,
    /// Access to kernels.
    pub exec: Exec,
    /// Gradients of all nodes.
    pub(crate) grads: &'a mut [Option<Arc<Buffer>>],
    /// For each input with a wanted gradient, its index in `grads`.
    pub(crate) targets: &'a [Option<usize>],
}

impl Backward<'_> {
    /// Whether the gradient of input `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.targets.get(i).is_some_and(Option::is_some)
    }

    /// Adds `grad` to the gradient of input `i`, if it is wanted. The first addition copies nothing.
    ///
    /// # Errors
    /// [`Error`] if `grad` has another length or type than the input.
    pub fn add(&mut self, i: usize, grad: &Tensor) -> Result<()> {
        let Some(&Some(target)) = self.targets.get(i) else { return Ok(()) };
        let x = self.xs[i];
        if grad.len() != x.len() || grad.dtype() != x.dtype() {
            return Err(Error::Gradient { got: grad.shape().clone(), want: x.shape().clone() });
        }
        let grad = grad.on(self.exec.context.device())?;
        match &mut self.grads[target] {
            entry @ None => {
                *entry = Some(grad.shared());
                Ok(())
            }
            Some(sum) => {
                let spec = UnarySpec { op: Unary::Affine(1.0, 0.0), rule: ReluRule::Plain, len: grad.len() };
                self.exec.run(&UNARY_FWD, &spec, &[&grad], &mut [Arc::make_mut(sum)], Accum::Add)
            }
        }
    }

    /// Adds the output of a kernel to the gradient of input `i`, if it is wanted.
    ///
    /// # Errors
    /// [`Error`] if the kernel table refuses.
    pub fn add_kernel<S: Display>(&mut self, i: usize, table: &'static Table<S>, spec: &S, inputs: &[&Tensor]) -> Result<()> {
        let Some(&Some(target)) = self.targets.get(i) else { return Ok(()) };
        match &mut self.grads[target] {
            Some(grad) => self.exec.run(table, spec, inputs, &mut [Arc::make_mut(grad)], Accum::Add),
            entry @ None => {
                let mut grad = self.xs[i].buffer_like(self.xs[i].len());
                self.exec.run(table, spec, inputs, &mut [&mut grad], Accum::Write)?;
                *entry = Some(Arc::new(grad));
                Ok(())
            }
        }
    }
}

/// Runs kernels in the tape's context and records each call.
pub struct Exec {
    context: Context,
    pub(crate) calls: Vec<Call>,
}

impl Exec {
    pub(crate) fn new(context: &Context) -> Self {
        Exec { context: context.clone(), calls: Vec::new() }
    }

    /// Runs a table's kernel on whole tensors.
    ///
    /// # Errors
    /// [`Error`] if the kernel table refuses: a wrong length or type, or no kernel for the device.
    pub fn run<S: Display>(
        &mut self,
        table: &'static Table<S>,
        spec: &S,
        inputs: &[&Tensor],
        outputs: &mut [&mut Buffer],
        accum: Accum,
    ) -> Result<()> {
        let inputs: Vec<&Buffer> = inputs.iter().map(|t| t.buffer()).collect();
        self.calls.push(table.run(&self.context, spec, &inputs, outputs, accum)?);
        Ok(())
    }

    /// Runs a table's kernel into one new tensor of `shape`.
    ///
    /// # Errors
    /// As [`Exec::run`].
    pub fn make<S: Display>(&mut self, table: &'static Table<S>, spec: &S, inputs: &[&Tensor], shape: &Shape) -> Result<Tensor> {
        let mut out = inputs.first().map_or_else(|| Buffer::new(DType::F32, shape.len()), |t| t.buffer_like(shape.len()));
        self.run(table, spec, inputs, &mut [&mut out], Accum::Write)?;
        Tensor::new(shape.clone(), out)
    }
}

/// Deviations of a backward pass from the derivative.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The rule of ReLU and ReLU6.
    pub relu: ReluRule,
}

/// One input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Shape.
    pub shape: Shape,
    /// Whether all values are positive (a variance).
    pub positive: bool,
    /// Whether its gradient is checked.
    pub differentiable: bool,
}

impl Input {
    /// An input around zero, with gradient check.
    pub fn any(shape: impl Into<Shape>) -> Self {
        Input { shape: shape.into(), positive: false, differentiable: true }
    }
    /// A positive input, with gradient check (a divisor).
    pub fn positive(shape: impl Into<Shape>) -> Self {
        Input { positive: true, ..Self::any(shape) }
    }
    /// An input around zero, without gradient check (a running mean).
    pub fn given(shape: impl Into<Shape>) -> Self {
        Input { differentiable: false, ..Self::any(shape) }
    }
    /// A positive input, without gradient check (a running variance).
    pub fn given_positive(shape: impl Into<Shape>) -> Self {
        Input { positive: true, ..Self::given(shape) }
    }
}

/// An operation on inputs of given shapes, for the gradient check.
#[derive(Clone, Debug)]
pub struct Case<O> {
    /// The operation.
    pub op: O,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

impl<O> Case<O> {
    /// An operation on inputs around zero.
    pub fn new<const N: usize>(op: O, shapes: [&[usize]; N]) -> Self {
        Case { op, inputs: shapes.iter().map(|s| Input::any(s.to_vec())).collect() }
    }
}

/// `Ok` with exactly `N` shapes.
///
/// # Errors
/// The reason, if there are more or fewer.
pub fn arity<'a, const N: usize>(xs: &[&'a Shape]) -> Result<[&'a Shape; N], String> {
    xs.try_into().map_err(|_| format!("expects {N} inputs, not {}", xs.len()))
}

/// The sizes of an image stack `[n,c,h,w]`.
pub(crate) fn images(x: &Shape) -> Result<[usize; 4], String> {
    x.nchw().ok_or_else(|| "expects an image stack [n,c,h,w]".to_string())
}

/// An operation with its spec, type-erased for a node.
pub(crate) trait Recorded: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn settings(&self) -> String;
    fn backward(&self, b: &mut Backward) -> Result<()>;
}

#[derive(Debug)]
pub(crate) struct Bound<O: Operation> {
    pub op: O,
    pub spec: O::Spec,
}

impl<O: Operation> Recorded for Bound<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }
    fn settings(&self) -> String {
        self.op.settings()
    }
    fn backward(&self, b: &mut Backward) -> Result<()> {
        self.op.backward(&self.spec, b)
    }
}
