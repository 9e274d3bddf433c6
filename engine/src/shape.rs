//! Shapes.

use std::fmt;
use std::ops::Deref;

/// Sizes of the dimensions of a tensor, outermost first. Image stacks are `[n, c, h, w]`: images, channels, height, width.
///
/// ```
/// use convscope_engine::Shape;
///
/// let shape = Shape::from([8, 3, 224, 224]);
/// assert_eq!(shape.len(), 8 * 3 * 224 * 224);
/// assert_eq!(shape.nchw(), Some([8, 3, 224, 224]));
/// assert_eq!((shape[1], shape.to_string().as_str()), (3, "[8,3,224,224]"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sizes if this is an image stack `[n, c, h, w]`.
    pub fn nchw(&self) -> Option<[usize; 4]> {
        self.0.as_slice().try_into().ok()
    }

    /// The sizes if this is a matrix `[rows, cols]`.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        self.0.as_slice().try_into().ok()
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<T: Into<Vec<usize>>> From<T> for Shape {
    fn from(sizes: T) -> Self {
        Shape(sizes.into())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("[")?;
        for (i, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
