//! Damaged and hostile files of every kind: an answer or one clear line, within the memory that a file of that size justifies.
//!
//! `tests/fuzz/corpus` has valid files and what fuzzing found; they and mutations of them go through the functions that the fuzz targets
//! call.

use convscope_tests::parsers::{ALL, Parser};
use convscope_tests::root;
use peak_alloc::PeakAlloc;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The files of a folder; of a file, itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// The corpus of a parser and its other seeds.
fn corpus(parser: &Parser) -> Vec<PathBuf> {
    let folder = root().join("tests/fuzz/corpus").join(parser.name);
    let seeds = parser.seeds.iter().flat_map(|seeds| files(&root().join(seeds)));
    files(&folder).into_iter().chain(seeds).collect()
}

/// Files with a parser defect, kept for debugging.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// [`Parser::check`]; `what` is the file in words.
    fn check(&mut self, parser: &Parser, file: &[u8], what: &dyn std::fmt::Display) -> Result<(), String> {
        let result = std::panic::catch_unwind(|| parser.check(file, &MEMORY));
        result.unwrap_or_else(|reason| {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", parser.name, self.0.len()));
            fs::write(&kept, file).unwrap();
            let reason = reason.downcast_ref::<String>().map_or("a panic", String::as_str);
            self.0.push(format!("{what}, kept as {}: {reason}", kept.display()));
            Err("at fault".into())
        })
    }
}

/// Numbers without a pattern, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as usize * end) >> 32
    }
}

/// Values in lengths, counts and offsets of hostile files.
const EXTREMES: [&[u8]; 8] = [
    &[0xFF],
    &[0; 4],
    &[0xFF; 2],
    &[0xFF; 4],
    &[0xFF, 0xFF, 0xFF, 0x7F],
    &[0, 0, 0, 0, 1, 0, 0, 0],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
    &[0xFF; 8],
];

/// Replacements of numbers in a hostile text.
const VALUES: [&str; 10] = ["0", "1", "-1", "3", "1.5", "16777216", "4294967296", "18446744073709551615", "1e300", "null"];

/// Where the numbers of a text are.
fn numbers(text: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in (0..text.len()).filter(|&at| text[at].is_ascii_digit()) {
        match found.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// One of many files that are nearly `file`. The beginning, where headers are, is hit more often.
fn mutated(file: &[u8], dice: &mut Dice) -> (Vec<u8>, String) {
    let mut mutant = file.to_vec();
    let reach = if dice.below(2) == 0 { file.len().min(512) } else { file.len() };
    let at = dice.below(reach);
    let numbers = if file[0] == b'{' { numbers(file) } else { Vec::new() };
    let what = match dice.below(if numbers.is_empty() { 4 } else { 12 }) {
        0 => {
            mutant.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            let flips: Vec<(usize, usize)> = (0..=dice.below(4)).map(|_| (dice.below(reach), 1 + dice.below(255))).collect();
            flips.iter().for_each(|&(at, bits)| mutant[at] ^= bits as u8);
            format!("with bytes flipped: {flips:?}")
        }
        2 => {
            let extreme = EXTREMES[dice.below(EXTREMES.len())];
            mutant.iter_mut().skip(at).zip(extreme).for_each(|(byte, with)| *byte = *with);
            format!("with {extreme:x?} at byte {at}")
        }
        4.. => {
            let (number, with) = (&numbers[dice.below(numbers.len())], VALUES[dice.below(VALUES.len())]);
            mutant.splice(number.clone(), with.bytes());
            format!("with {with} at {number:?}")
        }
        _ => {
            let (from, length) = (dice.below(reach), 1 + dice.below(64));
            let range = file[from..(from + length).min(file.len())].to_vec();
            let what = format!("with {} bytes from {from} again at {at}", range.len());
            mutant.splice(at..at, range);
            what
        }
    };
    (mutant, what)
}

/// One at a time, so that each is measured alone.
#[test]
fn corpus_and_mutations() {
    let mut faults = Faults::default();
    for parser in ALL {
        let start = Instant::now();
        let (mut seeds, mut good, mut bad) = (Vec::new(), 0, 0);
        for path in corpus(parser) {
            let file = fs::read(&path).unwrap();
            match faults.check(parser, &file, &path.display()) {
                Ok(()) => good += 1,
                Err(message) => {
                    println!("{}: {message}", path.display());
                    bad += 1;
                }
            }
            if !file.is_empty() {
                seeds.push((path, file));
            }
        }
        let replay = start.elapsed();
        let (mutants, mut dice) = (setting("CONVSCOPE_MUTANTS", MUTANTS), Dice(setting("CONVSCOPE_SEED", 1) as u64));
        for round in 0..mutants {
            let (path, file) = &seeds[round % seeds.len()];
            let (mutant, what) = mutated(file, &mut dice);
            let _ = faults.check(parser, &mutant, &format!("{} {what}", path.display()));
        }
        println!(
            "{:12} {good:4} read, {bad:4} refused, {replay:?}; {mutants} mutants {:?}",
            parser.name,
            start.elapsed() - replay
        );
    }
    assert!(faults.0.is_empty(), "{} faults:\n{}", faults.0.len(), faults.0.join("\n"));
}

/// Files made of each parser's by [`mutated`]; more with `CONVSCOPE_MUTANTS`, and others with `CONVSCOPE_SEED`.
const MUTANTS: usize = 300;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}
