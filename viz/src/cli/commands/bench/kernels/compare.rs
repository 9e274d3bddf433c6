//! Comparison of measurements: kernels against an earlier run, the dispatcher's pick against the best kernel.

use super::report::MeasuredProblem;
use convscope_kernels::bench::Time;
use convscope_kernels::peak::Peak;
use serde_json::Value;

/// Relative differences below this are noise.
const CHANGE: f64 = 0.05;
/// Maximum slowdown of the dispatcher's pick against the best kernel. In this benchmark weights stay in a cache between passes;
/// in a network they come from memory, for which the dispatcher is tuned. A kernel that reads less of the weights may therefore
/// look slower.
const SLACK: f64 = 0.25;

/// A kernel of an earlier run.
#[derive(Debug, PartialEq)]
pub struct Old {
    op: String,
    spec: String,
    kernel: String,
    isa: String,
    threads: u64,
    /// `None` if it did not run.
    time: Option<Time>,
}

/// Reads the output of `--json`.
pub fn read(text: &str) -> Result<Vec<Old>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let rows = value.as_array().ok_or("is not an array of rows")?;
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().map(String::from);
        let seconds = |key: &str| row[key].as_f64().map(|ms| ms / 1e3);
        let time = || {
            let runs = row["runs"].as_u64()? as usize;
            Some(Time { median: seconds("ms")?, low: seconds("ms_low")?, high: seconds("ms_high")?, runs })
        };
        let (op, spec, kernel) = (text("op")?, text("spec")?, text("kernel")?);
        Some(Old { op, spec, kernel, isa: text("isa")?, threads: row["threads"].as_u64()?, time: time() })
    };
    let missing =
        |i: usize| format!("row {i} lacks op, spec, kernel, isa or threads: it is not the output of bench kernels --json");
    rows.iter().enumerate().map(|(i, r)| row(r).ok_or_else(|| missing(i))).collect()
}

/// Changes above the noise, largest first, and the number of others.
pub fn changes(old: &[Old], new: &[MeasuredProblem], peak: &Peak) -> String {
    let mut lines = Vec::new();
    let other = |o: &&Old| (o.isa.as_str(), o.threads) != (peak.isa, peak.threads as u64);
    if let Some(o) = old.iter().find(other) {
        lines.push(format!("the earlier run was of {} with {} threads", o.isa, o.threads));
    }
    let (mut changed, mut same, mut unknown) = (Vec::new(), 0, 0);
    for m in new {
        for (row, now) in m.timed() {
            let before = old.iter().find(|o| o.op == m.op && o.spec == m.spec && o.kernel == row.kernel).and_then(|o| o.time);
            match before {
                None => unknown += 1,
                Some(before) if before.is_slower_than(now, CHANGE) || now.is_slower_than(&before, CHANGE) => {
                    changed.push((before.median / now.median, before, now, m, row));
                }
                Some(_) => same += 1,
            }
        }
    }
    changed.sort_by(|a, b| b.0.ln().abs().total_cmp(&a.0.ln().abs()));
    for (ratio, before, now, m, row) in &changed {
        let (word, factor) = if *ratio > 1.0 { ("faster", *ratio) } else { ("slower", 1.0 / ratio) };
        let (a, b) = (1e3 * before.median, 1e3 * now.median);
        lines.push(format!("{factor:6.2}x {word}  {a:.4} -> {b:.4} ms  {} {}  {}", m.title(), row.kernel, m.spec));
    }
    let unknown = if unknown > 0 { format!(", {unknown} not in the earlier run") } else { String::new() };
    lines.push(format!("{} changed, {same} within noise{unknown}", changed.len()));
    lines.join("\n")
}

/// The message about a problem whose pick is slower than another kernel by more than the slack.
pub fn misjudged(m: &MeasuredProblem) -> Option<String> {
    let (pick, time) = m.timed().find(|(r, _)| r.picked)?;
    let (best, least) = m.timed().min_by(|a, b| a.1.median.total_cmp(&b.1.median))?;
    time.is_slower_than(least, SLACK).then(|| {
        let ratio = time.median / least.median;
        format!("{} {}: {} takes {ratio:.2}x the time of {}", m.title(), m.spec, pick.kernel, best.kernel)
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{PEAK, measured, timed};
    use super::*;
    use serde_json::json;

    fn old(m: &MeasuredProblem) -> Vec<Old> {
        read(&json!(m.json(&PEAK)).to_string()).unwrap()
    }

    #[test]
    fn json_comes_back() {
        let m = measured("a", vec![timed("fast", true, 2.0), timed("slow", false, 4.0)]);
        let rows = old(&m);
        assert_eq!((rows[1].kernel.as_str(), rows[1].threads, rows[1].isa.as_str()), ("slow", 2, "avx2"));
        let (got, want) = (rows[1].time.unwrap(), m.timed().nth(1).unwrap().1);
        assert!((got.median - want.median).abs() < 1e-12 && (got.low - want.low).abs() < 1e-12 && got.runs == want.runs);
        assert_eq!(changes(&rows, &[m], &PEAK), "0 changed, 2 within noise");
        for (text, says) in [("nonsense", "not JSON"), ("{}", "not an array"), ("[{\"op\": 1}]", "row 0")] {
            assert!(read(text).unwrap_err().contains(says), "{text}");
        }
    }

    /// Damage at any position gives a result or a one-line error.
    #[test]
    fn damaged_files_are_refused_in_one_line() {
        let m = measured("a", vec![timed("fast", true, 2.0), timed("slow", false, 4.0)]);
        let text = json!(m.json(&PEAK)).to_string();
        assert!((0..text.len()).all(|end| read(&text[..end]).is_err()), "a part was read as a whole");
        let damages = ["", "0", "-1", "1e400", "1e-320", "null", "[", "]", "{", "\"", "\\u0000", "\n"];
        for (at, damage) in (0..text.len()).flat_map(|at| damages.iter().map(move |damage| (at, damage))) {
            match read(&format!("{}{damage}{}", &text[..at], &text[at + 1..])) {
                Ok(rows) => drop(changes(&rows, std::slice::from_ref(&m), &PEAK)),
                Err(message) => assert!(!message.contains(char::is_control), "{message:?}"),
            }
        }
        assert!(read(&"[".repeat(100_000)).unwrap_err().contains("recursion limit"));
    }

    #[test]
    fn changes_beyond_noise_are_named_with_ratios() {
        let before = measured("a", vec![timed("x", true, 2.0), timed("y", false, 4.0), timed("z", false, 1.0)]);
        let rows = vec![timed("x", true, 1.0), timed("y", false, 4.1), timed("z", false, 4.0), timed("new", false, 1.0)];
        let text = changes(&old(&before), &[measured("a", rows)], &PEAK);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("  4.00x slower  1.0000 -> 4.0000 ms  conv2d.fwd net a (x3) z"), "{text}");
        assert!(
            lines[1].starts_with("  2.00x faster") && lines[2] == "2 changed, 1 within noise, 1 not in the earlier run",
            "{text}"
        );
        let one = Peak { threads: 1, ..PEAK };
        assert!(changes(&old(&before), &[], &one).starts_with("the earlier run was of avx2 with 2 threads"));
    }

    #[test]
    fn a_pick_that_is_not_the_fastest() {
        let with = |pick: f64, other: f64| misjudged(&measured("a", vec![timed("p", true, pick), timed("o", false, other)]));
        assert_eq!(with(1.0, 2.0), None);
        assert_eq!(with(1.05, 1.0), None);
        assert!(with(1.5, 1.0).unwrap().contains("p takes 1.50x the time of o"));
    }
}
