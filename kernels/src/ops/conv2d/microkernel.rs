//! The register tile of the direct convolution and of Winograd's products: pixels (or tiles) by output channels.
//!
//! A tile keeps the sums of some groups of neighbouring pixels and up to two vectors of output channels in registers. Each step (an
//! input channel and a kernel element) loads the weights of these output channels and broadcasts one number of the input a pixel,
//! straight from the image. AVX-512 and NEON hold 28 sums in their 32 registers: two groups of seven pixels, which divide the rows
//! of the networks that were trained on images of 224 pixels (112, 56, 28, 14, 7). AVX2 and SSE hold 12 in 16: two groups of three.

use crate::simd::{Kernel, Vector};

/// Groups of a whole tile, but for groups of three in 32 registers.
pub(super) const GROUPS: usize = 2;
/// Pixels of a group at most, with any vector.
pub(super) const LONGEST: usize = 7;
/// Rows of fewer pixels are not for groups.
pub(super) const SHORTEST: usize = 4;
/// Vectors of output channels in a panel of the weight.
const WIDE: usize = 2;
/// Value of const parameter `S`: the pitch is `V::LANES`.
const PITCH_LANES: usize = usize::MAX;
/// Value of const parameter `S`: the pitch is only known at run time.
const PITCH_DYNAMIC: usize = 0;

/// Whether there are 32 registers; else there are 16.
pub(super) const fn has_32_registers<V: Vector>() -> bool {
    V::ROWS == 8
}

/// The length of groups that takes least time for rows of `length` pixels: beside its pixels, a group costs half of one.
pub(super) fn group<V: Vector>(length: usize) -> usize {
    let lengths = if has_32_registers::<V>() { SHORTEST..=LONGEST } else { 3..=3 };
    lengths.min_by_key(|pixels| length.div_ceil(*pixels) * (2 * pixels + 1)).unwrap_or(LONGEST)
}

/// Whole tiles of so many groups.
pub(super) fn whole_tiles<V: Vector>(pixels: usize, groups: usize) -> usize {
    groups / if has_32_registers::<V>() && pixels == 3 { 2 * GROUPS } else { GROUPS }
}

/// Output channels in a panel of the weight.
pub(super) const fn panel_width<V: Vector>() -> usize {
    WIDE * V::LANES
}

/// Neighbouring output pixels of one row.
#[derive(Clone, Copy)]
pub(super) struct PixelGroup {
    /// Where the first one sees the input, from the start of a channel of the band.
    pub x: usize,
    /// Index of the first one's accumulators in a panel.
    pub accumulator: usize,
    /// Those that are this group's own: others are computed too, but not stored.
    pub first: usize,
    pub end: usize,
}

/// Cache lines that are prefetched while a tile computes, one a step, from an address that may be any.
#[derive(Clone, Copy)]
pub(super) enum Prefetch {
    /// Lines that follow each other, such as a weight's.
    Run(*const f32),
    /// One of each channel, for a kernel of one element.
    Channels(*const f32),
}

/// Some steps of the sums of one panel of output channels, over all pixels of a band.
pub(super) struct TilePass<'a> {
    /// Pixels of a group: those of [`group`], or 3 with a pitch of 1; only the latter in 16 registers.
    pub pixels: usize,
    /// Numbers between neighbouring pixels of a group.
    pub pitch: usize,
    pub groups: &'a [PixelGroup],
    pub channels: usize,
    /// Input channels of the band, the first one of these steps.
    pub x: *const f32,
    pub channel_stride: usize,
    /// Offset of the input that each kernel element sees, from that of the pixel.
    pub taps: &'a [usize],
    /// `[channels, taps, panel]`
    pub w: *const f32,
    /// Vectors of the panel that hold output channels.
    pub vectors: usize,
    /// What whole tile `i` of the band prefetches meanwhile for later passes: what comes from memory or another core, in runs too
    /// short for the processor to foresee them.
    pub prefetch: &'a dyn Fn(usize) -> Prefetch,
    /// `[accumulator, panel]`
    pub sums: *mut f32,
    /// Initial sums, `[panel]`; null where `sums` holds those of earlier steps.
    pub start: *const f32,
    /// Whether negative sums become zero: only with the last steps.
    pub relu: bool,
    /// Planes that the epilogue needs, prefetched meanwhile: with stride `plane_stride`, and a pixel for each accumulator.
    pub prefetch_planes: [Option<*const f32>; 2],
    pub plane_stride: usize,
}

