//! gemm variant: packed panels, register tiles, threads.
//!
//! Computes  c (+)= op(a) · op(b) (+ bias), and every convolution (see [`crate::ops::conv2d`]), which only pack differently.
//! naive wastes:  it reads `b` from memory once per row of `a`, one number at a time.
//! This variant:  copies (packs) both operands into panels that lie in the order the register tile reads them. `a` is packed
//!                once. Where there are many columns, each thread packs a block of `b` for itself, which stays in its L2, one
//!                panel of it in L1; where there are few, `b` is packed once for all threads, which divide the rows. Where
//!                both are few and the sums long, the sums are cut, and the partial products added in order. The cut depends on the
//!                sizes only, never on the threads: same bits on any machine load.
//! Loses when:    one side has a few rows only (see `rows`): packing then costs more than multiplying.
//! Run:           CONVSCOPE_KERNEL=gemm=packed_avx2

use super::microkernel::{Epilogue, MAX_TILE, Tile, WIDTH};
use super::pack::{KC, Matrix, PackSource, k_blocks, pack_a, pack_panel, pack_panels, packed_len};
use super::{Bias, GemmSpec};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::simd::{self, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Panels in a block of `b` at most.
const PANELS: usize = 4;
/// Tiles of work that a problem is cut into at least, where it is large enough.
const MIN_TASKS: usize = 16;
/// Results of a reduction that each task makes for itself at most: a MiB.
const RESULTS: usize = 1 << 18;
/// Numbers of `b` that are packed for all threads at most.
const SHARED_LIMIT: usize = 6 << 20;

/// Where the columns of a product lie in the output: images of `height` rows of `width` columns with stride `step`.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub start: usize,
    pub width: usize,
    pub step: usize,
    pub height: usize,
    pub row_stride: usize,
    pub image_stride: usize,
}

impl Columns {
    /// Images whose `plane` columns follow each other.
    pub fn planes(start: usize, plane: usize, image_stride: usize) -> Self {
        Columns { start, width: plane, step: 1, height: 1, row_stride: plane, image_stride }
    }

    /// Offset of column `j` in row 0.
    fn at(&self, j: usize) -> usize {
        let (row, x) = (j / self.width, j % self.width);
        self.start + row / self.height * self.image_stride + row % self.height * self.row_stride + x * self.step
    }

    /// Calls `f(offset, first column, length)` for runs of columns with stride `step`.
    fn runs(&self, columns: Range<usize>, mut f: impl FnMut(usize, usize, usize)) {
        let mut j = columns.start;
        while j < columns.end {
            let len = (self.width - j % self.width).min(columns.end - j);
            f(self.at(j), j, len);
            j += len;
        }
    }
}

/// One product `c[m, n]` with `a` packed by [`pack_a`].
pub(crate) struct Product<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// From [`pack_a`].
    pub a: &'a [f32],
    pub b: &'a dyn PackSource,
    pub columns: Columns,
    /// Distance of the rows of `c`.
    pub ldc: usize,
    /// `[m]`: the bias of a convolution.
    pub row_bias: Option<&'a [f32]>,
    /// `[n]`: the bias of a dense layer.
    pub column_bias: Option<&'a [f32]>,
    /// As large as the output: added to it.
    pub residual: Option<&'a [f32]>,
    /// Whether negative results become zero. Only with `Accum::Write`.
    pub relu: bool,
}

impl<'a> Product<'a> {
    /// A product of sizes `[m, n, k]` that is stored as it is.
    pub fn plain([m, n, k]: [usize; 3], a: &'a [f32], b: &'a dyn PackSource, columns: Columns, ldc: usize) -> Self {
        Product { m, n, k, a, b, columns, ldc, row_bias: None, column_bias: None, residual: None, relu: false }
    }
}

/// The output, shared by threads that write disjoint ranges of it.
struct ProductOutput {
    ptr: *mut f32,
    len: usize,
}
// SAFETY: every element is written by exactly one task (see run_product).
unsafe impl Sync for ProductOutput {}

