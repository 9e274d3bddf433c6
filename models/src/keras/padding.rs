//! `valid`, `same` and `ZeroPadding2D` as numbers.

use super::fields::Spec;

/// `[top, bottom, left, right]`.
pub(super) type Sides = [usize; 4];

/// What `padding` of a layer with these windows adds around a map of `[height, width]`.
///
/// TensorFlow's `same` makes the output `ceil(extent / stride)` and adds what that takes, the odd pixel at the bottom and right
/// (<https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2>).
pub(super) fn sides(
    spec: &Spec,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Result<Sides, String> {
    match spec.word_or("padding", "valid")?.to_ascii_lowercase().as_str() {
        "valid" => Ok([0; 4]),
        "same" => {
            let axis = |i: usize| same(size[i], kernel[i].saturating_sub(1) * dilation[i] + 1, stride[i].max(1));
            let ([top, bottom], [left, right]) = (axis(0), axis(1));
            Ok([top, bottom, left, right])
        }
        other => Err(spec.error(format!("has padding {other:?}, wants valid or same"))),
    }
}

fn same(extent: usize, span: usize, stride: usize) -> [usize; 2] {
    let reach = (extent.div_ceil(stride).saturating_sub(1)).saturating_mul(stride).saturating_add(span);
    let total = reach.saturating_sub(extent);
    [total / 2, total - total / 2]
}

/// Both paddings together.
pub(super) fn sum(a: Sides, b: Sides) -> Sides {
    std::array::from_fn(|i| a[i].saturating_add(b[i]))
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
