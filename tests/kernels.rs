//! Every row of every kernel table against the naive f64 oracle, and against itself on another number of threads.

use convscope_kernels::tables;

/// Poisoned outputs, guard words, odd shapes, both modes, one thread and three; see `convscope_kernels::check`.
#[test]
fn every_row_passes_the_oracle_test() {
    // A part of a name, such as `conv2d.fwd/direct`, while working on a row.
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut failures, mut skipped, mut checked) = (Vec::new(), Vec::new(), 0);
    for table in tables() {
        for (i, row) in table.rows().into_iter().enumerate() {
            let name = format!("{}/{} {}", table.op(), row.name, row.dtype);
            if !name.contains(&only) {
                continue;
            }
            if !row.here {
                skipped.push(name);
                continue;
            }
            checked += 1;
            match table.check(i) {
                Ok(r) => println!("{name:45} ok: {:3} runs, worst error {:.3} of its bound, {} unfit", r.runs, r.worst, r.unfit),
                Err(e) => failures.push(e),
            }
        }
    }
    println!("checked {checked} rows");
    println!("skipped {} rows that this machine cannot run: {}", skipped.len(), skipped.join(", "));
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}

/// Each table ends with the naive rung in both types: the one to read and the oracle.
#[test]
fn every_table_has_its_naive_rungs() {
    for table in tables() {
        let naive: Vec<String> = table.rows().iter().filter(|r| r.name == "naive").map(|r| r.dtype.to_string()).collect();
        assert_eq!(naive, ["f32", "f64"], "{}", table.op());
    }
}