/// Partition of a product into tasks.
struct GemmPlan {
    /// Rows of a task.
    mc: usize,
    /// Columns of a task.
    nc: usize,
    /// Parts of the sums, in k blocks.
    splits: Vec<Range<usize>>,
    /// Whether `b` is packed once for all tasks.
    shared: bool,
}

fn plan<V: Vector>(m: usize, n: usize, k: usize) -> GemmPlan {
    let nr = WIDTH * V::LANES;
    let blocks = k_blocks(k).count();
    let whole = || std::iter::once(0..blocks).collect();
    for panels in (2..=PANELS).rev() {
        if n.div_ceil(panels * nr) >= MIN_TASKS {
            return GemmPlan { mc: m.max(1), nc: panels * nr, splits: whole(), shared: false };
        }
    }
    let nc = 2 * nr;
    let wide = n.div_ceil(nc).max(1);
    if n * k <= SHARED_LIMIT {
        // Four panels of rows at least, for they all use the panel of `b` that is in L1.
        let mc = m.div_ceil(MIN_TASKS.div_ceil(wide)).max(4 * V::ROWS).next_multiple_of(V::ROWS);
        if m.div_ceil(mc) * wide * 2 >= MIN_TASKS || blocks < 8 {
            return GemmPlan { mc, nc, splits: whole(), shared: true };
        }
    }
    let count = MIN_TASKS.div_ceil(wide).min(blocks.div_ceil(4)).max(1);
    let each = blocks.div_ceil(count);
    let splits = (0..blocks).step_by(each).map(|b| b..blocks.min(b + each)).collect();
    GemmPlan { mc: m.max(1), nc, splits, shared: false }
}

/// Checks that a product writes inside its output, and to no element twice, and that its operands are long enough.
fn check<V: Vector>(p: &Product, out: &[f32], accum: Accum) {
    simd::require::<V>();
    assert!(!(p.relu && accum == Accum::Add));
    let c = &p.columns;
    let row_length = (c.width - 1) * c.step + 1;
    let image_length = (c.height - 1) * c.row_stride + row_length;
    let many_images = p.n > c.width * c.height;
    let disjoint = c.step > 0
        && (c.height == 1 || c.row_stride >= row_length)
        && p.ldc >= image_length
        && (!many_images || c.image_stride >= (p.m - 1) * p.ldc + image_length);
    assert!(disjoint, "a product would write to one element twice");
    let end = c.at(p.n - 1) + (p.m - 1) * p.ldc;
    assert!(end < out.len() && p.residual.is_none_or(|r| r.len() == out.len()), "a product would write outside its output");
    assert!(p.a.len() >= packed_len::<V>(p.m, p.k) && p.row_bias.is_none_or(|b| b.len() >= p.m));
    assert!(p.column_bias.is_none_or(|b| b.len() >= p.n));
}

/// Computes a product.
///
/// # Panics
/// If it would write outside `out`, or to one element twice.
pub(crate) fn run_product<V: Vector>(p: &Product, out: &mut [f32], accum: Accum) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    check::<V>(p, out, accum);
    let plan = plan::<V>(p.m, p.n, p.k);
    if let [_] = &plan.splits[..] {
        run_split::<V>(p, &plan, 0, &ProductOutput { ptr: out.as_mut_ptr(), len: out.len() }, accum);
        return;
    }
    // Each split of the sums makes its own product, and they are added in order.
    let each = p.m * p.n;
    let mut partials = Buffer::new(DType::F32, plan.splits.len() * each);
    partials.as_mut_slice::<f32>().par_chunks_mut(each).enumerate().for_each(|(i, partial)| {
        let plain = Product::plain([p.m, p.n, p.k], p.a, p.b, Columns::planes(0, p.n, 0), p.n);
        run_split::<V>(&plain, &plan, i, &ProductOutput { ptr: partial.as_mut_ptr(), len: partial.len() }, Accum::Write);
    });
    let (partials, output) = (partials.as_slice::<f32>(), ProductOutput { ptr: out.as_mut_ptr(), len: out.len() });
    (0..p.m).into_par_iter().for_each(|m| {
        let mut row = partials[m * p.n..][..p.n].to_vec();
        for partial in partials.chunks_exact(each).skip(1) {
            row.iter_mut().zip(&partial[m * p.n..]).for_each(|(sum, v)| *sum += v);
        }
        scatter(p, m, 0..p.n, &row, &output, accum == Accum::Add, true);
    });
}

