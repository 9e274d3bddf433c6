//! Suggestions for misspelt tensor names.

use crate::text::distance;

/// Cost of inserting or deleting a component of a dotted path, and the maximum cost of substituting one.
const COMPONENT: usize = 4;

/// Edit distance of two dotted paths over their components. Substituting a component costs in proportion to the changed
/// characters, so `layer1.0.conv3.weight` is nearer to `layer1.0.conv2.weight` than to `layer1.1.conv3.weight`, which has another
/// index.
pub(super) fn path_distance(a: &str, b: &str) -> usize {
    // Swapped indices are other positions, not a misspelling.
    let costs = Costs { gap: COMPONENT, swap: 2 * COMPONENT };
    align(&components(a), &components(b), costs, |x, y| {
        if x == y {
            return 0;
        }
        let longest = x.chars().count().max(y.chars().count()).max(1);
        (COMPONENT * distance(x, y)).div_ceil(longest)
    })
}

/// Costs of an alignment, besides substitutions.
#[derive(Clone, Copy)]
struct Costs {
    /// An item of one side only.
    gap: usize,
    /// Two swapped neighbours; never better than two gaps.
    swap: usize,
}

/// Cost of the cheapest alignment of two sequences; `exchange` is the cost of a substitution.
fn align<T: PartialEq>(a: &[T], b: &[T], costs: Costs, exchange: impl Fn(&T, &T) -> usize) -> usize {
    let Costs { gap, swap } = costs;
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).map(|j| j * gap).collect();
    for i in 0..a.len() {
        let mut row = vec![(i + 1) * gap];
        for j in 0..b.len() {
            let mut best = (above[j] + exchange(&a[i], &b[j])).min(above[j + 1] + gap).min(row[j] + gap);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + swap);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// The compared components. Names of megabytes in a hostile file are cut.
fn components(name: &str) -> Vec<&str> {
    let cut = |part: &'_ str| part.char_indices().nth(48).map_or(part.len(), |(end, _)| end);
    name.split('.').take(24).map(|part| &part[..cut(part)]).collect()
}

/// The candidate nearest to a dotted `name`, or `None` if none is similar. Among equally near names the first wins.
///
/// `penalty` is added to a candidate's distance, for other differences such as the shape.
pub(super) fn nearest_path<'c, C>(
    name: &str,
    candidates: impl Iterator<Item = &'c C>,
    path: impl Fn(&C) -> &str,
    penalty: impl Fn(&C) -> usize,
) -> Option<&'c C> {
    let near_enough = components(name).len() * COMPONENT / 2;
    candidates
        .map(|candidate| (path_distance(name, path(candidate)), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, candidate)| distance + penalty(candidate))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_compare_by_component() {
        let near = path_distance("layer1.0.conv3.weight", "layer1.0.conv2.weight");
        let elsewhere = path_distance("layer1.0.conv3.weight", "layer1.1.conv3.weight");
        assert!(near < elsewhere, "{near} {elsewhere}");
        assert_eq!(path_distance("module.conv1.weight", "conv1.weight"), COMPONENT);
    }

    #[test]
    fn nearest_takes_the_penalty_into_account_and_refuses_strangers() {
        let names = ["layer1.0.conv_1.weight", "layer1.0.conv_1.bias", "fc.weight"];
        let nearest = |name: &str, penalty: fn(&&str) -> usize| nearest_path(name, names.iter(), |c| c, penalty).copied();
        assert_eq!(nearest("layer1.0.conv1.weight", |_| 0), Some(names[0]));
        assert_eq!(nearest("layer1.0.conv1.weight", |c| 9 * usize::from(c.ends_with("weight"))), Some(names[1]));
        assert_eq!(nearest("transformer.encoder.norm", |_| 0), None);
    }

    #[test]
    fn endless_names_take_no_endless_time() {
        let (a, b) = ("a".repeat(5_000_000), "b.".repeat(2_000_000));
        assert!(path_distance(&a, &b) > 0);
    }
}