/// # Safety
/// Beside what [`Vector`] asks for, with pixels `i` in `0..pixels`, own or not, of each group:
/// - `x` is valid for reads at `group.x + c * channel_stride + tap + i * pitch` for every channel `c` in `0..channels` and every tap;
/// - `w` is valid for reads of `vectors` vectors at the start of each of `channels * taps` lines of `panel` numbers;
/// - `sums` is valid for reads (where `start` is null) and writes of `vectors` vectors at `(group.accumulator + i) * panel`: groups overhang,
///   so there are more accumulators than pixels;
/// - `start` is null, or valid for reads of `vectors` vectors;
/// - nobody else uses `sums` meanwhile.
///
/// Prefetched addresses may lie anywhere.
impl Kernel for TilePass<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's.
        unsafe { if self.vectors == 2 { self.dispatch::<V, 2>() } else { self.dispatch::<V, 1>() } }
    }
}

impl TilePass<'_> {
    /// The tiles of this number of registers, pixels of a group, and pitch.
    ///
    /// # Safety
    /// As the kernel's; `W` is `vectors`.
    #[inline(always)]
    unsafe fn dispatch<V: Vector, const W: usize>(&self) {
        const LANES: usize = PITCH_LANES;
        const DYNAMIC: usize = PITCH_DYNAMIC;
        let pitch = match self.pitch {
            pitch @ (1 | 2) => pitch,
            pitch if pitch == V::LANES => LANES,
            _ => DYNAMIC,
        };
        // SAFETY: the caller's.
        unsafe {
            match (has_32_registers::<V>(), self.pixels, pitch) {
                (true, 3, _) => self.all_groups::<V, 3, W, 1, 4>(),
                (true, 7, 1) => self.all_groups::<V, 7, W, 1, 2>(),
                (true, 6, 1) => self.all_groups::<V, 6, W, 1, 2>(),
                (true, 5, 1) => self.all_groups::<V, 5, W, 1, 2>(),
                (true, _, 1) => self.all_groups::<V, 4, W, 1, 2>(),
                (true, 7, 2) => self.all_groups::<V, 7, W, 2, 2>(),
                (true, 6, 2) => self.all_groups::<V, 6, W, 2, 2>(),
                (true, 5, 2) => self.all_groups::<V, 5, W, 2, 2>(),
                (true, _, 2) => self.all_groups::<V, 4, W, 2, 2>(),
                (true, 7, LANES) => self.all_groups::<V, 7, W, LANES, 2>(),
                (true, 6, LANES) => self.all_groups::<V, 6, W, LANES, 2>(),
                (true, 5, LANES) => self.all_groups::<V, 5, W, LANES, 2>(),
                (true, _, LANES) => self.all_groups::<V, 4, W, LANES, 2>(),
                (true, 7, _) => self.all_groups::<V, 7, W, DYNAMIC, 2>(),
                (true, 6, _) => self.all_groups::<V, 6, W, DYNAMIC, 2>(),
                (true, 5, _) => self.all_groups::<V, 5, W, DYNAMIC, 2>(),
                (true, _, _) => self.all_groups::<V, 4, W, DYNAMIC, 2>(),
                (false, _, 1) => self.all_groups::<V, 3, W, 1, 2>(),
                (false, _, 2) => self.all_groups::<V, 3, W, 2, 2>(),
                (false, _, LANES) => self.all_groups::<V, 3, W, LANES, 2>(),
                (false, _, _) => self.all_groups::<V, 3, W, DYNAMIC, 2>(),
            }
        }
    }

    /// All groups, `G` at a time, with a pitch of `S`, [`PITCH_LANES`] or [`PITCH_DYNAMIC`].
    ///
    /// # Safety
    /// As the kernel's; `P` is `pixels`, `W` is `vectors`, and `S` stands for `pitch`.
    #[inline(always)]
    unsafe fn all_groups<V: Vector, const P: usize, const W: usize, const S: usize, const G: usize>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let (tiles, rest) = self.groups.as_chunks::<G>();
            for (i, tile) in tiles.iter().enumerate() {
                // The distance to the next line is a constant where it can be: the tile has no register to spare.
                match (self.prefetch)(i) {
                    Prefetch::Run(from) => self.tile::<V, P, W, S, G, true>(*tile, from),
                    Prefetch::Channels(from) => self.tile::<V, P, W, S, G, false>(*tile, from),
                }
            }
            for last in rest {
                // As a run, whatever it is: groups that no tile holds are few, and not worth a second loop.
                let (Prefetch::Run(from) | Prefetch::Channels(from)) = (self.prefetch)(tiles.len());
                self.tile::<V, P, W, S, 1, true>([*last], from);
            }
        }
    }

    /// # Safety
    /// As the kernel's, for these groups of all `P` pixels: each of them is loaded and computed, and those from `first` to `end` are stored.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn tile<V: Vector, const P: usize, const W: usize, const S: usize, const G: usize, const RUN: bool>(
        &self,
        groups: [PixelGroup; G],
        prefetch: *const f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let step = panel_width::<V>();
            let mut sums = [[[V::splat(0.0); W]; P]; G];
            let at = |g: usize, i: usize, j: usize| self.sums.add((groups[g].accumulator + i) * step + j * V::LANES);
            if self.start.is_null() {
                for g in 0..G {
                    for i in 0..P {
                        for j in 0..W {
                            sums[g][i][j] = V::load(at(g, i, j));
                        }
                    }
                }
            } else {
                for j in 0..W {
                    let start = V::load(self.start.add(j * V::LANES));
                    for g in 0..G {
                        for i in 0..P {
                            sums[g][i][j] = start;
                        }
                    }
                }
            }
            for planes in self.prefetch_planes.into_iter().flatten() {
                for c in 0..W * V::LANES {
                    V::prefetch(planes.wrapping_add(c * self.plane_stride + groups[G - 1].accumulator));
                }
            }
            let mut x = groups.map(|g| self.x.add(g.x));
            let pitch = match S {
                PITCH_LANES => V::LANES,
                PITCH_DYNAMIC => self.pitch,
                _ => S,
            };
            let (mut w, mut next) = (self.w, prefetch);
            // Asked once: the compiler asks before each loop over the taps otherwise.
            let channels = if self.taps.is_empty() { 0..0 } else { 0..self.channels };
            for _ in channels {
                for tap in self.taps {
                    let mut weights = [V::splat(0.0); W];
                    for j in 0..W {
                        weights[j] = V::load(w.add(j * V::LANES));
                    }
                    V::prefetch(next);
                    for g in 0..G {
                        let x = x[g].add(*tap);
                        for i in 0..P {
                            let v = V::splat(*x.add(i * pitch));
                            for j in 0..W {
                                sums[g][i][j] = v.mul_add(weights[j], sums[g][i][j]);
                            }
                        }
                    }
                    w = w.add(step);
                    next = next.wrapping_add(if RUN { V::LANES } else { self.channel_stride });
                }
                for x in &mut x {
                    *x = x.wrapping_add(self.channel_stride);
                }
            }
            if self.relu {
                for g in 0..G {
                    for i in 0..P {
                        for j in 0..W {
                            // In this order NaN stays NaN.
                            sums[g][i][j] = V::splat(0.0).max(sums[g][i][j]);
                        }
                    }
                }
            }
            for g in 0..G {
                let PixelGroup { first, end, .. } = groups[g];
                for i in 0..P {
                    if i >= first && i < end {
                        for j in 0..W {
                            sums[g][i][j].store(at(g, i, j));
                        }
                    }
                }
            }
        }
    }
}
