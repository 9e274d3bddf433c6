//! Buffers: aligned bytes with a dtype tag, in host memory (from the pool of `memory`) or in a device's.
//!
//! A buffer is written while it is uniquely owned and shared (in an `Arc`) afterwards, so there are no locks around data.

use crate::core::device::{DType, Device, Element};
use crate::core::error::Result;
use crate::core::memory::Block;
use crate::cuda::devices;
use crate::cuda::queue::{DeviceBlock, Queue};
use std::sync::{Arc, OnceLock};

pub use crate::core::memory::ALIGN;

/// Bytes that a buffer may borrow instead of owning, such as a memory-mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// One-dimensional memory of `len` elements of `dtype`.
///
/// ```
/// use convscope_kernels::{Buffer, DType, Device};
///
/// let mut x = Buffer::from_slice(&[1.0f32, 2.0, 3.0]);
/// x.as_mut_slice::<f32>()[0] = -1.0;
/// assert_eq!(x.as_slice::<f32>(), [-1.0, 2.0, 3.0]);
/// assert_eq!((x.len(), x.dtype(), x.device()), (3, DType::F32, Device::Cpu));
/// ```
pub struct Buffer {
    dtype: DType,
    len: usize,
    /// Bytes from the start of `bytes` to element 0.
    offset: usize,
    bytes: Bytes,
    /// Results that kernels prepared from these (weight) values: packed panels, Winograd transforms. Lives and dies with them.
    prepared: OnceLock<Box<Prepared>>,
}

enum Bytes {
    Owned(Block),
    Shared(SharedBytes),
    Device(DeviceBlock),
}

struct Prepared {
    key: String,
    value: Arc<Buffer>,
    next: OnceLock<Box<Prepared>>,
}

impl Buffer {
    /// A buffer whose contents are unspecified (but initialised) numbers.
    pub fn new(dtype: DType, len: usize) -> Self {
        Self::owned(dtype, len, 0, len * dtype.size())
    }

    /// A buffer of zeros.
    pub fn zeros(dtype: DType, len: usize) -> Self {
        let mut b = Self::new(dtype, len);
        b.bytes_mut().fill(0);
        b
    }

    /// A buffer holding a copy of `values`.
    pub fn from_slice<T: Element>(values: &[T]) -> Self {
        let mut b = Self::new(T::DTYPE, values.len());
        b.as_mut_slice().copy_from_slice(values);
        b
    }

    /// A buffer of another length and type on the same device. Its contents are unspecified.
    pub fn like(&self, dtype: DType, len: usize) -> Self {
        match &self.bytes {
            Bytes::Device(block) => Self::device_buffer(block.queue(), dtype, len, 0, len * dtype.size()),
            _ => Self::new(dtype, len),
        }
    }

    fn device_buffer(queue: &'static Queue, dtype: DType, len: usize, offset: usize, size: usize) -> Self {
        Buffer { dtype, len, offset, bytes: Bytes::Device(queue.allocate(size)), prepared: OnceLock::new() }
    }

    /// A buffer over bytes that live elsewhere, without a copy; `None` when they are too short or not aligned for `dtype`.
    pub fn from_shared(dtype: DType, len: usize, bytes: SharedBytes, offset: usize) -> Option<Self> {
        let range = (*bytes).as_ref().get(offset..)?.get(..len.checked_mul(dtype.size())?)?;
        if !(range.as_ptr() as usize).is_multiple_of(dtype.size()) {
            return None;
        }
        Some(Buffer { dtype, len, offset, bytes: Bytes::Shared(bytes), prepared: OnceLock::new() })
    }

    /// A buffer with `guard` spare elements on either side (see [`crate::verify::check`]).
    pub(crate) fn with_guards(dtype: DType, len: usize, guard: usize) -> Self {
        Self::owned(dtype, len, guard * dtype.size(), (len + 2 * guard) * dtype.size())
    }

    fn owned(dtype: DType, len: usize, offset: usize, size: usize) -> Self {
        Buffer { dtype, len, offset, bytes: Bytes::Owned(Block::take(size)), prepared: OnceLock::new() }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the memory is.
    pub fn device(&self) -> Device {
        match &self.bytes {
            Bytes::Device(block) => block.device(),
            _ => Device::Cpu,
        }
    }

    fn device_block(&self) -> &DeviceBlock {
        match &self.bytes {
            Bytes::Device(block) => block,
            _ => unreachable!("tables check the device of every buffer before a kernel runs"),
        }
    }

    /// The queue of the device it is on.
    pub(crate) fn queue(&self) -> &'static Queue {
        self.device_block().queue()
    }

    /// Where the elements lie in device memory, to be read.
    pub(crate) fn address(&self) -> u64 {
        self.device_block().address() + self.offset as u64
    }

