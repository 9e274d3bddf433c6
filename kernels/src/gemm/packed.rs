//! gemm rung 1: packed panels, register tiles, threads.
//!
//! Computes  c (+)= op(a) · op(b) (+ bias), and every convolution (see [`crate::conv2d`]), which only pack differently.
//! Rung 0 wasted: it read `b` from memory once per row of `a`, one number at a time.
//! This rung:     copies (packs) both operands into panels that lie in the order the register tile reads them. `a` is packed
//!                once; a block of `b` of `KC x NC` numbers is packed by the thread that uses it and stays in its L2, one panel
//!                of it in L1. The cut into blocks depends on the sizes only, never on the threads: same bits on any machine load.
//! Loses when:    one side is a single row (see `gemv`): packing then costs more than multiplying.
//! Run:           CONVSCOPE_KERNEL=gemm=packed_avx2

use super::tile::{MAX_TILE, Tile};
use super::{Bias, GemmSpec};
use crate::buffer::Buffer;
use crate::device::DType;
use crate::table::Accum;
use rayon::prelude::*;
use std::ops::Range;

/// Steps of a panel: 32 columns of `KC` numbers are 32 KiB, the part of L1 that a panel of `b` may take.
const KC: usize = 256;
/// Columns of a block of `b`.
const NC: usize = 128;
/// Rows of a block of `a`: `MC x KC` numbers are half a MiB of L2.
const MC: usize = 504;
/// Tiles of work that a problem is cut into at least, where it is large enough.
const MIN_BLOCKS: usize = 16;

/// An operand seen as `lanes` (rows of `a`, columns of `b`) of `k` numbers each.
///
/// This is all that a product needs to know of its operands: convolutions implement it over images.
pub(crate) trait Lanes: Sync {
    /// Fills `panel[k * width + lane]` for `lanes` x `ks`. Lanes beyond `lanes.len()` up to `width` are left alone (they are zero).
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]);
}

/// A matrix in memory.
pub(crate) struct Matrix<'a> {
    pub data: &'a [f32],
    /// Distance between neighbouring lanes.
    pub lane_stride: usize,
    /// Distance between neighbouring steps.
    pub k_stride: usize,
}

impl Lanes for Matrix<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        if self.lane_stride == 1 {
            for (k, row) in ks.zip(panel.chunks_exact_mut(width)) {
                row[..lanes.len()].copy_from_slice(&self.data[k * self.k_stride + lanes.start..][..lanes.len()]);
            }
        } else if self.k_stride == 1 {
            for (l, lane) in lanes.enumerate() {
                let src = &self.data[lane * self.lane_stride + ks.start..][..ks.len()];
                src.iter().zip(panel[l..].iter_mut().step_by(width)).for_each(|(s, d)| *d = *s);
            }
        } else {
            for (k, row) in ks.zip(panel.chunks_exact_mut(width)) {
                lanes.clone().zip(row).for_each(|(lane, d)| *d = self.data[lane * self.lane_stride + k * self.k_stride]);
            }
        }
    }
}

/// All of `a` in panels: `[k block][m panel][k][MR]`.
pub(crate) fn pack_a<T: Tile>(a: &dyn Lanes, m: usize, k: usize) -> Buffer {
    let panels = m.div_ceil(T::MR);
    let mut out = Buffer::zeros(DType::F32, panels * T::MR * k);
    // A k block of all panels is contiguous, so blocks and panels are both plain chunks.
    let mut rest = out.as_mut_slice::<f32>();
    for k0 in (0..k).step_by(KC) {
        let kc = KC.min(k - k0);
        let (block, tail) = rest.split_at_mut(panels * T::MR * kc);
        rest = tail;
        block.par_chunks_mut(T::MR * kc).enumerate().for_each(|(p, panel)| {
            let m0 = p * T::MR;
            a.pack(m0..m.min(m0 + T::MR), k0..k0 + kc, T::MR, panel);
        });
    }
    out
}

/// One product `c[m, n]` with `a` packed by [`pack_a`]. Several of them run side by side: images, groups.
pub(crate) struct Product<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// From [`pack_a`].
    pub a: &'a [f32],
    pub b: &'a (dyn Lanes + 'a),
    /// Where `c` starts in the output, and the distance of its rows.
    pub c: usize,
    pub ldc: usize,
    /// `[m]`: the bias of a convolution.
    pub row_bias: Option<&'a [f32]>,
    /// `[n]`: the bias of a dense layer.
    pub column_bias: Option<&'a [f32]>,
}

/// The output, shared by threads that write disjoint blocks of it.
struct Output {
    ptr: *mut f32,
    len: usize,
}
// SAFETY: every block of every product is written by exactly one task (see run_products).
unsafe impl Sync for Output {}

struct Block {
    product: usize,
    ms: Range<usize>,
    ns: Range<usize>,
}

