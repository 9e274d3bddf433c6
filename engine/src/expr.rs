//! Operators on tape values: `a * b + 3.0` is an [`Expr`], and [`Tape::record`] computes it.

use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::Unary;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An expression over nodes of a tape, not yet computed: a list of steps in postfix order.
///
/// Operators take [`Var`], `Expr` and `f64` on either side; shapes broadcast as in [`Tape::add`]. Nothing fails before
/// [`Tape::record`]. An expression that is used twice is recorded first.
///
/// ```
/// # use convscope_engine::{Rules, Tape, Tensor};
/// let mut tape = Tape::new();
/// let a = tape.leaf(Tensor::from_slice([1], &[2.0f32])?, "a");
/// let b = tape.leaf(Tensor::from_slice([1], &[-3.0f32])?, "b");
/// let y = tape.record((a * b + 10.0).relu() / a - b)?;
/// assert_eq!(tape.value(y)?.item()?, 5.0);
/// let grads = tape.backward(y, None, &[a, b], &Rules::default())?;
/// // d/da (b + 10/a - b) and d/db
/// assert_eq!(grads.of(a).unwrap().item()?, -2.5);
/// assert_eq!(grads.of(b).unwrap().item()?, 0.0);
/// # Ok::<(), convscope_engine::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Var(Var),
    Unary(Unary),
    /// The number divided by the value.
    Under(f64),
    Power(u32),
    Sum,
    Mean,
    Add,
    Sub,
    Mul,
    Div,
}

impl From<Var> for Expr {
    fn from(var: Var) -> Self {
        Expr { steps: vec![Step::Var(var)] }
    }
}

impl Var {
    /// This node as an expression, to call its methods: `x.expr().tanh()`.
    pub fn expr(self) -> Expr {
        self.into()
    }
}

impl Expr {
    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn with(mut self, other: Self, step: Step) -> Self {
        self.steps.extend(other.steps);
        self.then(step)
    }

    /// `max(x, 0)`.
    pub fn relu(self) -> Self {
        self.map(Unary::Relu)
    }

    /// Hyperbolic tangent.
    pub fn tanh(self) -> Self {
        self.map(Unary::Tanh)
    }

    /// `e^x`.
    pub fn exp(self) -> Self {
        self.map(Unary::Exp)
    }

    /// `1 / (1 + e^-x)`.
    pub fn sigmoid(self) -> Self {
        self.map(Unary::Sigmoid)
    }

    /// An elementwise function.
    pub fn map(self, function: Unary) -> Self {
        self.then(Step::Unary(function))
    }

    /// The `n`-th power, see [`Tape::powi`].
    pub fn powi(self, n: u32) -> Self {
        self.then(Step::Power(n))
    }

    /// Sum of all elements, `[1]`.
    pub fn sum(self) -> Self {
        self.then(Step::Sum)
    }

    /// Mean of all elements, `[1]`.
    pub fn mean(self) -> Self {
        self.then(Step::Mean)
    }
}

impl Tape {
    /// Computes an expression and records its operations, one node each.
    ///
    /// # Errors
    /// If shapes do not broadcast, or a node is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2], &[1.0f32, 2.0])?, "x");
    /// let y = tape.leaf(Tensor::from_slice([2], &[3.0f32, 5.0])?, "y");
    /// let distance = tape.record((x - y).powi(2).sum())?;
    /// assert_eq!(tape.value(distance)?.item()?, 13.0);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn record(&mut self, expr: impl Into<Expr>) -> Result<Var> {
        let mut steps = expr.into().steps.into_iter();
        // The first step is a node, and each later one reads the results of earlier steps.
        let Some(Step::Var(mut top)) = steps.next() else { unreachable!("an expression begins with a node") };
        let mut below = Vec::new();
        for step in steps {
            let mut left = || below.pop().unwrap_or(top);
            top = match step {
                Step::Var(var) => {
                    below.push(top);
                    var
                }
                Step::Unary(function) => self.activation(top, function)?,
                Step::Under(number) => {
                    let number = Tensor::full([1], self.value(top)?.dtype(), number);
                    let number = self.leaf(number, "");
                    self.div(number, top)?
                }
                Step::Power(n) => self.powi(top, n)?,
                Step::Sum => self.sum(top)?,
                Step::Mean => self.mean(top)?,
                Step::Add => self.add(left(), top)?,
                Step::Sub => self.sub(left(), top)?,
                Step::Mul => self.mul(left(), top)?,
                Step::Div => self.div(left(), top)?,
            };
        }
        Ok(top)
    }
}

