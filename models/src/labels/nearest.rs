//! Names like a misspelt one.

/// The indices of the `count` entries that have a name with the smallest edit distance to `query`, nearest first; ties
/// keep their order.
pub(super) fn nearest<'a>(query: &str, entries: impl Iterator<Item = &'a Vec<String>>, count: usize) -> Vec<usize> {
    let distance = |names: &Vec<String>| names.iter().map(|name| edit_distance(query, name)).min();
    let mut ranked: Vec<_> = entries.enumerate().map(|(index, names)| (distance(names), index)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(count).map(|(_, index)| index).collect()
}

/// Levenshtein's distance in characters, by rows.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("é", "e", 1)] {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
            assert_eq!(edit_distance(b, a), expected, "{b} {a}");
        }
    }
}