/// Computes a product on the calling thread, for tasks that cut their work themselves. As for [`run_product`].
pub(crate) fn run_alone<V: Vector>(p: &Product, out: &mut [f32], accum: Accum) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    check::<V>(p, out, accum);
    let blocks: Vec<Range<usize>> = k_blocks(p.k).collect();
    let output = ProductOutput { ptr: out.as_mut_ptr(), len: out.len() };
    let nc = PANELS * WIDTH * V::LANES;
    for n0 in (0..p.n).step_by(nc) {
        run_task::<V>(p, 0..p.m, n0..p.n.min(n0 + nc), &blocks, None, &output, accum);
    }
}

/// A product of long sums and few results, `out[m, n]`: the gradient of a weight.
///
/// Where the results fit L2, each task takes some of the steps, packs its range of both operands for itself, and makes a result of
/// its own; these are added in order.
pub(crate) fn run_reduction<V: Vector>(
    [m, n, k]: [usize; 3],
    a: &dyn PackSource,
    b: &dyn PackSource,
    out: &mut [f32],
    accum: Accum,
) {
    let columns = Columns::planes(0, n, 0);
    let blocks: Vec<Range<usize>> = k_blocks(k).collect();
    if m * n > RESULTS || blocks.len() < 2 * MIN_TASKS {
        let a = pack_a::<V>(a, m, k);
        return run_product::<V>(&Product::plain([m, n, k], a.as_slice(), b, columns, n), out, accum);
    }
    simd::require::<V>();
    assert!(out.len() == m * n);
    let nr = WIDTH * V::LANES;
    let mut partials = Buffer::new(DType::F32, MIN_TASKS * m * n);
    partials.as_mut_slice::<f32>().par_chunks_mut(m * n).enumerate().for_each(|(i, partial)| {
        let mut panels = [m.next_multiple_of(V::ROWS), n.next_multiple_of(nr)].map(|lanes| Buffer::new(DType::F32, lanes * KC));
        let output = ProductOutput { ptr: partial.as_mut_ptr(), len: partial.len() };
        let mine = &blocks[blocks.len() * i / MIN_TASKS..blocks.len() * (i + 1) / MIN_TASKS];
        for (step, ks) in mine.iter().enumerate() {
            let [pa, pb] = &mut panels;
            for (operand, lanes, width, to) in [(a, m, V::ROWS, pa), (b, n, nr, pb)] {
                for (p, panel) in to.as_mut_slice::<f32>().chunks_exact_mut(width * ks.len()).enumerate() {
                    let first = p * width;
                    if first < lanes {
                        pack_panel(operand, first..lanes.min(first + width), ks.clone(), width, panel);
                    }
                }
            }
            let p = Product::plain([m, n, ks.len()], panels[0].as_slice(), b, columns, n);
            multiply::<V>(&p, 0..m, 0..n, 0..ks.len(), panels[1].as_slice(), &output, step > 0, true);
        }
    });
    let partials = partials.as_slice::<f32>();
    out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
        for (i, partial) in partials.chunks_exact(m * n).enumerate() {
            let from = &partial[row * n..][..n];
            match if i > 0 { Accum::Add } else { accum } {
                Accum::Write => out.copy_from_slice(from),
                Accum::Add => out.iter_mut().zip(from).for_each(|(sum, v)| *sum += v),
            }
        }
    });
}