    /// Where they lie, to be written: what was made of the old values is dropped.
    pub(crate) fn address_mut(&mut self) -> u64 {
        self.prepared = OnceLock::new();
        self.address()
    }

    /// The same numbers on another device: copied on first use and kept as long as this buffer, so that weights go up once and
    /// results come down once.
    ///
    /// # Errors
    /// If the device cannot be used, is out of memory, or failed before.
    pub fn on(&self, device: Device) -> Result<Arc<Buffer>> {
        let key = device.to_string();
        if let Some(there) = self.kept(&key) {
            return Ok(there.clone());
        }
        let made = match device {
            Device::Cpu => self.down()?,
            Device::Cuda(_) => self.up(devices::queue(device)?)?,
        };
        Ok(self.prepared(&key, || made).clone())
    }

    /// All bytes of an own allocation, or those of the elements; and how many of them lie before element 0.
    fn whole(&self) -> (&[u8], usize) {
        match &self.bytes {
            Bytes::Owned(block) => (&block.as_ref()[..2 * self.offset + self.len * self.dtype.size()], self.offset),
            _ => (self.bytes(), 0),
        }
    }

    /// A copy on a CUDA device, guards and all.
    pub(crate) fn up(&self, queue: &'static Queue) -> Result<Buffer> {
        let (bytes, offset) = self.whole();
        let mut there = Self::device_buffer(queue, self.dtype, self.len, offset, bytes.len());
        if let Bytes::Device(block) = &mut there.bytes {
            block.upload(bytes)?;
        }
        Ok(there)
    }

    /// A copy on the host, guards and all.
    pub(crate) fn down(&self) -> Result<Buffer> {
        let size = 2 * self.offset + self.len * self.dtype.size();
        let mut here = Self::owned(self.dtype, self.len, self.offset, size);
        if let Bytes::Owned(block) = &mut here.bytes {
            self.device_block().download(&mut block.as_mut()[..size])?;
        }
        Ok(here)
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len * self.dtype.size()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        match &mut self.bytes {
            Bytes::Owned(b) => &mut b.as_mut()[range],
            Bytes::Shared(_) => unreachable!("a borrowed buffer is never handed out for writing"),
            Bytes::Device(_) => unreachable!("tables check the device of every buffer before a kernel runs"),
        }
    }

    /// The elements, as they lie in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Owned(b) => b.as_ref(),
            Bytes::Shared(s) => (**s).as_ref(),
            // Kept with this buffer, so it may be lent as long.
            Bytes::Device(_) => {
                return match self.on(Device::Cpu) {
                    Ok(_) => self.kept(&Device::Cpu.to_string()).map_or(&[], |here| here.bytes()),
                    Err(e) => panic!("{e}"),
                };
            }
        };
        &bytes[self.range()]
    }

    /// The elements. Those on a device are copied to the host first, once.
    ///
    /// # Panics
    /// If `T` is not the type of the buffer: tables check this before a kernel runs. If the device was lost.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert_eq!(self.dtype, T::DTYPE, "a {} buffer was read as {}", self.dtype, T::DTYPE);
        bytemuck::cast_slice(self.bytes())
    }

    /// The elements, to be written. Borrowed bytes are copied first; prepared forms of the old values are dropped.
    ///
    /// # Panics
    /// If `T` is not the type of the buffer.
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(self.dtype, T::DTYPE, "a {} buffer was written as {}", self.dtype, T::DTYPE);
        if let Bytes::Shared(_) = self.bytes {
            *self = Buffer::from_slice(self.as_slice::<T>());
        }
        self.prepared = OnceLock::new();
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// The whole allocation with its guards, for [`crate::verify::check`].
    pub(crate) fn guarded_slice_mut<T: Element>(&mut self) -> &mut [T] {
        match &mut self.bytes {
            Bytes::Owned(b) => bytemuck::cast_slice_mut(&mut b.as_mut()[..2 * self.offset + self.len * T::DTYPE.size()]),
            Bytes::Shared(_) | Bytes::Device(_) => unreachable!("guarded buffers are owned, and checked on the host"),
        }
    }

    /// The prepared result of these values under `key`, if there is one.
    fn kept(&self, key: &str) -> Option<&Arc<Buffer>> {
        find(&self.prepared, key).ok()
    }

    /// The result of `make` on these values, computed once per `key` and kept as long as the buffer.
    ///
    /// ```
    /// use convscope_kernels::Buffer;
    ///
    /// let mut w = Buffer::from_slice(&[1.0f32, 2.0]);
    /// let reversed = || Buffer::from_slice(&[2.0f32, 1.0]);
    /// assert_eq!(w.prepared("reversed", reversed).as_slice::<f32>(), [2.0, 1.0]);
    /// w.prepared("reversed", || unreachable!("it is kept"));
    /// w.as_mut_slice::<f32>()[0] = 5.0; // A change of the values drops it.
    /// w.prepared("reversed", || Buffer::from_slice(&[2.0f32, 5.0]));
    /// ```
    pub fn prepared(&self, key: &str, make: impl FnOnce() -> Buffer) -> &Arc<Buffer> {
        let mut end = match find(&self.prepared, key) {
            Ok(value) => return value,
            Err(end) => end,
        };
        // Made outside of any cell: packing uses threads, and one of them may come back here for the same buffer.
        let mut node = Box::new(Prepared { key: key.to_string(), value: Arc::new(make()), next: OnceLock::new() });
        while let Err(mine) = end.set(node) {
            // Someone else was faster; with the same key, theirs serves.
            match find(end, key) {
                Ok(value) => return value,
                Err(next) => (node, end) = (mine, next),
            }
        }
        find(end, key).unwrap_or_else(|_| unreachable!("the link was just set"))
    }

    /// A copy in another real type (f32 to f64 for the oracle and back); `u32` buffers are copied as they are.
    ///
    /// ```
    /// use convscope_kernels::{Buffer, DType};
    ///
    /// let x = Buffer::from_slice(&[0.5f32, 2.0]);
    /// assert_eq!(x.cast(DType::F64).as_slice::<f64>(), [0.5, 2.0]);
    /// ```
    pub fn cast(&self, dtype: DType) -> Buffer {
        match (self.dtype, dtype) {
            (DType::F32, DType::F64) => {
                let mut b = Buffer::new(dtype, self.len);
                b.as_mut_slice::<f64>().iter_mut().zip(self.as_slice::<f32>()).for_each(|(d, s)| *d = f64::from(*s));
                b
            }
            (DType::F64, DType::F32) => {
                let mut b = Buffer::new(dtype, self.len);
                b.as_mut_slice::<f32>().iter_mut().zip(self.as_slice::<f64>()).for_each(|(d, s)| *d = *s as f32);
                b
            }
            _ => self.clone(),
        }
    }
}

