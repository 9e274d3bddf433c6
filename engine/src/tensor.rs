//! Tensors: a shape and a shared, immutable buffer. No type parameters: type and device are values.

use crate::error::{Error, Result};
use crate::shape::Shape;
use convscope_kernels::{Buffer, DType, Device, Element};
use std::sync::Arc;

/// A contiguous row-major array of f32, f64 or u32 numbers on a device. Cloning shares the data.
///
/// ```
/// # use convscope_engine::{Tensor};
/// let x = Tensor::from_slice([2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(x.shape()[..], [2, 3]);
/// assert_eq!(x.reshape([3, 2])?.f32()[4], 5.0);
/// assert_eq!(x.map(|v| v * v).f32()[5], 36.0);
/// assert!(Tensor::from_slice([2], &[1.0f32]).is_err());
/// # Ok::<(), convscope_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Shape,
    data: Arc<Buffer>,
}

/// The bytes of a buffer of `f32` numbers.
struct Bytes(Arc<Buffer>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.0.as_slice::<f32>())
    }
}

impl Tensor {
    /// A tensor over a buffer of as many elements.
    ///
    /// # Errors
    /// If the buffer has another length than the shape.
    pub fn new(shape: impl Into<Shape>, data: impl Into<Arc<Buffer>>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        if shape.len() != data.len() {
            return Err(Error::Length { len: data.len(), shape });
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor holding a copy of `values`.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    ///
    /// ```
    /// # use convscope_engine::{Tensor};
    /// assert_eq!(Tensor::from_slice([1], &[2.5f64])?.item()?, 2.5);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn from_slice<T: Element>(shape: impl Into<Shape>, values: &[T]) -> Result<Self> {
        Self::new(shape, Buffer::from_slice(values))
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Self {
        let shape = shape.into();
        let data = Arc::new(Buffer::zeros(dtype, shape.len()));
        Tensor { shape, data }
    }

    /// A tensor of one number.
    pub fn full(shape: impl Into<Shape>, dtype: DType, value: f64) -> Self {
        let shape = shape.into();
        let data = match dtype {
            DType::F64 => Buffer::from_slice(&vec![value; shape.len()]),
            _ => Buffer::from_slice(&vec![value as f32; shape.len()]),
        };
        Tensor { shape, data: Arc::new(data) }
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Where the data are.
    pub fn device(&self) -> Device {
        self.data.device()
    }

    /// The same numbers on this device: copied there on first use, and that copy is kept as long as this tensor.
    ///
    /// # Errors
    /// If the device cannot be used or has no room.
    pub fn on(&self, device: Device) -> Result<Self> {
        if device == self.device() {
            return Ok(self.clone());
        }
        Ok(Tensor { shape: self.shape.clone(), data: self.data.on(device)? })
    }

    /// A new buffer of so many elements, of this type and on this device. Its contents are unspecified.
    pub(crate) fn room(&self, len: usize) -> Buffer {
        self.data.like(self.dtype(), len)
    }

    /// The data.
    pub fn buffer(&self) -> &Buffer {
        &self.data
    }

    /// The data, shared.
    pub fn shared(&self) -> Arc<Buffer> {
        self.data.clone()
    }

    /// The elements of an f32 tensor; from a device they come down on first use.
    ///
    /// # Panics
    /// If the tensor is of another type.
    pub fn f32(&self) -> &[f32] {
        self.data.as_slice()
    }

    /// The elements of an f64 tensor; from a device they come down on first use.
    ///
    /// # Panics
    /// If the tensor is of another type.
    pub fn f64(&self) -> &[f64] {
        self.data.as_slice()
    }

    /// The elements of an f32 or f64 tensor, widened to f64.
    ///
    /// # Panics
    /// If the tensor is of another type.
    pub fn to_f64(&self) -> Vec<f64> {
        self.cast(DType::F64).f64().to_vec()
    }

    /// The one number of a tensor of length 1, such as a loss.
    ///
    /// # Errors
    /// If there are more or fewer.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64()[..] {
            [value] => Ok(value),
            _ => Err(Error::Length { len: 1, shape: self.shape.clone() }),
        }
    }

    /// `f` of each element, computed in f64 and rounded to the tensor's type. A plain loop on the host.
    ///
    /// # Panics
    /// If the tensor is not f32 or f64.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        self.like(self.to_f64().into_iter().map(f).collect())
    }

    /// `f` of each pair of elements of two tensors of one length, as [`Tensor::map`].
    ///
    /// # Errors
    /// If the lengths differ.
    ///
    /// # Panics
    /// If a tensor is not f32 or f64.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Result<Self> {
        if self.len() != other.len() {
            return Err(Error::Length { len: other.len(), shape: self.shape.clone() });
        }
        Ok(self.like(self.to_f64().into_iter().zip(other.to_f64()).map(|(x, y)| f(x, y)).collect()))
    }

    /// As many values under this shape, in this type.
    fn like(&self, values: Vec<f64>) -> Self {
        Tensor { shape: self.shape.clone(), data: Arc::new(Buffer::from_slice(&values).cast(self.dtype())) }
    }

    /// The same data under another shape of as many elements.
    ///
    /// # Errors
    /// If the new shape has more or fewer.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        Self::new(shape, self.data.clone())
    }

    /// The same `f32` numbers, without what kernels have prepared of them: that is made anew, and given up with this tensor.
    /// Tensors of other types are cloned.
    pub fn alias(&self) -> Self {
        let data = match self.dtype() {
            DType::F32 => Buffer::from_shared(DType::F32, self.len(), Arc::new(Bytes(self.shared())), 0),
            _ => None,
        };
        Tensor { shape: self.shape.clone(), data: data.map_or_else(|| self.shared(), Arc::new) }
    }

    /// The same numbers in another real type.
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype() {
            return self.clone();
        }
        Tensor { shape: self.shape.clone(), data: Arc::new(self.data.cast(dtype)) }
    }
}
