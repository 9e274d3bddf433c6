//! Buffers: aligned bytes with a dtype tag, from the pool of `memory`.
//!
//! A buffer is written while it is uniquely owned and shared (in an `Arc`) afterwards, so there are no locks around data.

use crate::device::{DType, Device, Element};
use crate::memory::Block;
use std::sync::{Arc, OnceLock};

pub use crate::memory::ALIGN;

/// Bytes that a buffer may borrow instead of owning, such as a memory-mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// One-dimensional memory of `len` elements of `dtype`.
pub struct Buffer {
    dtype: DType,
    len: usize,
    /// Bytes from the start of `bytes` to element 0.
    offset: usize,
    bytes: Bytes,
    /// What kernels made of these (weight) values: packed panels, Winograd transforms. Lives and dies with them.
    prepared: OnceLock<Box<Prepared>>,
}

enum Bytes {
    Owned(Block),
    Shared(SharedBytes),
}

struct Prepared {
    key: String,
    value: Buffer,
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

    /// A buffer over bytes that live elsewhere, without a copy; `None` when they are too short or not aligned for `dtype`.
    pub fn from_shared(dtype: DType, len: usize, bytes: SharedBytes, offset: usize) -> Option<Self> {
        let part = (*bytes).as_ref().get(offset..)?.get(..len.checked_mul(dtype.size())?)?;
        if !(part.as_ptr() as usize).is_multiple_of(dtype.size()) {
            return None;
        }
        Some(Buffer { dtype, len, offset, bytes: Bytes::Shared(bytes), prepared: OnceLock::new() })
    }

    /// A buffer with `guard` elements of room on either side (see [`crate::check`]).
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
        Device::Cpu
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len * self.dtype.size()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        match &mut self.bytes {
            Bytes::Owned(b) => &mut b.as_mut()[range],
            Bytes::Shared(_) => unreachable!("a borrowed buffer is never handed out for writing"),
        }
    }

    /// The elements, as they lie in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Owned(b) => b.as_ref(),
            Bytes::Shared(s) => (**s).as_ref(),
        };
        &bytes[self.range()]
    }

    /// The elements.
    ///
    /// # Panics
    /// If `T` is not the type of the buffer: tables check this before a kernel runs.
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

    /// The whole allocation with its guards, for [`crate::check`].
    pub(crate) fn guarded_slice_mut<T: Element>(&mut self) -> &mut [T] {
        match &mut self.bytes {
            Bytes::Owned(b) => bytemuck::cast_slice_mut(&mut b.as_mut()[..2 * self.offset + self.len * T::DTYPE.size()]),
            Bytes::Shared(_) => unreachable!("guarded buffers are owned"),
        }
    }

    /// What `make` computes from these values, computed once per `key` and kept as long as the buffer.
    pub fn prepared(&self, key: &str, make: impl FnOnce() -> Buffer) -> &Buffer {
        fn find<'a>(mut cell: &'a OnceLock<Box<Prepared>>, key: &str) -> Result<&'a Buffer, &'a OnceLock<Box<Prepared>>> {
            while let Some(node) = cell.get() {
                if node.key == key {
                    return Ok(&node.value);
                }
                cell = &node.next;
            }
            Err(cell)
        }
        let mut end = match find(&self.prepared, key) {
            Ok(value) => return value,
            Err(end) => end,
        };
        // Made outside of any cell: packing uses threads, and one of them may come back here for the same buffer.
        let mut node = Box::new(Prepared { key: key.to_string(), value: make(), next: OnceLock::new() });
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

impl Clone for Buffer {
    fn clone(&self) -> Self {
        match self.dtype {
            DType::F32 => Buffer::from_slice(self.as_slice::<f32>()),
            DType::F64 => Buffer::from_slice(self.as_slice::<f64>()),
            DType::U32 => Buffer::from_slice(self.as_slice::<u32>()),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Buffer({} x {})", self.len, self.dtype)
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
