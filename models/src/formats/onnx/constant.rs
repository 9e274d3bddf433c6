//! Constants: weights, and the small tensors with which exporters compute shapes and sizes.

use super::node::{OnnxNode, short};
use crate::formats::{Layout, StoredTensor};
use std::path::Path;
use std::sync::Arc;

/// Maximum size of a folded constant. Larger ones are weights.
const MOST_NUMBERS: usize = 1 << 16;

/// A constant.
#[derive(Debug, Clone)]
pub(super) enum Constant {
    /// Stored in the file.
    Stored(StoredTensor),
    /// Computed; integers are exact up to 2^53.
    Numbers { shape: Vec<usize>, values: Vec<f64> },
}

impl Constant {
    /// A one-dimensional list.
    pub fn list(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        Self::Numbers { shape: vec![values.len()], values }
    }

    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Stored(tensor) => &tensor.shape,
            Self::Numbers { shape, .. } => shape,
        }
    }

    /// The values, if they are few.
    pub fn numbers(&self) -> Result<Vec<f64>, String> {
        match self {
            Self::Numbers { values, .. } => Ok(values.clone()),
            Self::Stored(tensor) => match tensor.numbers(MOST_NUMBERS).map_err(|e| e.to_string())? {
                Some(values) => Ok(values),
                None => Err(format!("computes with a constant of the shape {}", short(&tensor.shape))),
            },
        }
    }

    /// Integers; values beyond an i64 saturate.
    pub fn ints(&self) -> Result<Vec<i64>, String> {
        Ok(self.numbers()?.into_iter().map(|v| v as i64).collect())
    }

    /// A scalar.
    pub fn scalar(&self) -> Result<f64, String> {
        match self.numbers()?[..] {
            [only] => Ok(only),
            _ => Err(format!("expects one number, has the shape {}", short(self.shape()))),
        }
    }

    /// A tensor of `shape`, which holds as many values.
    pub fn tensor(&self, path: &Arc<Path>, shape: Vec<usize>) -> StoredTensor {
        match self {
            Self::Stored(tensor) => with_shape(tensor.clone(), shape),
            Self::Numbers { values, .. } => with_shape(StoredTensor::of_values(String::new(), values, path), shape),
        }
    }

    fn reshaped(&self, shape: Vec<usize>) -> Self {
        match self.clone() {
            Self::Stored(tensor) => Self::Stored(with_shape(tensor, shape)),
            Self::Numbers { values, .. } => Self::Numbers { shape, values },
        }
    }
}

fn with_shape(mut tensor: StoredTensor, shape: Vec<usize>) -> StoredTensor {
    tensor.shape = shape;
    tensor
}

/// The result of `node` on constants; `None` for an operator without constant folding.
///
/// # Errors
/// A message, to be read after the node's name, if an input does not fit.
pub(super) fn fold(node: &OnnxNode, opset: i64, inputs: &[Option<&Constant>]) -> Result<Option<Constant>, String> {
    if node.op == "Constant" {
        return constant(node).map(Some);
    }
    let input = |index: usize| inputs.get(index).copied().flatten().ok_or_else(|| format!("has no input {index}"));
    let axes = |default: &[i64]| match node.ints("axes") {
        Some(axes) => Ok(axes.to_vec()),
        None => inputs.get(1).copied().flatten().map_or(Ok(default.to_vec()), Constant::ints),
    };
    let Some(x) = inputs.first().copied().flatten() else { return Ok(None) };
    Ok(Some(match node.op.as_str() {
        "Identity" => x.clone(),
        // Casts to integers truncate, as in C; `to` is a code of `TensorProto.DataType`.
        "Cast" => match node.int_or("to", 1) {
            2..=7 | 12 | 13 => {
                Constant::Numbers { shape: x.shape().to_vec(), values: x.numbers()?.into_iter().map(f64::trunc).collect() }
            }
            _ => x.clone(),
        },
        "CastLike" => x.clone(),
        "Shape" => shape_of(node, x.shape()),
        "Expand" => expand(x, &input(1)?.ints()?)?,
        "Unsqueeze" => x.reshaped(unsqueezed(x.shape(), &axes(&[])?)?),
        "Squeeze" => x.reshaped(squeezed(x.shape(), node.has("axes") || inputs.len() > 1, &axes(&[])?)?),
        "Reshape" => x.reshaped(target(x.shape(), &input(1)?.ints()?)?),
        "Transpose" => transposed(node, x)?,
        "Gather" => gather(node, x, input(1)?)?,
        "Concat" => {
            let mut all = Vec::new();
            for index in 0..inputs.len() {
                let part = input(index)?;
                if part.shape().len() != 1 {
                    return Ok(None);
                }
                all.extend(part.numbers()?);
                if all.len() > MOST_NUMBERS {
                    return Err("makes too long a list".into());
                }
            }
            Constant::list(all)
        }
        "Slice" => slice(node, opset, x, inputs)?,
        "ConstantOfShape" => {
            let shape = small(&x.ints()?)?;
            let value = node.tensor("value").map_or(Ok(0.0), filling)?;
            Constant::Numbers { values: vec![value; shape.iter().product()], shape }
        }
        "Add" => arithmetic(x, input(1)?, |a, b| a + b)?,
        "Sub" => arithmetic(x, input(1)?, |a, b| a - b)?,
        "Mul" => arithmetic(x, input(1)?, |a, b| a * b)?,
        "Div" => arithmetic(x, input(1)?, |a, b| a / b)?,
        "Floor" => unary(x, f64::floor)?,
        "Ceil" => unary(x, f64::ceil)?,
        "Sqrt" => unary(x, f64::sqrt)?,
        "Neg" => unary(x, |v| -v)?,
        _ => return Ok(None),
    }))
}

