//! The tape: computed operations in order, as a list of plain structs.
//!
//! A node holds its operation, its inputs (earlier nodes) and its value. Insertion order is a topological order, so the backward
//! pass is one loop over the list in reverse. There are no closures, no recursion and no hooks: a feature map is
//! `tape.get("layer3.0.conv2")`, and Grad-CAM is that value together with `grads.get("layer3.0.conv2")`.

use crate::error::{Error, Result};
use crate::operation::{Backward, Bound, Exec, Forward, Operation, Recorded, Rules};
use crate::shape::Shape;
use crate::tensor::Tensor;
use convscope_kernels::{Buffer, Call, Context, DType, Device};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Index of a node of one tape. On another tape it is an error.
///
/// ```
/// # use convscope_engine::{Error, Tape, Tensor};
/// let (mut tape, mut other) = (Tape::new(), Tape::new());
/// let x = tape.leaf(Tensor::from_slice([1], &[1.0f32])?, "x");
/// assert_eq!(x.index(), 0);
/// assert_eq!(other.relu(x), Err(Error::OtherTape(0)));
/// # Ok::<(), convscope_engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var {
    tape: u64,
    index: usize,
}

impl Var {
    /// Index on the tape.
    pub fn index(self) -> usize {
        self.index
    }
}

/// One recorded operation, or a leaf.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation; `None` for a leaf (an image, a weight).
    op: Option<Arc<dyn Recorded>>,
    /// Its inputs.
    pub inputs: Vec<Var>,
    /// Label; in a network, the layer's name.
    pub label: String,
    /// Shape of the value.
    pub shape: Shape,
    /// Kernels that ran forward.
    pub forward: Vec<Call>,
    /// Kernels that ran in the last backward pass.
    pub backward: Vec<Call>,
    value: Option<Tensor>,
    saved: Vec<Tensor>,
}

impl Node {
    /// Name of the operation; `None` for a leaf (an image, a weight).
    pub fn operation(&self) -> Option<&'static str> {
        self.op.as_ref().map(|op| op.name())
    }

    /// Hyperparameters of the operation in a few characters; empty for a leaf.
    pub fn settings(&self) -> String {
        self.op.as_ref().map(|op| op.settings()).unwrap_or_default()
    }

    /// The value, unless it was released.
    pub fn value(&self) -> Option<&Tensor> {
        self.value.as_ref()
    }

    /// Bytes kept for the backward pass: the value and the operation's saved tensors.
    pub fn kept_bytes(&self) -> usize {
        self.value.iter().chain(&self.saved).map(|t| t.len() * t.dtype().size()).sum()
    }
}

/// A recorded computation: a list of nodes, each a leaf or an operation on earlier nodes.
///
/// The type of the leaves (f32 or f64) is the type of the computation: an operation on both is an error. [`Tensor::cast`] converts.
///
/// ```
/// # use convscope_engine::{Rules, Tape, Tensor};
/// let mut tape = Tape::new();
/// let x = tape.leaf(Tensor::from_slice([2], &[1.0f32, -2.0])?, "x");
/// let y = tape.relu(x)?;
/// let z = tape.sum(y)?;
/// let grads = tape.backward(z, None, &[x], &Rules::default())?;
/// assert_eq!(tape.value(z)?.item()?, 1.0);
/// assert_eq!(grads.of(x).unwrap().f32(), [1.0, 0.0]);
/// # Ok::<(), convscope_engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Tape {
    /// Unique per tape; a tape and its casts share it.
    id: u64,
    nodes: Vec<Node>,
    releasing: bool,
    context: Context,
}

impl Default for Tape {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Tape { id: NEXT.fetch_add(1, Ordering::Relaxed), nodes: Vec::new(), releasing: false, context: Context::default() }
    }
}

