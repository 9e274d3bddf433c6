//! Conversion of weight layouts to PyTorch's.

use super::{StoredTensor, WeightsError};

/// Conversion of a stored tensor to a parameter in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// No conversion.
    Same,
    /// TensorFlow's convolution `[h, w, in, out]` to `[out, in, h, w]`.
    Hwio,
    /// TensorFlow's depthwise convolution `[h, w, channels, multiplier]` to `[channels * multiplier, 1, h, w]`.
    Hwcm,
    /// TensorFlow's dense layer `[in, out]` to `[out, in]`. The inputs are these feature maps `[channels, h, w]`, one after
    /// another; TensorFlow flattens them pixel by pixel, PyTorch channel by channel. A plain vector of `n` is `[n, 1, 1]`.
    Dense(Vec<[usize; 3]>),
    /// One value per value of these maps, as in [`Layout::Dense`], with any extents of 1 in between.
    Flat(Vec<[usize; 3]>),
    /// This constant in place of each stored value, for a parameter that the file lacks; the shape is another tensor's.
    Filled(f32),
}

impl Layout {
    /// The shape after conversion; `None` if the layout does not apply to a tensor of shape `stored`.
    pub(super) fn shape(&self, stored: &[usize]) -> Option<Vec<usize>> {
        match (self, stored) {
            (Self::Same | Self::Filled(_), _) => Some(stored.to_vec()),
            (Self::Hwio, &[h, w, i, o]) => Some(vec![o, i, h, w]),
            (Self::Hwcm, &[h, w, c, m]) => Some(vec![c.checked_mul(m)?, 1, h, w]),
            (Self::Dense(maps), &[i, o]) => (values_of(maps)? == i).then(|| vec![o, i]),
            (Self::Flat(maps), _) => {
                let total = stored.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent))?;
                (values_of(maps)? == total).then(|| vec![total])
            }
            _ => None,
        }
    }

    /// The values of a tensor of shape `stored` in the new order. `values` holds the product of `stored`.
    pub(super) fn apply<T: Copy>(&self, stored: &[usize], values: &[T], filled: impl Fn(f32) -> T) -> Vec<T> {
        // With one extent of 0, the others may be arbitrary.
        if values.is_empty() {
            return Vec::new();
        }
        match (self, stored) {
            (Self::Filled(value), _) => vec![filled(*value); values.len()],
            (Self::Hwio, &[h, w, i, o]) => gather([o, i, h, w], [1, o, w * i * o, i * o], values),
            (Self::Hwcm, &[h, w, c, m]) => gather([c, m, h, w], [m, 1, w * c * m, c * m], values),
            (Self::Dense(maps), &[_, o]) => {
                let rows = by_channel(maps);
                (0..o).flat_map(|column| rows.iter().map(move |row| values[row * o + column])).collect()
            }
            (Self::Flat(maps), _) => by_channel(maps).into_iter().map(|at| values[at]).collect(),
            _ => values.to_vec(),
        }
    }
}

/// Number of values of maps `[channels, h, w]`.
fn values_of(maps: &[[usize; 3]]) -> Option<usize> {
    let length = |map: &[usize; 3]| map.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    maps.iter().try_fold(0usize, |sum, map| sum.checked_add(length(map)?))
}

/// For each value of maps `[channels, h, w]` in channel order, its index in pixel order.
fn by_channel(maps: &[[usize; 3]]) -> Vec<usize> {
    let mut indices = Vec::new();
    for &[c, h, w] in maps {
        let start = indices.len();
        indices.extend((0..c).flat_map(|c_| (0..h * w).map(move |pixel| start + pixel * c + c_)));
    }
    indices
}

/// The values of an array with these extents and `strides`, in row-major order.
fn gather<T: Copy>([a, b, c, d]: [usize; 4], strides: [usize; 4], values: &[T]) -> Vec<T> {
    let mut gathered = Vec::with_capacity(values.len());
    for i in 0..a {
        for j in 0..b {
            for k in 0..c {
                let start = i * strides[0] + j * strides[1] + k * strides[2];
                gathered.extend((0..d).map(|l| values[start + l * strides[3]]));
            }
        }
    }
    gathered
}

impl StoredTensor {
    /// This tensor under another name and in PyTorch's layout, still in its file.
    ///
    /// # Errors
    /// [`WeightsError`] if the layout does not apply to the tensor's shape.
    pub fn rearranged(&self, name: String, layout: Layout) -> Result<Self, WeightsError> {
        let Some(shape) = layout.shape(&self.shape) else {
            let reason = format!("has the shape {:?}, which does not fit the layer that reads it", self.shape);
            return Err(WeightsError::tensor(&self.path, &self.name, reason));
        };
        let data = super::stored::Data::Rearranged(Box::new(self.clone()), layout);
        Ok(Self { name, dtype: self.dtype, shape, data, path: self.path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers 0, 1, ... in the new order.
    fn order(layout: &Layout, stored: &[usize]) -> Vec<usize> {
        let length = if stored.contains(&0) { 0 } else { stored.iter().product() };
        let values: Vec<usize> = (0..length).collect();
        layout.apply(stored, &values, |_| 7)
    }

    #[test]
    fn tensorflow_to_pytorch() {
        // 1 x 2 pixels, 2 inputs, 3 outputs: value = pixel * 6 + input * 3 + output.
        assert_eq!(Layout::Hwio.shape(&[1, 2, 2, 3]).unwrap(), [3, 2, 1, 2]);
        assert_eq!(order(&Layout::Hwio, &[1, 2, 2, 3]), [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11]);
        assert_eq!(Layout::Hwcm.shape(&[1, 2, 2, 3]).unwrap(), [6, 1, 1, 2]);
        assert_eq!(order(&Layout::Hwcm, &[1, 2, 2, 3]), [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
        // A map of 2 channels and 1 x 2 pixels, then a vector of one.
        let dense = Layout::Dense(vec![[2, 1, 2], [1, 1, 1]]);
        assert_eq!(dense.shape(&[5, 2]).unwrap(), [2, 5]);
        assert_eq!(order(&dense, &[5, 2]), [0, 4, 2, 6, 8, 1, 5, 3, 7, 9]);
        assert_eq!(order(&Layout::Filled(1.0), &[3]), [7, 7, 7]);
        let flat = Layout::Flat(vec![[2, 1, 2], [1, 1, 1]]);
        assert_eq!((flat.shape(&[1, 5]).unwrap(), order(&flat, &[1, 5])), (vec![5], vec![0, 2, 1, 3, 4]));
        assert_eq!(flat.shape(&[4]), None);
    }

    #[test]
    fn nothing_stays_nothing() {
        let huge = 1 << 40;
        assert!(order(&Layout::Hwio, &[0, huge, huge, huge]).is_empty());
        assert!(order(&Layout::Dense(vec![[huge, 1, 1]]), &[huge, 0]).is_empty());
    }

    #[test]
    fn what_does_not_fit() {
        assert_eq!(Layout::Hwio.shape(&[3, 3]), None);
        assert_eq!(Layout::Dense(vec![[2, 2, 2]]).shape(&[9, 4]), None);
        assert_eq!(Layout::Dense(vec![[usize::MAX, 2, 2]]).shape(&[9, 4]), None);
        assert_eq!(Layout::Hwcm.shape(&[1, 1, usize::MAX, 2]), None);
    }
}
