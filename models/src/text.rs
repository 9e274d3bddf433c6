//! Text in messages: similar names, foreign text in one line, large numbers, natural order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Display;

/// Maximum characters in a comparison, whose time is quadratic. Of longer names the beginning counts.
const LONGEST: usize = 256;

/// Maximum length of foreign text in a message, in characters.
const MAX_FOREIGN_TEXT: usize = 300;

/// Edit distance of `a` and `b`: insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
pub fn distance(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|text| text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end]));
    strsim::osa_distance(a, b)
}

/// The `count` most similar of `candidates`, best first, without repetitions. Letters and digits decide; case and punctuation
/// break ties.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<String> {
    let wanted = letters(text);
    let mut ranked: Vec<(usize, usize, &str)> = Vec::new();
    for candidate in candidates {
        if ranked.iter().any(|(_, _, seen)| *seen == candidate) {
            continue;
        }
        let letters = letters(candidate);
        let mut slips = distance(&wanted, &letters);
        // A prefix has distance one.
        if !wanted.is_empty() && letters.contains(&wanted) {
            slips = slips.min(1);
        }
        ranked.push((slips, distance(text, candidate), candidate));
    }
    ranked.sort_by_key(|(slips, exact, _)| (*slips, *exact));
    ranked.into_iter().take(count).map(|(_, _, name)| name.to_owned()).collect()
}

/// Letters and digits in lower case: `VGG16-BN` and `vgg16_bn` are equal.
pub fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Natural order of dotted names: `layer1.2` comes before `layer1.10`.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Part<'a> {
        Number(u64),
        Text(&'a str),
    }
    fn parts(name: &str) -> impl Iterator<Item = Part<'_>> {
        name.split('.').map(|part| part.parse().map_or(Part::Text(part), Part::Number))
    }
    parts(a).cmp(parts(b)).then_with(|| a.cmp(b))
}

/// Whether a terminal or a text renderer obeys the character instead of showing it: control characters, marks of direction and of line
/// ends, and invisible tags.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Foreign text that a terminal shows and does not obey: `\u{1b}[31m` instead of the escape character.
///
/// ```
/// use convscope_models::text::escaped;
///
/// assert_eq!(escaped("cat"), "cat");
/// assert_eq!(escaped("\x1b[31mcat\n"), r"\u{1b}[31mcat\n");
/// ```
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Text of at most `count` characters; a longer one ends in an ellipsis.
pub fn shortened(text: &str, count: usize) -> Cow<'_, str> {
    match text.char_indices().nth(count) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Foreign text for a message: one line, [`escaped`], shortened. Line ends and tabs are blanks.
pub fn one_line(text: impl Display) -> String {
    let text = text.to_string();
    let line = shortened(&text, MAX_FOREIGN_TEXT).replace(['\n', '\r', '\t'], " ");
    escaped(line.trim_end()).into_owned()
}

/// `138,357,544`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "abc", 3),
            ("conv1", "conv1", 0),
            ("covn1", "conv1", 1),
            ("conv", "conv1", 1),
            ("conv1", "conv2", 1),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("é", "e", 1),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn natural_order_counts_indices() {
        let mut names = vec!["layer1.10.w", "layer1.2.w", "layer1", "conv1.w", "layer1.2.b"];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(names, ["conv1.w", "layer1", "layer1.2.b", "layer1.2.w", "layer1.10.w"]);
    }

    #[test]
    fn nearest_prefers_parts_over_far_names() {
        let names = ["resnet50", "resnet20-cifar", "vgg16", "small"];
        assert_eq!(nearest("resnet2", names, 2), ["resnet20-cifar", "resnet50"]);
        assert_eq!(nearest("VGG-16", names, 1), ["vgg16"]);
        assert_eq!(nearest("", names, 5).len(), 4);
        assert_eq!(nearest("vgg", ["VGG", "vgg", "VGG"], 5), ["vgg", "VGG"]);
    }

    #[test]
    fn endless_names_take_no_endless_time() {
        let (a, b) = ("a".repeat(5_000_000), "ab".repeat(2_000_000));
        assert_eq!(distance(&a, &b), LONGEST / 2);
    }

    #[test]
    fn foreign_text_is_one_short_line() {
        assert_eq!(one_line("a\nb\u{1b}[31mc\t"), r"a b\u{1b}[31mc");
        assert_eq!(one_line("\u{9b}5m\u{202e}gnp.tac"), r"\u{9b}5m\u{202e}gnp.tac");
        assert_eq!(one_line("é".repeat(1000)).chars().count(), MAX_FOREIGN_TEXT + 1);
    }

    #[test]
    fn digits_go_in_threes() {
        let all = [(0, "0"), (999, "999"), (1_000, "1,000"), (138_357_544, "138,357,544")];
        assert!(all.iter().all(|(number, text)| thousands(*number) == *text));
    }
}
