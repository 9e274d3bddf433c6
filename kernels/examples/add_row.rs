//! A row from outside the crate: a matrix product, written once over the trait `Vector`. It joins the table of products, is compared
//! with the f64 oracle, and is timed beside the rows of the crate. The same loop with a fault is refused.
//!
//! `cargo run --release -p convscope-kernels --example add_row`

use convscope_kernels::bench::{AnyProblem, Outcome, Problem};
use convscope_kernels::check::AnyTable;
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
use convscope_kernels::simd::{self, Kernel, Portable, Vector};
use convscope_kernels::table::{ROUNDING, Row, Table};
use convscope_kernels::{Accum, Buffer, Context, DType};

/// `c += a b` for row-major `a [m,k]`, `b [k,n]`, `c [m,n]`: each element of `a` scales a row of `b`.
struct Product<'a> {
    n: usize,
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    /// The planted fault: the last columns, too few for a vector, are left out.
    whole_vectors_only: bool,
}

impl Kernel for Product<'_> {
    type Out = ();

    // Compiled once per instruction set: everything inside must be `inline(always)`.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let n = self.n;
        let end = if self.whole_vectors_only { n / V::LANES * V::LANES } else { n };
        let k = self.b.len() / n;
        for (a, c) in self.a.chunks_exact(k).zip(self.c.chunks_exact_mut(n)) {
            for (a, b) in a.iter().zip(self.b.chunks_exact(n)) {
                for j in (0..end).step_by(V::LANES) {
                    let count = V::LANES.min(n - j);
                    // SAFETY: `j + count <= n`, the length of `b` and of `c`; the caller has the instructions.
                    unsafe {
                        let (b, c) = (b.as_ptr().add(j), c.as_mut_ptr().add(j));
                        let sum = V::splat(*a).mul_add(V::load_first(b, count), V::load_first(c, count));
                        sum.store_first(c, count);
                    }
                }
            }
        }
    }
}

/// The function of the row. The table has checked the lengths and types of all buffers.
fn run<V: Vector, const FAULT: bool>(spec: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (a, b, c) = (inputs[0].as_slice(), inputs[1].as_slice(), outputs[0].as_mut_slice::<f32>());
    if accum == Accum::Write {
        c.fill(0.0);
    }
    if let Some(bias) = inputs.get(2) {
        let rows = c.chunks_exact_mut(spec.n);
        rows.for_each(|row| row.iter_mut().zip(bias.as_slice::<f32>()).for_each(|(c, bias)| *c += bias));
    }
    // SAFETY: the instructions are here (required).
    unsafe { V::run(Product { n: spec.n, a, b, c, whole_vectors_only: FAULT }) }
}

/// The row: its name, the distance from the oracle that it may have, the machines and the problems that it supports.
const fn row<V: Vector, const FAULT: bool>(name: &'static str) -> Row<GemmSpec> {
    let as_stored = |s: &GemmSpec| if s.ta || s.tb { Err("needs both matrices as stored") } else { Ok(()) };
    Row::cpu(name, DType::F32, ROUNDING, run::<V, FAULT>).isa(V::ISA).supports(as_stored)
}

/// The crate's table of products with the rows of this example before its own; a row that joins later is asked earlier.
fn table<const FAULT: bool>() -> Table<GemmSpec> {
    let table = GEMM.with_row(row::<Portable, FAULT>("scaled_rows"));
    #[cfg(target_arch = "aarch64")]
    let table = table.with_row(row::<simd::Neon, FAULT>("scaled_rows_neon"));
    #[cfg(target_arch = "x86_64")]
    let table =
        table.with_row(row::<simd::Avx2, FAULT>("scaled_rows_avx2")).with_row(row::<simd::Avx512, FAULT>("scaled_rows_avx512"));
    table
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Check: every row on every case of the table, on odd shapes, with poisoned outputs and guard words, against the f64 row.
    let context = Context::default();
    let (right, wrong) = (table::<false>(), table::<true>());
    let ours = |(i, row): (usize, convscope_kernels::check::RowInfo)| (row.here && row.name.starts_with("scaled")).then_some(i);
    let ours: Vec<usize> = right.rows(&context).into_iter().enumerate().filter_map(ours).collect();
    for &i in &ours {
        let report = right.check(&context, i)?;
        println!("{}: {} runs, largest error {:.2} of the bound", right.rows(&context)[i].name, report.runs, report.worst);
        let fault = wrong.check(&context, i).expect_err("the fault is seen");
        println!("with a fault: {fault}");
    }

    // Run: the table takes the first row that is here, supports the problem and is preferred.
    let spec = GemmSpec { m: 2, n: 3, k: 2, ta: false, tb: false, bias: Bias::None };
    let a = Buffer::from_slice(&[1.0f32, 2.0, 3.0, 4.0]);
    let b = Buffer::from_slice(&[1.0f32, 0.0, 1.0, 0.0, 1.0, 1.0]);
    let mut c = Buffer::new(DType::F32, 6);
    let call = right.run(&context, &spec, &[&a, &b], &mut [&mut c], Accum::Write)?;
    println!("{} computed {:?}", call.kernel, c.as_slice::<f32>());
    assert_eq!(call.kernel, right.rows(&context)[ours[0]].name);
    assert_eq!(c.as_slice::<f32>(), [1.0, 2.0, 3.0, 3.0, 4.0, 7.0]);

    // Time: every row is verified on the problem itself, then timed.
    let spec = GemmSpec { m: 64, n: 200, k: 96, ta: false, tb: false, bias: Bias::None };
    let problem = Problem { table: &right, spec, sample: None };
    let mut timed = 0;
    for row in problem.measure(&context)? {
        match row.outcome {
            Outcome::Timed { time, .. } => {
                let rate = problem.flops() as f64 / time.median / 1e9;
                println!("{:20} {:8.1} us {rate:8.1} GFLOP/s", row.kernel, time.median * 1e6);
                timed += usize::from(row.kernel.starts_with("scaled"));
            }
            Outcome::NotRun(why) => println!("{:20} {why}", row.kernel),
            Outcome::Wrong(why) => return Err(format!("{}: {why}", row.kernel).into()),
        }
    }
    assert_eq!(timed, ours.len());
    Ok(())
}
