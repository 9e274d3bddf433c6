//! Matrix product `c[m,n] (+)= op(a) · op(b) (+ bias)`: the table and its problem.
//!
//! ```
//! use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
//! use convscope_kernels::{Accum, Buffer, Context};
//!
//! let spec = GemmSpec { m: 1, n: 2, k: 3, ta: false, tb: true, bias: Bias::Columns }; // A dense layer of one image.
//! let x = Buffer::from_slice(&[1.0f32, 2.0, 3.0]);
//! let w = Buffer::from_slice(&[1.0f32, 0.0, 0.0, 0.0, 1.0, 1.0]); // [2,3]: one row for each output
//! let bias = Buffer::from_slice(&[0.5f32, 0.0]);
//! let mut out = Buffer::zeros(x.dtype(), 2);
//! GEMM.run(&Context::default(), &spec, &[&x, &w, &bias], &mut [&mut out], Accum::Write)?;
//! assert_eq!(out.as_slice::<f32>(), [1.5, 5.0]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;

pub(crate) mod microkernel;
mod naive;
pub(crate) mod pack;
pub(crate) mod packed;
mod rows;

use crate::core::sizes::elements;
use crate::core::table::{Operand, ROUNDING, Row, Signature, Table};
use crate::simd::rows::{each_isa, names};
use crate::simd::{self, Vector};
use std::fmt;

/// Bias that is added to every row of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Nothing.
    None,
    /// A vector over the columns, `[n]`: the bias of a dense layer.
    Columns,
}

/// A product of row-major matrices: `a` is `[m,k]` or, transposed, `[k,m]`; `b` is `[k,n]` or, transposed, `[n,k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmSpec {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Whether `a` is stored `[k,m]`.
    pub ta: bool,
    /// Whether `b` is stored `[n,k]`.
    pub tb: bool,
    /// Third input, if any.
    pub bias: Bias,
}

impl GemmSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        let GemmSpec { m, n, k, .. } = *self;
        elements("a", &[m, k])?;
        elements("b", &[k, n])?;
        elements("c", &[m, n])?;
        elements("products", &[m, n, k]).map(|_| ())
    }
}

impl fmt::Display for GemmSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let t = |t| if t { "^T" } else { "" };
        write!(f, "m{} n{} k{} a{} b{}", self.m, self.n, self.k, t(self.ta), t(self.tb))?;
        if self.bias == Bias::Columns { f.write_str(" +bias") } else { Ok(()) }
    }
}

fn signature(s: &GemmSpec) -> Signature {
    let mut inputs = vec![Operand::any("a", s.m * s.k), Operand::any("b", s.k * s.n)];
    if s.bias == Bias::Columns {
        inputs.push(Operand::any("bias", s.n));
    }
    Signature { inputs, outputs: vec![Operand::any("c", s.m * s.n)] }
}

fn cases() -> Vec<GemmSpec> {
    let sizes = [
        (1, 1, 1),
        (1, 7, 300),
        (1, 130, 65),
        (2, 65, 3),
        (5, 1, 64),
        (3, 15, 17),
        (8, 47, 31),
        (9, 49, 33),
        (13, 33, 17),
        (63, 64, 65),
        (64, 129, 257),
        (130, 40, 520),
        // Few results of long sums: cut and added.
        (20, 40, 3000),
    ];
    let mut v = Vec::new();
    for (m, n, k) in sizes {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let bias = if ta == tb { Bias::Columns } else { Bias::None };
            v.push(GemmSpec { m, n, k, ta, tb, bias });
        }
    }
    v
}

const fn vector_rows<V: Vector>() -> [Row<GemmSpec>; 2] {
    [
        Row::on::<V>(names!("rows"), ROUNDING, rows::run::<V>).supports(rows::supported).scratch(|s| 4 * s.m * s.n),
        Row::on::<V>(names!("packed"), ROUNDING, packed::run::<V>).scratch(packed::scratch),
    ]
}

/// `gemm`: inputs `a`, `b`, optionally `bias`; output `c`.
pub static GEMM: Table<GemmSpec> = Table {
    op: "gemm",
    valid: GemmSpec::valid,
    signature,
    flops: |s| 2 * (s.m * s.n * s.k) as u64,
    terms: |s| s.k,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::gemm::cuda::GEMM,
    rows: each_isa!(vector_rows, simd::rows::naive(ROUNDING, naive::run::<f32>, naive::run::<f64>)),
};
