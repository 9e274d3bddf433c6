//! Dead filters, and filters that duplicate others.

/// A filter that is a multiple of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duplicate {
    /// The filter.
    pub filter: usize,
    /// The first filter of which it is a multiple.
    pub of: usize,
    /// The factor; negative for opposite signs.
    pub scale: f32,
}

/// Dead and duplicate filters of a convolution.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repeats {
    /// Filters without a weight above `DEAD` times the tensor's largest, in order.
    pub dead: Vec<usize>,
    /// Filters that are a multiple of an earlier one, in order. In a grouped convolution they may still differ in effect: each
    /// group reads other channels.
    pub duplicates: Vec<Duplicate>,
}

/// Largest weight of a dead filter, relative to the tensor's largest.
pub const DEAD: f32 = 1e-6;

/// Largest distance of two duplicates after normalisation to length 1: the effect of rounding to bf16.
pub const SAME: f64 = 4e-3;

/// Minimum weights of a compared filter. With fewer, near-multiples occur by chance.
const LEAST: usize = 4;

/// Maximum comparisons per filter. Only adversarial filters reach it.
const MOST: usize = 1024;

/// Finds dead and duplicate filters among `count` filters of equal size. Filters with NaN or infinity are neither.
pub fn repeats(count: usize, values: &[f32]) -> Repeats {
    let size = values.len() / count.max(1);
    if size == 0 {
        return Repeats::default();
    }
    let filters: Vec<&[f32]> = values.chunks_exact(size).collect();
    let largest = |filter: &[f32]| filter.iter().fold(0f32, |most, w| most.max(w.abs()));
    let finite = |filter: &[f32]| filter.iter().all(|w| w.is_finite());
    let bar = DEAD * filters.iter().filter(|f| finite(f)).map(|f| largest(f)).fold(0.0, f32::max);
    let (dead, alive): (Vec<usize>, Vec<usize>) =
        (0..filters.len()).filter(|&i| finite(filters[i])).partition(|&i| largest(filters[i]) <= bar);
    let duplicates = if size < LEAST { Vec::new() } else { duplicates(&filters, &alive) };
    Repeats { dead, duplicates }
}

/// Multiples among the filters of these indices, none of which is zero.
fn duplicates(filters: &[&[f32]], alive: &[usize]) -> Vec<Duplicate> {
    // Projections of two close unit filters on any unit direction are close. So only neighbours in the order of their projections
    // are compared, instead of all pairs.
    let mut ordered: Vec<(f64, f64, usize)> = alive
        .iter()
        .map(|&i| {
            let length = dot(filters[i], filters[i]).sqrt();
            (shadow(filters[i]) / length, length, i)
        })
        .collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    // The first filter of each group differs from all before it.
    let mut groups: Vec<(f64, f64, Vec<usize>)> = Vec::new();
    for (shadow, length, i) in ordered {
        let near = groups.iter_mut().rev().take(MOST).take_while(|group| shadow - group.0 <= SAME);
        let alike = |group: &&mut (f64, f64, Vec<usize>)| distance(filters[group.2[0]], group.1, filters[i], length) <= SAME;
        match near.into_iter().find(alike) {
            Some(group) => group.2.push(i),
            None => groups.push((shadow, length, vec![i])),
        }
    }
    let mut found: Vec<Duplicate> = Vec::new();
    for (_, _, mut group) in groups {
        group.sort_unstable();
        let of = group[0];
        let scale = |filter: usize| (dot(filters[of], filters[filter]) / dot(filters[of], filters[of])) as f32;
        found.extend(group[1..].iter().map(|&filter| Duplicate { filter, of, scale: scale(filter) }));
    }
    found.sort_by_key(|d| d.filter);
    found
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Length of a filter's projection on a fixed random unit direction.
fn shadow(filter: &[f32]) -> f64 {
    let mut state = 1u64;
    let mut sign = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 { 1.0 } else { -1.0 }
    };
    let sum: f64 = filter.iter().map(|w| f64::from(*w) * sign()).sum();
    sum.abs() / (filter.len() as f64).sqrt()
}

/// Distance of two unit filters, up to sign.
fn distance(a: &[f32], a_length: f64, b: &[f32], b_length: f64) -> f64 {
    let sign = dot(a, b).signum();
    let difference = |(a, b): (&f32, &f32)| (f64::from(*a) / a_length - sign * f64::from(*b) / b_length).powi(2);
    a.iter().zip(b).map(difference).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random filters.
    fn filters(count: usize, size: usize) -> Vec<f32> {
        (0..count * size).map(|i| (i as f32 * 12.9898).sin() * 43_758.547 % 1.0).collect()
    }

    #[test]
    fn dead_and_repeated() {
        let mut values = filters(64, 27);
        let copy = |values: &mut Vec<f32>, from: usize, to: usize, scale: f32| {
            let scaled: Vec<f32> = values[from * 27..(from + 1) * 27].iter().map(|w| w * scale).collect();
            values[to * 27..(to + 1) * 27].copy_from_slice(&scaled);
        };
        values[5 * 27..6 * 27].fill(0.0);
        values[6 * 27..7 * 27].fill(-1e-8);
        copy(&mut values, 10, 40, 1.0);
        copy(&mut values, 10, 3, -2.5);
        copy(&mut values, 20, 21, 1e-3);
        values[50 * 27] = f32::NAN;
        let found = repeats(64, &values);
        assert_eq!(found.dead, [5, 6]);
        let pairs: Vec<(usize, usize)> = found.duplicates.iter().map(|d| (d.filter, d.of)).collect();
        assert_eq!(pairs, [(10, 3), (21, 20), (40, 3)]);
        for (found, scale) in found.duplicates.iter().zip([-0.4, 1e-3, -0.4]) {
            assert!((found.scale / scale - 1.0).abs() < 1e-5, "{found:?}");
        }
        assert_eq!(repeats(64, &filters(64, 27)), Repeats::default());
    }

    #[test]
    fn alike_is_not_the_same() {
        let mut values = filters(2, 100);
        for i in 0..100 {
            values[100 + i] = values[i] * 3.0;
        }
        values[100] += 0.002 * dot(&values[100..], &values[100..]).sqrt() as f32;
        assert_eq!(repeats(2, &values).duplicates.len(), 1);
        values[100] += 0.004 * dot(&values[100..], &values[100..]).sqrt() as f32;
        assert_eq!(repeats(2, &values).duplicates, []);
    }

    #[test]
    fn of_nothing_and_of_zero() {
        assert_eq!(repeats(0, &[]), Repeats::default());
        assert_eq!(repeats(3, &[]), Repeats::default());
        assert_eq!(repeats(3, &[0.0; 27]).dead, [0, 1, 2]);
        // All equal: one comparison each.
        let same = [1.0, 2.0, 3.0, 4.0].repeat(100_000);
        assert_eq!(repeats(100_000, &same).duplicates.len(), 99_999);
        // Too small for a comparison.
        assert_eq!(repeats(100, &[1.0; 100]), Repeats::default());
    }
}
