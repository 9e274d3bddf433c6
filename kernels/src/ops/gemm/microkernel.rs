//! The register tile: the innermost loop of every product, one text for all instruction sets.
//!
//! A tile multiplies a panel of `a` ([`Vector::ROWS`] rows, k-major) by up to [`WIDTH`] vectors of columns of `b` and keeps all
//! sums in registers: each step loads the numbers of `b`, broadcasts one number of `a` a row, and multiplies and adds. With
//! three vectors of columns, AVX-512 and NEON fill 24 of 32 registers with sums (8 rows), AVX2 and SSE 12 of 16 (4 rows).

use crate::simd::{Kernel, Vector};

/// Vectors of columns in a whole tile.
pub(crate) const WIDTH: usize = 3;

/// Largest `ROWS * WIDTH * LANES` of any vector.
pub(crate) const MAX_TILE: usize = 8 * WIDTH * 16;

/// Steps by which `a` is fetched in advance: it streams from L2 or beyond, while `b` stays near.
const AHEAD: usize = 128;

/// Steps in one turn of the loop.
const UNROLL: usize = 4;

/// Numbers in a cache line.
const LINE: usize = 16;

/// One tile: `c[rows, columns] (+)= a^T b`.
pub(crate) struct Tile {
    /// Steps.
    pub k: usize,
    /// `[k, a_step]`, of which `ROWS` are read.
    pub a: *const f32,
    pub a_step: usize,
    /// `[k, b_step]`, of which `columns`, rounded up to whole vectors, are read.
    pub b: *const f32,
    pub b_step: usize,
    /// At most `ROWS`.
    pub rows: usize,
    /// At most `WIDTH * LANES`.
    pub columns: usize,
    /// Stride of the output's rows.
    pub c: *mut f32,
    pub ldc: usize,
    /// Whether `c` holds sums to be added to.
    pub add: bool,
    /// Epilogue of the sums.
    pub epilogue: Epilogue,
}

/// The end of a product: `max(sums + row bias + column bias + residual, 0)`, each where it is given.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    /// `[rows]` or null.
    pub row_bias: *const f32,
    /// `[columns]` or null.
    pub column_bias: *const f32,
    /// Lies as `c` does, or null.
    pub residual: *const f32,
    pub relu: bool,
}

impl Epilogue {
    pub const NONE: Epilogue =
        Epilogue { row_bias: std::ptr::null(), column_bias: std::ptr::null(), residual: std::ptr::null(), relu: false };
}

/// # Safety
/// Beside what [`Vector`] asks for: all pointers are valid for the sizes their fields name.
impl Kernel for Tile {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's.
        unsafe {
            // ROWS is a constant, so one arm is left.
            match (V::ROWS, self.columns.div_ceil(V::LANES)) {
                (8, 3) => self.multiply::<V, 8, 3>(),
                (8, 2) => self.multiply::<V, 8, 2>(),
                (8, _) => self.multiply::<V, 8, 1>(),
                (_, 3) => self.multiply::<V, 4, 3>(),
                (_, 2) => self.multiply::<V, 4, 2>(),
                (_, _) => self.multiply::<V, 4, 1>(),
            }
        }
    }
}

/// One step: `sums[R, W] += a[R] b[W]`.
///
/// # Safety
/// As [`Vector`]; `R` numbers at `a` and `W` vectors at `b` must be valid.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const W: usize>(sums: &mut [[V; W]; R], a: *const f32, b: *const f32) {
    // SAFETY: the caller's.
    unsafe {
        let mut columns = [V::splat(0.0); W];
        for (j, v) in columns.iter_mut().enumerate() {
            *v = V::load(b.add(j * V::LANES));
        }
        for (i, row) in sums.iter_mut().enumerate() {
            let x = V::splat(*a.add(i));
            for (sum, y) in row.iter_mut().zip(columns) {
                *sum = x.mul_add(y, *sum);
            }
        }
    }
}

