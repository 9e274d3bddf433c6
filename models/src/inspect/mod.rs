//! What a checkpoint holds, known network or not: statistics of each tensor, filters that do nothing or what another does, and
//! a guess at the network.

mod guess;
mod repeats;
mod stats;

pub use guess::{Guess, guess};
pub use repeats::{Duplicate, Repeats, repeats};
pub use stats::{Stats, stats};

use crate::weights::{Checkpoint, StoredTensor, StoredType, WeightsError};
use rayon::prelude::*;

/// A tensor of a checkpoint and what its values are like.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// Name in the file.
    pub name: String,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type in the file.
    pub dtype: StoredType,
    /// Its values.
    pub stats: Stats,
    /// Its filters, where it has four dimensions and so can be a convolution's weight, `[oc, c / groups, kh, kw]`.
    pub filters: Option<Repeats>,
}

impl Inspected {
    /// Bytes of the values.
    pub fn bytes(&self) -> u64 {
        self.stats.count as u64 * self.dtype.size() as u64
    }

    /// Whether training changes it, as far as the type and the name tell: counters and the running statistics of a batch-norm
    /// are only measured.
    pub fn is_parameter(&self) -> bool {
        let last = self.name.rsplit(['.', '/']).next().unwrap_or_default();
        let measured = ["running_mean", "running_var", "moving_mean", "moving_variance"];
        self.dtype.is_float() && !measured.contains(&last)
    }
}

/// Looks at every tensor, in the checkpoint's order.
///
/// # Errors
/// A tensor cannot be read or claims more bytes than the file has. NaN and infinity are counted, not refused.
pub fn inspect(checkpoint: &Checkpoint) -> Result<Vec<Inspected>, WeightsError> {
    checkpoint.tensors().par_iter().map(look).collect()
}

fn look(tensor: &StoredTensor) -> Result<Inspected, WeightsError> {
    let stats = stats(tensor.dtype, &tensor.bytes()?);
    let filters = match tensor.shape[..] {
        [count, _, _, _] if tensor.dtype.is_float() => Some(repeats(count, &tensor.to_f32()?)),
        _ => None,
    };
    Ok(Inspected { name: tensor.name.clone(), shape: tensor.shape.clone(), dtype: tensor.dtype, stats, filters })
}
