//! conv2d variant for groups of few channels: sums of shifted planes.
//!
//! Computes  out[oc] = sum over the group's c and taps of w[oc, c, tap] * x[c] shifted by the tap (+ bias + residual, relu), and both
//!           gradients
//! im2col wastes: it makes a matrix product of each group, whose panels of weights hold as few rows as a group has channels: most
//!                lanes of its tile are empty, and each input is copied once per kernel element for so few uses.
//! This variant:  lays zeros around the planes of a group, with columns and rows separated by stride phase, so that every tap of every
//!                convolution reads numbers that lie side by side. Pixels fill the lanes. `dx` is the same convolution of `dout`,
//!                once a stride phase; `dw` is a dot product a tap.
//! `depthwise`:   one channel a group has one plane to read. Some rows of one output channel are summed in registers ([`Depthwise`]).
//! `grouped`:     several channels share a plane. Rows follow each other with their zeros between them, so that only the end of a
//!                plane leaves lanes empty, however short rows are. A vector of pixels is loaded once for four output channels, a
//!                weight once for several vectors ([`Grouped`]).
//! Loses when:    groups fill the lanes of the direct variant, and their planes no longer stay in cache. `depthwise` never loses.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=depthwise_avx2,conv2d.dgrad=grouped_avx2

mod convolve;
mod depthwise;
mod grouped;
mod padded;
mod wgrad;

pub(super) use convolve::{dgrad, fwd};
pub(super) use depthwise::Depthwise;
pub(super) use grouped::Grouped;
pub(super) use wgrad::wgrad;

use super::Conv2dSpec;
use crate::core::device::Real;
use crate::simd::Vector;

/// Taps whose dot products any tile sums at a time.
const MAX_TAPS: usize = 9;
/// Multiply-adds that are too few for a second thread.
const FEW: usize = 1 << 17;

/// The register tiles of a group: [`Depthwise`] or [`Grouped`].
pub(in crate::ops::conv2d) trait Tile {
    /// Channels that are summed at a time.
    const CHANNELS: usize;
    /// Taps whose dot products are summed at a time.
    const TAPS: usize;
    /// Whether the gradient is copied with the row stride of the padded input.
    const COPIES: bool;
    /// The type in which dot products over some images are added to those of others.
    type Sum: Real;

    /// Numbers of scratch for the sums of [`Tile::convolve`].
    fn sums(plan: &convolve::Plan) -> usize;

    /// Images whose dot products are summed at a time, with so many numbers an image.
    fn images(s: &Conv2dSpec, numbers: usize) -> usize;

    /// Writes the planes of `channels` channels of a group from `first` on, at most [`Tile::CHANNELS`].
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn convolve<V: Vector>(group: &mut convolve::Group, first: usize, channels: usize);

    /// Dot products `[channel][tap]` of the gradients of `channels` channels.
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn dots<V: Vector>(dots: &wgrad::Dots, channels: usize) -> [f32; 16];
}

/// The least number of groups for a thread, each of which writes `outputs` sums over a kernel.
fn min_groups(s: &Conv2dSpec, outputs: usize) -> usize {
    (FEW / (outputs * s.kernel[0] * s.kernel[1]).max(1)).max(1)
}
