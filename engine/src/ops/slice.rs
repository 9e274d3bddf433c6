//! A block of an image stack: channels, pixels, strided pixels; optionally with zero channels around it.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity, images};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::copy::{BWD, CopySpec, FWD};

/// `x [n,c,h,w]` -> `[n, before + count + after, oh, ow]`: channels `from..from+count`, pixels from `origin` by `stride`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// First channel.
    pub from: usize,
    /// Number of channels.
    pub count: usize,
    /// Zero channels before and after.
    pub pad: [usize; 2],
    /// First row and column.
    pub origin: [usize; 2],
    /// Number of rows and columns; `None` for all that the stride reaches.
    pub size: Option<[usize; 2]>,
    /// Stride.
    pub stride: [usize; 2],
}

impl Operation for Slice {
    type Spec = CopySpec;

    fn name(&self) -> &'static str {
        "Slice"
    }

    fn settings(&self) -> String {
        format!("{}+{} pad{:?} s{}", self.from, self.count, self.pad, self.stride[0]).replace(", ", ",")
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, CopySpec), String> {
        let [x] = arity(xs)?;
        let [n, c, h, w] = images(x)?;
        if self.stride.contains(&0) {
            return Err("the stride must be at least 1".to_string());
        }
        let rest = |axis: usize, len: usize| len.saturating_sub(self.origin[axis]).div_ceil(self.stride[axis]);
        let [oh, ow] = self.size.unwrap_or([rest(0, h), rest(1, w)]);
        let to_shape = [self.pad[0] + self.count + self.pad[1], oh, ow];
        let spec = CopySpec {
            n,
            from_shape: [c, h, w],
            to_shape,
            from: self.from,
            to: self.pad[0],
            count: self.count,
            origin: self.origin,
            stride: self.stride,
        };
        if !spec.is_inside() || oh * ow == 0 {
            return Err(format!("{self:?} reaches outside"));
        }
        Ok(([n, to_shape[0], oh, ow].into(), spec))
    }

    fn forward(&self, spec: &CopySpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &CopySpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &BWD, spec, &[b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        let all = Slice { from: 0, count: 3, pad: [0, 0], origin: [0, 0], size: None, stride: [1, 1] };
        vec![
            Case::new(Slice { from: 1, count: 2, ..all }, [&[2, 4, 3, 2]]),
            Case::new(Slice { pad: [2, 1], stride: [2, 2], ..all }, [&[2, 3, 5, 4]]),
            Case::new(Slice { count: 1, origin: [1, 2], size: Some([1, 1]), ..all }, [&[1, 2, 3, 4]]),
            Case::new(Slice { origin: [2, 2], size: Some([2, 3]), ..all }, [&[1, 3, 6, 7]]),
        ]
    }
}

impl Tape {
    /// Channel `c` of `x [n,c,h,w]`, `[n,1,h,w]`.
    ///
    /// # Errors
    /// If there is no such channel, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2, 1, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.channel(x, 1)?;
    /// assert_eq!(tape.value(y)?.f32(), [3.0, 4.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn channel(&mut self, x: Var, c: usize) -> Result<Var> {
        self.slice(x, Slice { from: c, count: 1, pad: [0, 0], origin: [0, 0], size: None, stride: [1, 1] })
    }

    /// A block of `x [n,c,h,w]`, see [`Slice`].
    ///
    /// # Errors
    /// If the block is not inside, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::ops::Slice;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// // The bottom row of the one channel.
    /// let row = Slice { from: 0, count: 1, pad: [0, 0], origin: [1, 0], size: None, stride: [1, 1] };
    /// let y = tape.slice(x, row)?;
    /// assert_eq!(tape.value(y)?.f32(), [3.0, 4.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn slice(&mut self, x: Var, slice: Slice) -> Result<Var> {
        self.apply(slice, &[x])
    }
}