impl Tape {
    /// A tape that keeps every value, in the default context.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tape that keeps every value, whose operations run as `context` says.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor, Context};
    /// let mut tape = Tape::with(&Context::default().with_rows("unary.fwd=naive")?);
    /// let x = tape.leaf(Tensor::from_slice([1], &[-2.0f32])?, "x");
    /// tape.relu(x)?;
    /// assert_eq!(tape.nodes()[1].forward[0].kernel, "naive");
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn with(context: &Context) -> Self {
        Tape { context: context.clone(), ..Self::default() }
    }

    /// A tape that releases values through [`Tape::release`], for inference.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::inference();
    /// let x = tape.leaf(Tensor::from_slice([1], &[2.0f32])?, "x");
    /// let y = tape.scale(x, 3.0)?;
    /// tape.release(x)?;
    /// assert!(tape.value(x).is_err());
    /// assert_eq!(tape.value(y)?.item()?, 6.0);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn inference() -> Self {
        Tape { releasing: true, ..Self::default() }
    }

    /// Sets the context of the following operations. A tensor on another device is copied when an operation first reads it; weights
    /// keep the copy.
    pub fn set_context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    /// Context of operations.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn device(&self) -> Device {
        self.context.device()
    }

    fn var(&self, index: usize) -> Var {
        Var { tape: self.id, index }
    }

    /// Index of a node of this tape.
    fn index(&self, var: Var) -> Result<usize> {
        let here = var.tape == self.id && var.index < self.nodes.len();
        here.then_some(var.index).ok_or(Error::OtherTape(var.index))
    }

    fn value_here(&self, var: Var) -> Result<Tensor> {
        self.value(var)?.on(self.device())
    }

    /// This recording with its values in another real type. A backward pass over it computes the gradient of this forward pass in
    /// that type, with the same choices in each maximum and each ReLU.
    pub fn cast(&self, dtype: DType) -> Self {
        let cast = |t: &Tensor| if t.dtype() == DType::U32 { t.clone() } else { t.cast(dtype) };
        let node = |node: &Node| Node {
            value: node.value.as_ref().map(cast),
            saved: node.saved.iter().map(cast).collect(),
            ..node.clone()
        };
        Tape { nodes: self.nodes.iter().map(node).collect(), context: self.context.clone(), ..*self }
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Records a leaf: an image, a weight.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2], &[1.0f32, 2.0])?, "x");
    /// assert_eq!(tape.get("x")?.f32(), [1.0, 2.0]);
    /// assert_eq!(tape.find("x")?, x);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn leaf(&mut self, value: Tensor, label: impl Into<String>) -> Var {
        self.push(Node {
            op: None,
            inputs: Vec::new(),
            label: label.into(),
            shape: value.shape().clone(),
            forward: Vec::new(),
            backward: Vec::new(),
            value: Some(value),
            saved: Vec::new(),
        })
    }

    /// Computes and records an operation. The methods of each file in `ops/` are shorthands for this.
    ///
    /// # Errors
    /// [`Error`] if the inputs do not fit each other, a value was released, a kernel refuses, or an input is of
    /// another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor, ops::Reduce};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.apply(Reduce { keep: 1, mean: false }, &[x])?;
    /// assert_eq!(tape.value(y)?.f32(), [3.0, 7.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn apply<O: Operation>(&mut self, op: O, inputs: &[Var]) -> Result<Var> {
        let xs = inputs.iter().map(|v| self.value_here(*v)).collect::<Result<Vec<_>>>()?;
        let xs: Vec<&Tensor> = xs.iter().collect();
        let shapes: Vec<&Shape> = xs.iter().map(|x| x.shape()).collect();
        let refuse = |reason| Error::Shapes { op: op.name(), reason, shapes: shapes.iter().map(|s| (*s).clone()).collect() };
        let (shape, spec) = op.infer(&shapes).map_err(refuse)?;
        let mut forward = Forward { xs: &xs, shape: &shape, exec: Exec::new(&self.context) };
        let output = op.forward(&spec, &mut forward)?;
        let forward = forward.exec.calls;
        if *output.value.shape() != shape {
            return Err(refuse(format!("computes {}, not the shape {shape} that it infers", output.value.shape())));
        }
        let label = format!("{}{}", op.name(), self.nodes.len());
        Ok(self.push(Node {
            op: Some(Arc::new(Bound { op, spec })),
            inputs: inputs.to_vec(),
            label,
            shape,
            forward,
            backward: Vec::new(),
            value: Some(output.value),
            saved: output.saved,
        }))
    }

    fn push(&mut self, node: Node) -> Var {
        self.nodes.push(node);
        self.var(self.nodes.len() - 1)
    }

    /// Sets the label of a node.
    ///
    /// # Errors
    /// [`Error`] if it is of another tape.
    pub fn label(&mut self, var: Var, label: impl Into<String>) -> Result<()> {
        let index = self.index(var)?;
        self.nodes[index].label = label.into();
        Ok(())
    }

    /// The node with this label, the last one of several.
    ///
    /// # Errors
    /// [`Error`] if there is none.
    pub fn find(&self, label: &str) -> Result<Var> {
        let at = self.nodes.iter().rposition(|n| n.label == label);
        at.map(|i| self.var(i)).ok_or_else(|| Error::UnknownLabel(label.to_string()))
    }

    /// The value of a node.
    ///
    /// # Errors
    /// [`Error`] if it was released, or the node is of another tape.
    pub fn value(&self, var: Var) -> Result<&Tensor> {
        let node = &self.nodes[self.index(var)?];
        node.value.as_ref().ok_or_else(|| Error::Released(node.label.clone()))
    }

    /// The value of the node with this label.
    ///
    /// # Errors
    /// [`Error`] if there is none, or its value was released.
    pub fn get(&self, label: &str) -> Result<&Tensor> {
        self.value(self.find(label)?)
    }

    /// Saved tensors of an operation. Batch-norm in training mode saves the batch's mean and variance, `[c]` each.
    ///
    /// # Errors
    /// [`Error`] if the node is of another tape.
    pub fn saved(&self, var: Var) -> Result<&[Tensor]> {
        Ok(&self.nodes[self.index(var)?].saved)
    }

    /// Releases a value on an inference tape; on others it has no effect.
    ///
    /// # Errors
    /// [`Error`] if the node is of another tape.
    pub fn release(&mut self, var: Var) -> Result<()> {
        let index = self.index(var)?;
        if self.releasing {
            let node = &mut self.nodes[index];
            node.value = None;
            node.saved.clear();
        }
        Ok(())
    }

    /// Gradients of `from` with respect to `wants`, which may be any nodes: images, weights, feature maps.
    ///
    /// `upstream` is the gradient of `from`, by default ones. Nodes without influence on wanted gradients are skipped.
    ///
    /// # Errors
    /// [`Error`] if `upstream` has another shape than `from`, a needed value was released, a kernel refuses, or a
    /// node is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Rules, Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([3], &[-1.0f32, 2.0, 3.0])?, "x");
    /// let y = tape.mul(x, x)?;
    /// let up = Tensor::from_slice([3], &[1.0f32, 10.0, 0.0])?;
    /// let grads = tape.backward(y, Some(up), &[x], &Rules::default())?;
    /// assert_eq!(grads.of(x).unwrap().f32(), [-2.0, 40.0, 0.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn backward(&mut self, from: Var, upstream: Option<Tensor>, wants: &[Var], rules: &Rules) -> Result<Grads> {
        let last = self.index(from)?;
        let shape = &self.nodes[last].shape;
        let start = match upstream {
            Some(t) if t.shape() != shape => return Err(Error::Upstream { got: t.shape().clone(), want: shape.clone() }),
            Some(t) => t,
            None => Tensor::full(shape.clone(), self.value(from)?.dtype(), 1.0),
        };
        let mut wanted = vec![false; self.nodes.len()];
        for var in wants {
            wanted[self.index(*var)?] = true;
        }
        let mut need = wanted.clone();
        for i in 0..=last {
            need[i] |= self.nodes[i].inputs.iter().any(|v| need[v.index]);
        }
        let mut grads: Vec<Option<Arc<Buffer>>> = vec![None; last + 1];
        grads[last] = Some(start.on(self.device())?.shared());
        for i in (0..=last).rev() {
            let node = &self.nodes[i];
            let Some(op) = &node.op else { continue };
            let targets: Vec<Option<usize>> = node.inputs.iter().map(|v| need[v.index].then_some(v.index)).collect();
            if targets.iter().all(Option::is_none) {
                continue;
            }
            let dout = if wanted[i] { grads[i].clone() } else { grads[i].take() };
            let Some(dout) = dout else { continue };
            let dout = Tensor::new(node.shape.clone(), dout)?;
            let xs = node.inputs.iter().map(|v| self.value_here(*v)).collect::<Result<Vec<_>>>()?;
            let mut backward = Backward {
                xs: &xs.iter().collect::<Vec<_>>(),
                out: self.value(self.var(i))?,
                saved: &node.saved,
                dout: &dout,
                rules,
                exec: Exec::new(&self.context),
                grads: &mut grads,
                targets: &targets,
            };
            op.backward(&mut backward)?;
            self.nodes[i].backward = backward.exec.calls;
        }
        let entries = wants
            .iter()
            .map(|v| {
                let node = &self.nodes[v.index];
                let dtype = node.value.as_ref().map_or(start.dtype(), Tensor::dtype);
                let grad = match grads.get(v.index).cloned().flatten() {
                    Some(g) => Tensor::new(node.shape.clone(), g)?,
                    // The wanted node does not influence `from`: its gradient is zero.
                    None => Tensor::zeros(node.shape.clone(), dtype),
                };
                Ok((*v, node.label.clone(), grad))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Grads { entries })
    }
}