/// `Shape`, whole or in part.
pub(super) fn shape_of(node: &OnnxNode, shape: &[usize]) -> Constant {
    let rank = shape.len() as i64;
    let end = |key: &str, default| {
        let index = node.int_or(key, default);
        (if index < 0 { index.saturating_add(rank) } else { index }).clamp(0, rank) as usize
    };
    let part = shape.get(end("start", 0)..end("end", rank)).unwrap_or_default();
    Constant::list(part.iter().map(|&n| n as f64))
}

/// `Expand` of a scalar.
fn expand(x: &Constant, wanted: &[i64]) -> Result<Constant, String> {
    let shape = small(wanted)?;
    let value = x.scalar()?;
    Ok(Constant::Numbers { values: vec![value; shape.iter().product()], shape })
}

/// A shape, from a short list.
fn small(wanted: &[i64]) -> Result<Vec<usize>, String> {
    let shape: Option<Vec<usize>> = wanted.iter().map(|&n| super::node::size(n)).collect();
    let count = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    shape.filter(|shape| count(shape).is_some_and(|n| n <= MOST_NUMBERS)).ok_or_else(|| "makes too large a constant".into())
}

fn unary(x: &Constant, f: impl Fn(f64) -> f64) -> Result<Constant, String> {
    Ok(Constant::Numbers { shape: x.shape().to_vec(), values: x.numbers()?.into_iter().map(f).collect() })
}

/// A `Constant` node without a tensor in the file.
fn constant(node: &OnnxNode) -> Result<Constant, String> {
    if node.has("value_float") {
        return Ok(Constant::Numbers { shape: Vec::new(), values: vec![node.float_or("value_float", 0.0)?] });
    }
    if node.has("value_int") {
        return Ok(Constant::Numbers { shape: Vec::new(), values: vec![node.int_or("value_int", 0) as f64] });
    }
    if let Some(list) = node.ints("value_ints") {
        return Ok(Constant::list(list.iter().map(|&v| v as f64)));
    }
    if let Some(list) = node.floats("value_floats") {
        return Ok(Constant::list(list.iter().map(|&v| f64::from(v))));
    }
    Err("holds no numbers".into())
}

/// The value of `ConstantOfShape`.
fn filling(bytes: &bytes::Bytes) -> Result<f64, String> {
    let tensor: super::proto::Tensor = super::proto::part(bytes)?;
    let raw = &tensor.raw_data;
    let float = |bytes: &[u8]| bytes.first_chunk().map(|b| f64::from(f32::from_le_bytes(*b)));
    let value = match tensor.data_type {
        1 => float(raw).or(float(&tensor.float_data)),
        6 => raw.first_chunk().map(|b| f64::from(i32::from_le_bytes(*b))).or(tensor.int32_data.first().map(|&v| f64::from(v))),
        7 => raw.first_chunk().map(|b| i64::from_le_bytes(*b)).or(tensor.int64_data.first().copied()).map(|v| v as f64),
        _ => None,
    };
    value.ok_or_else(|| "fills with a value that is not read".into())
}

/// The index of an axis, which may be negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let index = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let index = index.and_then(|index| usize::try_from(index).ok()).filter(|&index| index < rank);
    index.ok_or_else(|| format!("works along axis {axis} of {rank}"))
}

/// The shape with extents of 1 inserted at `axes` of the result.
pub(super) fn unsqueezed(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = shape.len() + axes.len();
    if rank > 16 {
        return Err(format!("makes {rank} dimensions"));
    }
    let new = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = shape.iter();
    (0..rank)
        .map(|i| if new.contains(&i) { Some(1) } else { rest.next().copied() })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("has the axes {}, some twice", short(axes)))
}

/// The shape without `axes`, or without all extents of 1.
pub(super) fn squeezed(shape: &[usize], chosen: bool, axes: &[i64]) -> Result<Vec<usize>, String> {
    if !chosen {
        return Ok(shape.iter().copied().filter(|&n| n != 1).collect());
    }
    let gone = axes.iter().map(|&a| axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?;
    if gone.iter().any(|&i| shape[i] != 1) {
        return Err(format!("drops the axes {} of {}, which are not all 1", short(axes), short(shape)));
    }
    Ok(shape.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, &n)| n).collect())
}