/// The product over one split of the sums.
fn run_split<V: Vector>(p: &Product, plan: &GemmPlan, split: usize, out: &ProductOutput, accum: Accum) {
    let nr = WIDTH * V::LANES;
    let mut all_b = None;
    if plan.shared {
        let mut b = Buffer::new(DType::F32, p.n.next_multiple_of(nr) * p.k);
        pack_panels(p.b, p.n, nr, p.k, b.as_mut_slice());
        all_b = Some(b);
    }
    let all_b = all_b.as_ref().map(|b| b.as_slice::<f32>());
    let mut tasks = Vec::new();
    for n0 in (0..p.n).step_by(plan.nc) {
        for m0 in (0..p.m).step_by(plan.mc) {
            tasks.push((m0..p.m.min(m0 + plan.mc), n0..p.n.min(n0 + plan.nc)));
        }
    }
    let blocks: Vec<Range<usize>> = k_blocks(p.k).collect();
    let blocks = &blocks[plan.splits[split].clone()];
    tasks.into_par_iter().with_max_len(1).for_each(|(ms, ns)| run_task::<V>(p, ms, ns, blocks, all_b, out, accum));
}

/// Rows `ms` and columns `ns` over some blocks of steps, with all of `b` packed for all threads or a block packed here.
fn run_task<V: Vector>(
    p: &Product,
    ms: Range<usize>,
    ns: Range<usize>,
    blocks: &[Range<usize>],
    all_b: Option<&[f32]>,
    out: &ProductOutput,
    accum: Accum,
) {
    let nr = WIDTH * V::LANES;
    let panels = ns.len().div_ceil(nr);
    let longest = blocks.iter().map(|ks| ks.len()).max().unwrap_or(0);
    let mut own = Buffer::new(DType::F32, if all_b.is_none() { panels * nr * longest } else { 0 });
    for (i, ks) in blocks.iter().enumerate() {
        let b = match all_b {
            Some(all) => &all[p.n.next_multiple_of(nr) * ks.start + ns.start * ks.len()..],
            None => {
                let own = own.as_mut_slice::<f32>();
                for (j, panel) in own.chunks_exact_mut((nr * ks.len()).max(1)).enumerate().take(panels) {
                    let n0 = ns.start + j * nr;
                    pack_panel(p.b, n0..ns.end.min(n0 + nr), ks.clone(), nr, panel);
                }
                &*own
            }
        };
        let add = i > 0 || accum == Accum::Add;
        multiply::<V>(p, ms.clone(), ns.clone(), ks.clone(), b, out, add, i + 1 == blocks.len());
    }
}

/// Rows `ms` and columns `ns` of one block of steps, with their panels of `b`.
#[allow(clippy::too_many_arguments)] // The three ranges are one block of a three-dimensional problem.
fn multiply<V: Vector>(
    p: &Product,
    ms: Range<usize>,
    ns: Range<usize>,
    ks: Range<usize>,
    b: &[f32],
    out: &ProductOutput,
    add: bool,
    last: bool,
) {
    let nr = WIDTH * V::LANES;
    let a = &p.a[packed_len::<V>(p.m, ks.start)..];
    let mut sums = [0.0f32; MAX_TILE];
    for n0 in ns.clone().step_by(nr) {
        let columns = n0..ns.end.min(n0 + nr);
        let b = &b[(n0 - ns.start) * ks.len()..][..nr * ks.len()];
        let together = p.columns.step == 1 && n0 / p.columns.width == (columns.end - 1) / p.columns.width;
        let start = p.columns.at(n0);
        for m0 in ms.clone().step_by(V::ROWS) {
            let rows = m0..ms.end.min(m0 + V::ROWS);
            let a = &a[m0 * ks.len()..][..V::ROWS * ks.len()];
            let c = start + m0 * p.ldc;
            let at = |v: Option<&[f32]>, i: usize| v.map_or(std::ptr::null(), |v| v[i..].as_ptr());
            let tile = Tile {
                k: ks.len(),
                a: a.as_ptr(),
                a_step: V::ROWS,
                b: b.as_ptr(),
                b_step: nr,
                rows: rows.len(),
                columns: columns.len(),
                c: sums.as_mut_ptr(),
                ldc: nr,
                add: false,
                epilogue: Epilogue::NONE,
            };
            if together {
                assert!(c + (rows.len() - 1) * p.ldc + columns.len() <= out.len);
                let epilogue = match last {
                    true => Epilogue {
                        row_bias: at(p.row_bias, m0),
                        column_bias: at(p.column_bias, n0),
                        residual: at(p.residual, c),
                        relu: p.relu,
                    },
                    false => Epilogue::NONE,
                };
                // SAFETY: the panels hold ks.len() steps of whole tiles (just sliced); the output holds these rows and columns
                // (asserted), which are this task's alone; biases and residual are as long as the product (run_product).
                unsafe { V::run(Tile { c: out.ptr.add(c), ldc: p.ldc, add, epilogue, ..tile }) }
            } else {
                // SAFETY: as above, into a whole tile of our own.
                unsafe { V::run(tile) }
                for (i, m) in rows.enumerate() {
                    scatter(p, m, columns.clone(), &sums[i * nr..][..columns.len()], out, add, last);
                }
            }
        }
    }
}

