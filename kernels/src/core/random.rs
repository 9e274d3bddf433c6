//! Counter-based random numbers: the same bits for the same (seed, counter), on any device and any number of threads.
//!
//! Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

/// Four random words for one counter value.
pub fn philox(seed: u64, counter: u64) -> [u32; 4] {
    let (mut k0, mut k1) = (seed as u32, (seed >> 32) as u32);
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    for _ in 0..10 {
        let p0 = 0xD251_1F53_u64 * u64::from(c[0]);
        let p1 = 0xCD9E_8D57_u64 * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k1, p0 as u32];
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    c
}

/// Number `i` of the uniform stream of `seed`, in [0, 1), with 24 bits.
pub fn uniform(seed: u64, i: u64) -> f32 {
    let word = philox(seed, i / 4)[(i % 4) as usize];
    (word >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Number `i` of the standard normal stream of `seed` (Box-Muller).
pub fn normal(seed: u64, i: u64) -> f32 {
    let w = philox(seed, i);
    // (0, 1] so that the logarithm is finite.
    let u = (f64::from(w[0]) + 1.0) / 4_294_967_296.0;
    let v = f64::from(w[1]) / 4_294_967_296.0;
    ((-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32-10).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn streams_have_the_right_moments() {
        let n = 100_000;
        let mean = (0..n).map(|i| f64::from(uniform(7, i))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let (mut m, mut v) = (0.0, 0.0);
        for i in 0..n {
            let x = f64::from(normal(7, i));
            m += x;
            v += x * x;
        }
        assert!((m / n as f64).abs() < 0.02 && (v / n as f64 - 1.0).abs() < 0.02);
    }
}
