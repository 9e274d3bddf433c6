//! Padding of windows, and its amount for a given input size.

use serde::{Deserialize, Serialize};

/// Padding of a convolution or pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// A fixed amount at `[top, bottom, left, right]`.
    Sides([usize; 4]),
    /// TensorFlow's `same`: the output is `ceil(extent / stride)`, and an odd pixel is at the bottom and right
    /// (<https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2>). The amount depends on the input's size: at stride
    /// 2, a 3x3 window pads one row below an even map, and one on either side of an odd one.
    Same,
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self::Sides([0; 4]);

    /// The amount at `[top, bottom, left, right]` of an input of `[height, width]`, for windows of these hyperparameters.
    pub fn sides(self, size: [usize; 2], kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> [usize; 4] {
        match self {
            Self::Sides(sides) => sides,
            Self::Same => {
                let axis = |i: usize| {
                    let span = kernel[i].saturating_sub(1).saturating_mul(dilation[i]).saturating_add(1);
                    same(size[i], span, stride[i].max(1))
                };
                let ([top, bottom], [left, right]) = (axis(0), axis(1));
                [top, bottom, left, right]
            }
        }
    }
}

fn same(extent: usize, span: usize, stride: usize) -> [usize; 2] {
    let reach = (extent.div_ceil(stride).saturating_sub(1)).saturating_mul(stride).saturating_add(span);
    let total = reach.saturating_sub(extent);
    [total / 2, total - total / 2]
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn same_is_one_sided_at_stride_2() {
        assert_eq!(same(64, 3, 2), [0, 1]);
        assert_eq!(same(63, 3, 2), [1, 1]);
        assert_eq!(same(64, 3, 1), [1, 1]);
        assert_eq!(same(64, 1, 2), [0, 0]);
        assert_eq!(same(7, 4, 3), [1, 2]);
        assert_eq!(same(5, 2, 1), [0, 1]);
    }
}