/// Gradients of the wanted nodes.
#[derive(Debug)]
pub struct Grads {
    entries: Vec<(Var, String, Tensor)>,
}

impl Grads {
    /// The gradient of a node; `None` if it was not wanted.
    pub fn of(&self, var: Var) -> Option<&Tensor> {
        self.entries.iter().find(|e| e.0 == var).map(|e| &e.2)
    }

    /// The gradient of a label's node; `None` if it was not wanted.
    pub fn get(&self, label: &str) -> Option<&Tensor> {
        self.entries.iter().find(|e| e.1 == label).map(|e| &e.2)
    }

    /// All gradients, in the order of `wants`.
    pub fn iter(&self) -> impl Iterator<Item = (Var, &Tensor)> {
        self.entries.iter().map(|e| (e.0, &e.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_another_tape_is_an_error() {
        let one = || Tensor::full([1], DType::F32, 1.0);
        let (mut here, mut there) = (Tape::new(), Tape::new());
        let (x, other) = (here.leaf(one(), "x"), there.leaf(one(), "x"));
        let earlier = here.cast(DType::F64);
        let y = here.relu(x).unwrap();
        let refused = |result: Result<()>| assert!(matches!(result, Err(Error::OtherTape(_))), "{result:?}");
        refused(here.add(x, other).map(drop));
        refused(here.value(other).map(drop));
        refused(here.saved(other).map(drop));
        refused(here.label(other, "y"));
        refused(here.release(other));
        refused(here.backward(other, None, &[x], &Rules::default()).map(drop));
        refused(here.backward(y, None, &[other], &Rules::default()).map(drop));
        assert!(here.backward(y, None, &[x], &Rules::default()).unwrap().of(other).is_none());
        // A cast has the same nodes, up to later recordings.
        assert_eq!(earlier.value(x).unwrap().f64(), [1.0]);
        refused(earlier.value(y).map(drop));
    }
}