/// An operator with a node or an expression on its left, and a node, an expression or a number on its right.
macro_rules! operator {
    ($trait:ident, $method:ident, $affine:expr, $($left:ty),*) => {$(
        operator!(@pair $trait, $method, $left, Var);
        operator!(@pair $trait, $method, $left, Expr);
        impl $trait<f64> for $left {
            type Output = Expr;
            fn $method(self, number: f64) -> Expr {
                let affine: fn(f64) -> (f64, f64) = $affine;
                let (factor, shift) = affine(number);
                Expr::from(self).map(Unary::Affine(factor, shift))
            }
        }
    )*};
    (@pair $trait:ident, $method:ident, $left:ty, $right:ty) => {
        impl $trait<$right> for $left {
            type Output = Expr;
            fn $method(self, right: $right) -> Expr {
                Expr::from(self).with(right.into(), Step::$trait)
            }
        }
    };
}

operator!(Add, add, |c| (1.0, c), Var, Expr);
operator!(Sub, sub, |c| (1.0, -c), Var, Expr);
operator!(Mul, mul, |c| (c, 0.0), Var, Expr);
operator!(Div, div, |c| (1.0 / c, 0.0), Var, Expr);

/// Operators with a number on their left, and the sign.
macro_rules! of_number {
    ($($right:ty),*) => {$(
        impl Add<$right> for f64 {
            type Output = Expr;
            fn add(self, right: $right) -> Expr {
                right + self
            }
        }
        impl Sub<$right> for f64 {
            type Output = Expr;
            fn sub(self, right: $right) -> Expr {
                Expr::from(right).map(Unary::Affine(-1.0, self))
            }
        }
        impl Mul<$right> for f64 {
            type Output = Expr;
            fn mul(self, right: $right) -> Expr {
                right * self
            }
        }
        impl Div<$right> for f64 {
            type Output = Expr;
            fn div(self, right: $right) -> Expr {
                Expr::from(right).then(Step::Under(self))
            }
        }
        impl Neg for $right {
            type Output = Expr;
            fn neg(self) -> Expr {
                self * -1.0
            }
        }
    )*};
}

of_number!(Var, Expr);

#[cfg(test)]
mod tests {
    use crate::gradcheck::{Input, check_function};
    use crate::{Tape, Tensor};

    /// Each operator on nodes, expressions and numbers, against the same text on f64.
    #[test]
    fn operators_are_those_of_numbers() {
        let (x, y) = (3.0f64, -2.5);
        let mut tape = Tape::new();
        let [a, b] = [x, y].map(|v| tape.leaf(Tensor::from_slice([1], &[v]).unwrap(), ""));
        let e = || b.expr();
        let cases = [
            (a + b * e() - e() / a, x + y * y - y / x),
            (e() - a - (b - e()) * 2.0, y - x),
            (2.0 + a - (1.5 + e()), 0.5 + x - y),
            (2.0 - a * 3.0 + (2.0 - e()) - 1.0, 2.0 - x * 3.0 + (2.0 - y) - 1.0),
            (2.0 * b + 2.0 * (e() + 1.0) + 8.0 / b + 8.0 / (e() - a), 2.0 * y + 2.0 * (y + 1.0) + 8.0 / y + 8.0 / (y - x)),
            (-a - -(a * b) + a / 2.0 + e() / 4.0, -x + x * y + x / 2.0 + y / 4.0),
            ((a - b).powi(3) + a.expr().tanh() + e().exp() + e().sigmoid(), {
                (x - y).powi(3) + x.tanh() + y.exp() + 1.0 / (1.0 + (-y).exp())
            }),
        ];
        for (expr, want) in cases {
            let got = tape.record(expr.clone()).unwrap();
            let got = tape.value(got).unwrap().item().unwrap();
            assert!((got - want).abs() < 1e-12, "{expr:?}: {got}, not {want}");
        }
    }

    #[test]
    fn gradients_of_an_expression_that_broadcasts_are_right() {
        let inputs = [Input::any([2, 3, 2]), Input::positive([3, 1]), Input::any([2])];
        let worst = check_function(&inputs, 3, |tape, v| {
            tape.record(((v[0] - v[2]) / v[1] * v[2] + 1.0).tanh().powi(2).sum() + (2.0 / v[1]).mean())
        });
        assert!(worst.unwrap().is_right());
    }
}