/// The value of this key, or the cell for it.
fn find<'a>(mut cell: &'a OnceLock<Box<Prepared>>, key: &str) -> Result<&'a Arc<Buffer>, &'a OnceLock<Box<Prepared>>> {
    while let Some(node) = cell.get() {
        if node.key == key {
            return Ok(&node.value);
        }
        cell = &node.next;
    }
    Err(cell)
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        if let Bytes::Device(from) = &self.bytes {
            let size = 2 * self.offset + self.len * self.dtype.size();
            let mut copy = Self::device_buffer(from.queue(), self.dtype, self.len, self.offset, size);
            if let Bytes::Device(to) = &mut copy.bytes {
                to.copy(from);
            }
            return copy;
        }
        match self.dtype {
            DType::F32 => Buffer::from_slice(self.as_slice::<f32>()),
            DType::F64 => Buffer::from_slice(self.as_slice::<f64>()),
            DType::U32 => Buffer::from_slice(self.as_slice::<u32>()),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Buffer({} x {} on {})", self.len, self.dtype, self.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_bytes_are_read_in_place_and_copied_on_write() {
        let owner: SharedBytes = Arc::new(bytemuck::cast_slice::<f32, u8>(&[1.0, 2.0, 3.0, 4.0]).to_vec());
        let mut b = Buffer::from_shared(DType::F32, 2, owner.clone(), 4);
        if let Some(b) = &mut b {
            assert_eq!(b.as_slice::<f32>(), [2.0, 3.0]);
            b.as_mut_slice::<f32>()[0] = 9.0;
            assert_eq!(b.as_slice::<f32>(), [9.0, 3.0]);
        }
        assert!(Buffer::from_shared(DType::F32, 4, owner.clone(), 4).is_none(), "past the end");
        assert!(Buffer::from_shared(DType::F32, usize::MAX, owner, 0).is_none(), "overflow");
    }

    #[test]
    fn prepared_values_are_made_once_and_dropped_when_written() {
        let mut b = Buffer::from_slice(&[1.0f32]);
        let mut made = 0;
        for _ in 0..2 {
            for key in ["a", "b"] {
                b.prepared(key, || {
                    made += 1;
                    Buffer::from_slice(&[2.0f32])
                });
            }
        }
        assert_eq!(made, 2);
        b.as_mut_slice::<f32>()[0] = 5.0;
        b.prepared("a", || {
            made += 1;
            Buffer::from_slice(&[2.0f32])
        });
        assert_eq!(made, 3);
    }
}
