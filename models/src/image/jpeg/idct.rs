//! The inverse DCT of libjpeg's "islow" method, to the bit: Loeffler, Ligtenberg and Moschytz, ICASSP 1989, with 12
//! multiplications a row and 13-bit constants; columns first, kept with 2 more bits, then rows.

use std::array;
use std::num::Wrapping;

/// Wrapping: a damaged file can hold coefficients beyond the range of 8-bit images.
type Number = Wrapping<i32>;

const CONSTANT_BITS: usize = 13;
const EXTRA_BITS: usize = 2;

/// A constant of the paper in fixed point.
const fn fix(x: f64) -> Number {
    Wrapping((x * (1 << CONSTANT_BITS) as f64 + 0.5) as i32)
}

/// The samples of a block, row-major, from its coefficients and quantisation table.
pub(super) fn inverse_dct(coefficients: &[i16; 64], quantisation: &[u16; 64]) -> [[u8; 8]; 8] {
    let dequantised = |i: usize| Wrapping(i32::from(coefficients[i])) * Wrapping(i32::from(quantisation[i]));
    let columns: [[Number; 8]; 8] = array::from_fn(|x| {
        let column = transform(array::from_fn(|y| dequantised(y * 8 + x)));
        column.map(|v| descale(v, CONSTANT_BITS - EXTRA_BITS))
    });
    array::from_fn(|y| {
        let row = transform(array::from_fn(|x| columns[x][y]));
        row.map(|v| (descale(v, CONSTANT_BITS + EXTRA_BITS + 3) + Wrapping(128)).0.clamp(0, 255) as u8)
    })
}

fn descale(v: Number, bits: usize) -> Number {
    (v + Wrapping(1 << (bits - 1))) >> bits
}

/// Eight values, scaled by sqrt(8) and [`CONSTANT_BITS`].
fn transform(x: [Number; 8]) -> [Number; 8] {
    let z = (x[2] + x[6]) * fix(0.541196100);
    let (a, b) = (z - x[6] * fix(1.847759065), z + x[2] * fix(0.765366865));
    let (c, d) = ((x[0] + x[4]) << CONSTANT_BITS, (x[0] - x[4]) << CONSTANT_BITS);
    let even = [c + b, d + a, d - a, c - b];

    let z5 = (x[7] + x[3] + x[5] + x[1]) * fix(1.175875602);
    let z1 = (x[7] + x[1]) * fix(0.899976223);
    let z2 = (x[5] + x[3]) * fix(2.562915447);
    let z3 = z5 - (x[7] + x[3]) * fix(1.961570560);
    let z4 = z5 - (x[5] + x[1]) * fix(0.390180644);
    let odd = [
        x[1] * fix(1.501321110) - z1 + z4,
        x[3] * fix(3.072711026) - z2 + z3,
        x[5] * fix(2.053119869) - z2 + z4,
        x[7] * fix(0.298631336) - z1 + z3,
    ];
    array::from_fn(|i| if i < 4 { even[i] + odd[i] } else { even[7 - i] - odd[7 - i] })
}