impl Tile {
    /// # Safety
    /// As the kernel's; `R` is [`Vector::ROWS`], and `W` vectors hold `columns`.
    #[inline(always)]
    unsafe fn multiply<V: Vector, const R: usize, const W: usize>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[V::splat(0.0); W]; R];
            let (mut a, mut b) = (self.a, self.b);
            // The outputs are needed at the end: time enough to prefetch them.
            for i in 0..self.rows {
                for j in 0..W {
                    V::prefetch(self.c.wrapping_add(i * self.ldc + j * V::LANES));
                }
            }
            // Four steps at a time: what a loop costs beside multiplying is a tenth of a single step.
            for _ in 0..self.k / UNROLL {
                for line in 0..UNROLL * R / LINE {
                    V::prefetch(a.wrapping_add(AHEAD * self.a_step + line * LINE));
                }
                for _ in 0..UNROLL {
                    step::<V, R, W>(&mut sums, a, b);
                    (a, b) = (a.add(self.a_step), b.add(self.b_step));
                }
            }
            for _ in 0..self.k % UNROLL {
                step::<V, R, W>(&mut sums, a, b);
                (a, b) = (a.add(self.a_step), b.add(self.b_step));
            }
            if self.rows == R && self.columns == W * V::LANES {
                self.put_whole::<V, R, W>(sums);
            } else {
                self.put_part::<V, R, W>(sums);
            }
        }
    }

    /// A whole tile: each step is a loop of its own, which the compiler unrolls, so that the sums stay in registers.
    ///
    /// # Safety
    /// As the kernel's, for a tile of `R` rows and `W` whole vectors.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn put_whole<V: Vector, const R: usize, const W: usize>(&self, mut sums: [[V; W]; R]) {
        let Epilogue { row_bias, column_bias, residual, relu } = self.epilogue;
        // SAFETY: the caller's.
        unsafe {
            let at = |i: usize, j: usize| i * self.ldc + j * V::LANES;
            if self.add {
                for i in 0..R {
                    for j in 0..W {
                        sums[i][j] = sums[i][j].add(V::load(self.c.add(at(i, j))));
                    }
                }
            }
            if !row_bias.is_null() {
                for i in 0..R {
                    let bias = V::splat(*row_bias.add(i));
                    for j in 0..W {
                        sums[i][j] = sums[i][j].add(bias);
                    }
                }
            }
            if !column_bias.is_null() {
                for j in 0..W {
                    let bias = V::load(column_bias.add(j * V::LANES));
                    for i in 0..R {
                        sums[i][j] = sums[i][j].add(bias);
                    }
                }
            }
            if !residual.is_null() {
                for i in 0..R {
                    for j in 0..W {
                        sums[i][j] = sums[i][j].add(V::load(residual.add(at(i, j))));
                    }
                }
            }
            if relu {
                for i in 0..R {
                    for j in 0..W {
                        // In this order NaN stays NaN.
                        sums[i][j] = V::splat(0.0).max(sums[i][j]);
                    }
                }
            }
            for i in 0..R {
                for j in 0..W {
                    sums[i][j].store(self.c.add(at(i, j)));
                }
            }
        }
    }

    /// A tile at the edge: what is beyond `rows` and `columns` is neither read nor written.
    ///
    /// # Safety
    /// As the kernel's; `W` vectors hold `columns`.
    #[inline(always)]
    unsafe fn put_part<V: Vector, const R: usize, const W: usize>(&self, sums: [[V; W]; R]) {
        let Epilogue { row_bias, column_bias, residual, relu } = self.epilogue;
        // SAFETY: the caller's.
        unsafe {
            for (i, row) in sums.iter().enumerate().take(self.rows) {
                for (j, sum) in row.iter().enumerate() {
                    let at = i * self.ldc + j * V::LANES;
                    let n = (self.columns - j * V::LANES).min(V::LANES);
                    let mut v = *sum;
                    if self.add {
                        v = v.add(V::load_first(self.c.add(at), n));
                    }
                    if !row_bias.is_null() {
                        v = v.add(V::splat(*row_bias.add(i)));
                    }
                    if !column_bias.is_null() {
                        v = v.add(V::load_first(column_bias.add(j * V::LANES), n));
                    }
                    if !residual.is_null() {
                        v = v.add(V::load_first(residual.add(at), n));
                    }
                    if relu {
                        v = V::splat(0.0).max(v);
                    }
                    v.store_first(self.c.add(at), n);
                }
            }
        }
    }
}