/// Stores the sums of some columns of row `m` where they belong.
fn scatter(p: &Product, m: usize, columns: Range<usize>, sums: &[f32], out: &ProductOutput, add: bool, last: bool) {
    let first = columns.start;
    let plain = p.row_bias.is_none() && p.column_bias.is_none() && p.residual.is_none() && !p.relu;
    p.columns.runs(columns, |at, j, len| {
        let (at, step) = (at + m * p.ldc, p.columns.step);
        assert!(at + (len - 1) * step < out.len);
        let sums = &sums[j - first..][..len];
        if !last || plain {
            for (i, sum) in sums.iter().enumerate() {
                // SAFETY: inside the output (asserted), and this row and these columns belong to this task alone.
                unsafe {
                    let c = out.ptr.add(at + i * step);
                    *c = if add { *c + sum } else { *sum };
                }
            }
            return;
        }
        for (i, sum) in sums.iter().enumerate() {
            let at = at + i * step;
            // SAFETY: as above.
            let c = unsafe { &mut *out.ptr.add(at) };
            let mut v = if add { *c + sum } else { *sum };
            v += p.row_bias.map_or(0.0, |b| b[m]);
            v += p.column_bias.map_or(0.0, |b| b[j + i]);
            v += p.residual.map_or(0.0, |r| r[at]);
            *c = if p.relu && v < 0.0 { 0.0 } else { v };
        }
    });
}

/// The row of the gemm table.
pub(super) fn run<V: Vector>(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let strides = |lanes_contiguous: bool, lanes: usize| if lanes_contiguous { (1, lanes) } else { (s.k, 1) };
    let view = |buffer, (lane_stride, k_stride)| Matrix { data: buffer, lane_stride, k_stride };
    let a = view(inputs[0].as_slice(), strides(s.ta, s.m));
    let b = view(inputs[1].as_slice(), strides(!s.tb, s.n));
    let a = pack_a::<V>(&a, s.m, s.k);
    let column_bias = (s.bias == Bias::Columns).then(|| inputs[2].as_slice());
    let plain = Product::plain([s.m, s.n, s.k], a.as_slice(), &b, Columns::planes(0, s.n, 0), s.n);
    let product = Product { column_bias, ..plain };
    run_product::<V>(&product, outputs[0].as_mut_slice(), accum);
}

pub(super) fn scratch(s: &GemmSpec) -> usize {
    // Both operands packed; a `b` too large to share is packed in blocks of KC steps.
    let b = s.n * s.k;
    4 * (s.m * s.k + if b <= SHARED_LIMIT { b } else { PANELS * WIDTH * 16 * KC })
}
