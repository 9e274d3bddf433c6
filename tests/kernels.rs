//! Every row of every kernel table against the naive f64 oracle, and against itself on another number of threads.

use convscope_kernels::bench::{AnyProblem, Outcome, Problem};
use convscope_kernels::check::{AnyTable, RowInfo};
use convscope_kernels::conv2d::{self, Conv2dSpec};
use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};
use convscope_kernels::table::{ROUNDING, Row, Run};
use convscope_kernels::{Accum, Buffer, Context, DType, tables};

/// Poisoned outputs, guard words, odd shapes, both modes, one thread and three; see `convscope_kernels::check`.
#[test]
fn every_row_passes_the_oracle_test() {
    // A part of a name, such as `conv2d.fwd/direct`, while working on a row.
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut failures, mut skipped, mut checked) = (Vec::new(), Vec::new(), 0);
    let context = Context::default();
    for table in tables() {
        let name = |row: &RowInfo| format!("{}/{} {}", table.op(), row.name, row.dtype);
        let rows = table.rows(&context);
        let wanted = rows.iter().enumerate().filter(|(_, row)| name(row).contains(&only));
        let (here, absent): (Vec<_>, Vec<_>) = wanted.partition(|(_, row)| row.here);
        skipped.extend(absent.iter().map(|(_, row)| name(row)));
        checked += here.len();
        let indices: Vec<usize> = here.iter().map(|(i, _)| *i).collect();
        for ((_, row), result) in here.iter().zip(table.check_rows(&context, &indices)) {
            match result {
                Ok(r) => {
                    println!("{:45} ok: {:3} runs, worst error {:.3} of its bound, {} unfit", name(row), r.runs, r.worst, r.unfit)
                }
                Err(e) => failures.push(e),
            }
        }
    }
    println!("checked {checked} rows");
    println!("skipped {} rows that this machine cannot run: {}", skipped.len(), skipped.join(", "));
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}

/// Sums of many channels over rows shorter than a vector once ended beyond their allocation: a sanitizer sees it. The table's own
/// case is smaller, for a GPU's emulation runs it too.
#[test]
fn sums_over_many_channels_of_short_rows_have_room() {
    let spec = Conv2dSpec { padding: [1; 4], stride: [2, 2], ..Conv2dSpec::simple(1, 512, 8, 4, 512, 3) };
    let tables = [(&conv2d::FWD, [spec.in_len(), spec.weight_len()]), (&conv2d::DGRAD, [spec.out_len(), spec.weight_len()])];
    for ((table, lens), len) in tables.into_iter().zip([spec.out_len(), spec.in_len()]) {
        let [a, b] = lens.map(|len| Buffer::from_slice(&vec![1.0f32; len]));
        let run = |name: &str| {
            let context = Context::default().with_rows(&format!("{}={name}", table.op())).unwrap();
            let mut out = Buffer::zeros(DType::F32, len);
            assert_eq!(table.run(&context, &spec, &[&a, &b], &mut [&mut out], Accum::Write).unwrap().kernel, name);
            out
        };
        let naive = run("naive");
        let here = |row: &RowInfo| row.here && row.name.starts_with("direct");
        for row in table.rows(&Context::default()).into_iter().filter(here) {
            // Sums of ones: exact in f32.
            assert_eq!(run(row.name).as_slice::<f32>(), naive.as_slice::<f32>(), "{}/{}", table.op(), row.name);
        }
    }
}

/// Each table ends with the naive kernel in both types: the readable one and the oracle.
#[test]
fn every_table_has_its_naive_rungs() {
    for table in tables() {
        let naive: Vec<String> =
            table.rows(&Context::default()).iter().filter(|r| r.name == "naive").map(|r| r.dtype.to_string()).collect();
        assert_eq!(naive, ["f32", "f64"], "{}", table.op());
    }
}

/// A row from outside the crate is a safe function: it is chosen, checked and timed as any other, and found out when it is wrong.
#[test]
fn a_row_from_outside_joins_a_table() {
    let mine: Run<BinarySpec> = |s, inputs, outputs, accum| {
        let (x, y) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
        for ((out, x), y) in outputs[0].as_mut_slice::<f32>().iter_mut().zip(x).zip(y) {
            let value = if s.op == Binary::Add { x + y } else { x * y };
            *out = if accum == Accum::Add { *out + value } else { value };
        }
    };
    let row = |run| {
        Row::cpu("mine", DType::F32, ROUNDING, run).supports(|s: &BinarySpec| match s.op {
            Binary::Add => Ok(()),
            Binary::Mul => Err("expects a sum"),
        })
    };
    let table = BINARY.with_row(row(mine));
    let context = Context::default();
    let report = table.check(&context, 0).unwrap();
    assert!(report.runs > 0 && report.unfit > 0);

    let (x, mut out) = (Buffer::from_slice(&[1.0f32, 2.0, 3.0]), Buffer::zeros(DType::F32, 3));
    let spec = BinarySpec { op: Binary::Add, len: 3 };
    assert_eq!(table.run(&context, &spec, &[&x, &x], &mut [&mut out], Accum::Write).unwrap().kernel, "mine");
    assert_eq!(out.as_slice::<f32>(), [2.0, 4.0, 6.0]);
    assert_ne!(
        table.run(&context, &BinarySpec { op: Binary::Mul, len: 3 }, &[&x, &x], &mut [&mut out], Accum::Write).unwrap().kernel,
        "mine"
    );
    assert_ne!(BINARY.pick(&context, DType::F32, &spec).unwrap().name(), "mine", "other tables do not have it");

    let rows = Problem { table: &table, spec, sample: None }.measure(&context).unwrap();
    assert!(rows[0].picked && rows[0].kernel == "mine" && matches!(rows[0].outcome, Outcome::Timed { .. }));

    let wrong = BINARY.with_row(row(|_, _, outputs, _| outputs[0].as_mut_slice::<f32>().fill(0.0)));
    assert!(wrong.check(&context, 0).is_err());
}