/// The shape of `Reshape`: 0 copies the extent, one -1 takes the rest.
pub(super) fn target(shape: &[usize], wanted: &[i64]) -> Result<Vec<usize>, String> {
    let misfit = || format!("cannot make {} of {}", short(wanted), short(shape));
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).ok_or_else(misfit);
    let mut open = None;
    let mut made = Vec::new();
    for (i, &n) in wanted.iter().enumerate() {
        made.push(match n {
            0 => *shape.get(i).ok_or_else(misfit)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            n => usize::try_from(n).map_err(|_| misfit())?,
        });
    }
    let (all, known) = (product(shape)?, product(&made)?);
    if let Some(index) = open {
        made[index] = all.checked_div(known).ok_or_else(misfit)?;
    }
    if product(&made)? == all { Ok(made) } else { Err(misfit()) }
}

fn transposed(node: &OnnxNode, x: &Constant) -> Result<Constant, String> {
    let &[rows, columns] = x.shape() else {
        return Err(format!("turns a constant of the shape {}; matrices are read", short(x.shape())));
    };
    match node.ints("perm") {
        Some([0, 1]) => Ok(x.clone()),
        None | Some([1, 0]) => match x {
            Constant::Stored(tensor) if tensor.dtype.is_float() => {
                let transposed = tensor.rearranged(tensor.name.clone(), Layout::Dense(vec![[rows, 1, 1]]));
                Ok(Constant::Stored(transposed.map_err(|e| e.to_string())?))
            }
            small => {
                let values = small.numbers()?;
                let transposed = (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns).copied()).collect();
                Ok(Constant::Numbers { shape: vec![columns, rows], values: transposed })
            }
        },
        Some(other) => Err(format!("has the order {}", short(other))),
    }
}

/// `Gather` from a list, by a scalar or a list.
fn gather(node: &OnnxNode, x: &Constant, indices: &Constant) -> Result<Constant, String> {
    if x.shape().len() != 1 || indices.shape().len() > 1 || !matches!(node.int_or("axis", 0), 0 | -1) {
        return Err(format!("takes parts of a constant of the shape {}; lists are read", short(x.shape())));
    }
    let list = x.numbers()?;
    let at = |&i: &i64| axis(i, list.len()).map(|i| list[i]);
    let values = indices.ints()?.iter().map(at).collect::<Result<_, _>>()?;
    Ok(Constant::Numbers { shape: indices.shape().to_vec(), values })
}

/// `Slice` of a small tensor, along any axes, with any step.
fn slice(node: &OnnxNode, opset: i64, x: &Constant, inputs: &[Option<&Constant>]) -> Result<Constant, String> {
    let part = |key: &str, index: usize| match inputs.get(index).copied().flatten() {
        Some(input) if opset >= 10 => input.ints().map(Some),
        _ => Ok(node.ints(key).map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (part("starts", 1)?.unwrap_or_default(), part("ends", 2)?.unwrap_or_default());
    let axes = part("axes", 3)?.unwrap_or((0..starts.len() as i64).collect());
    let steps = part("steps", 4)?.unwrap_or(vec![1; starts.len()]);
    let count = starts.len();
    if [ends.len(), axes.len(), steps.len()] != [count; 3] || count > x.shape().len() || steps.contains(&0) {
        return Err(format!("cuts the shape {} from {} to {}", short(x.shape()), short(&starts), short(&ends)));
    }
    let (mut shape, mut values) = (x.shape().to_vec(), x.numbers()?);
    for i in 0..count {
        let along = axis(axes[i], shape.len())?;
        let length = shape[along] as i64;
        // With a negative step, the end may be before the first element.
        let (least, most) = if steps[i] > 0 { (0, length) } else { (-1, length - 1) };
        let index = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(least, most);
        let (mut at, end) = (index(starts[i]), index(ends[i]));
        let mut kept = Vec::new();
        while if steps[i] > 0 { at < end } else { at > end } {
            kept.push(at as usize);
            at = at.saturating_add(steps[i]);
        }
        let inner: usize = shape[along + 1..].iter().product();
        let outer: usize = shape[..along].iter().product();
        let row = |o: usize, k: usize| {
            let start = (o * shape[along] + k) * inner;
            values[start..start + inner].iter().copied()
        };
        let cut = (0..outer).flat_map(|o| kept.iter().flat_map(move |&k| row(o, k)).collect::<Vec<f64>>()).collect();
        shape[along] = kept.len();
        values = cut;
    }
    Ok(Constant::Numbers { shape, values })
}

/// Elementwise; the shapes are equal, or one is a scalar.
fn arithmetic(a: &Constant, b: &Constant, f: impl Fn(f64, f64) -> f64) -> Result<Constant, String> {
    let (x, y) = (a.numbers()?, b.numbers()?);
    let shape = if x.len() >= y.len() { a.shape() } else { b.shape() }.to_vec();
    let values = match (&x[..], &y[..]) {
        (x, y) if a.shape() == b.shape() => x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect(),
        (x, [y]) => x.iter().map(|&x| f(x, *y)).collect(),
        ([x], y) => y.iter().map(|&y| f(*x, y)).collect(),
        _ => return Err(format!("joins constants of the shapes {} and {}", short(a.shape()), short(b.shape()))),
    };
    Ok(Constant::Numbers { shape, values })
}