/// Runs products, whose parts of `out` must follow each other.
///
/// # Panics
/// If they overlap or reach beyond `out`.
pub(crate) fn run_products<T: Tile>(products: &[Product], out: &mut [f32], accum: Accum) {
    let blocks = cut::<T>(products);
    let mut free_from = 0;
    for p in products.iter().filter(|p| p.m > 0 && p.n > 0) {
        assert!(p.ldc >= p.n && p.c >= free_from, "products would write over each other");
        free_from = p.c + (p.m - 1) * p.ldc + p.n;
        assert!(free_from <= out.len(), "a product would write outside its output");
    }
    let output = Output { ptr: out.as_mut_ptr(), len: out.len() };
    blocks.par_iter().for_each(|block| run_block::<T>(&products[block.product], block, &output, accum));
}

/// Cuts the products into blocks, by their sizes alone.
fn cut<T: Tile>(products: &[Product]) -> Vec<Block> {
    let up = |v: usize, q: usize| v.div_ceil(q) * q;
    let (mut mc, mut nc) = (up(MC.min(products.iter().map(|p| p.m).max().unwrap_or(1)), T::MR), NC);
    let count = |mc: usize, nc: usize| products.iter().map(|p| p.m.div_ceil(mc) * p.n.div_ceil(nc)).sum::<usize>();
    while count(mc, nc) < MIN_BLOCKS && (mc > 8 * T::MR || nc > T::NR) {
        // Splitting rows packs `b` again, splitting columns reads the packed `a` again: rows first while they are many.
        if mc > 8 * T::MR { mc = up(mc / 2, T::MR) } else { nc = up(nc / 2, T::NR) }
    }
    let mut blocks = Vec::new();
    for (product, p) in products.iter().enumerate() {
        for n0 in (0..p.n).step_by(nc) {
            for m0 in (0..p.m).step_by(mc) {
                blocks.push(Block { product, ms: m0..p.m.min(m0 + mc), ns: n0..p.n.min(n0 + nc) });
            }
        }
    }
    blocks
}

fn run_block<T: Tile>(p: &Product, block: &Block, out: &Output, accum: Accum) {
    let panels_n = block.ns.len().div_ceil(T::NR);
    let panels_m = p.m.div_ceil(T::MR);
    let mut b = Buffer::new(DType::F32, panels_n * T::NR * KC.min(p.k.max(1)));
    let b = b.as_mut_slice::<f32>();
    let mut sums = [0.0f32; MAX_TILE];
    // A product of no steps still writes its biases.
    for k0 in (0..p.k.max(1)).step_by(KC) {
        let kc = KC.min(p.k - k0);
        for (j, panel) in b[..panels_n * T::NR * kc].chunks_exact_mut((T::NR * kc).max(1)).enumerate() {
            let n0 = block.ns.start + j * T::NR;
            let ns = n0..block.ns.end.min(n0 + T::NR);
            if ns.len() < T::NR {
                panel.fill(0.0);
            }
            p.b.pack(ns, k0..k0 + kc, T::NR, panel);
        }
        let a = &p.a[panels_m * T::MR * k0..];
        let accum = if k0 == 0 { accum } else { Accum::Add };
        for j in 0..panels_n {
            let n0 = block.ns.start + j * T::NR;
            let ns = n0..block.ns.end.min(n0 + T::NR);
            for m0 in block.ms.clone().step_by(T::MR) {
                let ms = m0..block.ms.end.min(m0 + T::MR);
                T::multiply(kc, &a[m0 * kc..], &b[j * T::NR * kc..], &mut sums);
                for (i, m) in ms.enumerate() {
                    let start = p.c + m * p.ldc + ns.start;
                    assert!(start + ns.len() <= out.len);
                    // SAFETY: inside the output (asserted); rows ms and columns ns of this product belong to this block
                    // alone, blocks of one product are disjoint, and so are the products (contract of run_products).
                    let c = unsafe { std::slice::from_raw_parts_mut(out.ptr.add(start), ns.len()) };
                    let row = &mut sums[i * T::NR..][..ns.len()];
                    if k0 == 0 {
                        if let Some(bias) = p.row_bias {
                            row.iter_mut().for_each(|v| *v += bias[m]);
                        }
                        if let Some(bias) = p.column_bias {
                            row.iter_mut().zip(&bias[ns.clone()]).for_each(|(v, b)| *v += b);
                        }
                    }
                    match accum {
                        Accum::Write => c.copy_from_slice(row),
                        Accum::Add => c.iter_mut().zip(row).for_each(|(c, v)| *c += *v),
                    }
                }
            }
        }
    }
}

/// The row of the gemm table.
pub(super) fn run<T: Tile>(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let strides = |lanes_contiguous: bool, lanes: usize| if lanes_contiguous { (1, lanes) } else { (s.k, 1) };
    let view = |buffer, (lane_stride, k_stride)| Matrix { data: buffer, lane_stride, k_stride };
    let a = view(inputs[0].as_slice(), strides(s.ta, s.m));
    let b = view(inputs[1].as_slice(), strides(!s.tb, s.n));
    let a = pack_a::<T>(&a, s.m, s.k);
    let column_bias = (s.bias == Bias::Columns).then(|| inputs[2].as_slice());
    let product = Product { m: s.m, n: s.n, k: s.k, a: a.as_slice(), b: &b, c: 0, ldc: s.n, row_bias: None, column_bias };
    run_products::<T>(&[product], outputs[0].as_mut_slice(), accum);
}

pub(super) fn scratch(s: &GemmSpec) -> usize {
    4 * (s.m * s.k + KC * NC)
}
