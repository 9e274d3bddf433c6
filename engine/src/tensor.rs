//! Tensors: a shape and a shared, immutable buffer. No type parameters: type and device are values.

use crate::error::{Error, Result};
use crate::shape::Shape;
use convscope_kernels::{Buffer, DType, Device, Element};
use std::sync::Arc;

/// A contiguous row-major array of f32, f64 or u32 values on a device. Clones share the data.
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

/// The bytes of a buffer of `f32` values.
struct Bytes(Arc<Buffer>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.0.as_slice::<f32>())
    }
}

impl Tensor {
    /// A tensor over a buffer of equally many elements.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the length of the buffer differs from the shape's.
    pub fn new(shape: impl Into<Shape>, data: impl Into<Arc<Buffer>>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        if shape.len() != data.len() {
            return Err(Error::Length { len: data.len(), shape });
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor with a copy of `values`.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the number of values differs from the shape's.
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

    /// A tensor of equal values.
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

    /// Device of the data.
    pub fn device(&self) -> Device {
        self.data.device()
    }

    /// This tensor on `device`, copied on first use. The copy lives as long as this tensor.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the device is unavailable or its memory is exhausted.
    pub fn on(&self, device: Device) -> Result<Self> {
        if device == self.device() {
            return Ok(self.clone());
        }
        Ok(Tensor { shape: self.shape.clone(), data: self.data.on(device)? })
    }

    /// An uninitialised buffer of `len` elements, of this type and on this device.
    pub(crate) fn buffer_like(&self, len: usize) -> Buffer {
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

    /// The elements of an f32 tensor, copied from a device on first use.
    ///
    /// # Panics
    /// If the tensor is of another type.
    pub fn f32(&self) -> &[f32] {
        self.data.as_slice()
    }

    /// The elements of an f64 tensor, copied from a device on first use.
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

    /// The value of a tensor of length 1, such as a loss.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the length is not 1.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64()[..] {
            [value] => Ok(value),
            _ => Err(Error::NotOne { shape: self.shape.clone() }),
        }
    }

    /// `f` of each element, in f64, rounded to the tensor's type. A plain loop on the host.
    ///
    /// # Panics
    /// If the tensor is not f32 or f64.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        self.like(self.to_f64().into_iter().map(f).collect())
    }

    /// `f` of each pair of elements of two tensors of equal length, as [`Tensor::map`].
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the lengths differ.
    ///
    /// # Panics
    /// If a tensor is not f32 or f64.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Result<Self> {
        if self.len() != other.len() {
            return Err(Error::Length { len: other.len(), shape: self.shape.clone() });
        }
        Ok(self.like(self.to_f64().into_iter().zip(other.to_f64()).map(|(x, y)| f(x, y)).collect()))
    }

    /// A tensor of the same shape and type with other values.
    fn like(&self, values: Vec<f64>) -> Self {
        Tensor { shape: self.shape.clone(), data: Arc::new(Buffer::from_slice(&values).cast(self.dtype())) }
    }

    /// The same data in another shape of equal size.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the sizes differ.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        Self::new(shape, self.data.clone())
    }

    /// The same `f32` values without the kernels' cached transforms, which are made anew and freed with this tensor.
    /// Tensors of other types are cloned.
    pub fn alias(&self) -> Self {
        let data = match self.dtype() {
            DType::F32 => Buffer::from_shared(DType::F32, self.len(), Arc::new(Bytes(self.shared())), 0),
            _ => None,
        };
        Tensor { shape: self.shape.clone(), data: data.map_or_else(|| self.shared(), Arc::new) }
    }

    /// The same values in another real type.
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype() {
            return self.clone();
        }
        Tensor { shape: self.shape.clone(), data: Arc::new(self.data.cast(dtype)) }
    }
}
