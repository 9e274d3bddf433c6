//! Analysis of a checkpoint, of a known network or not: statistics of each tensor, dead and duplicate filters, and a guess at the
//! network.
//!
//! ```
//! use convscope_models::{WeightsSource, inspect};
//!
//! let source = WeightsSource::builtin()?;
//! let tensors = inspect::inspect(source.checkpoint().unwrap())?;
//! assert_eq!((tensors[0].name.as_str(), &tensors[0].shape[..]), ("bn1.bias", &[32][..]));
//! assert!(tensors.iter().all(|tensor| tensor.stats.nan == 0));
//! assert_eq!(inspect::guess(&source)?.network.as_deref(), Some("resnet18-w32"));
//! # Ok::<(), convscope_models::LoadError>(())
//! ```

mod guess;
mod repeats;
mod stats;

pub use guess::{Guess, guess};
pub use repeats::{Duplicate, Repeats, repeats};
pub use stats::{Stats, stats};

use crate::weights::{Checkpoint, StoredTensor, StoredType, WeightsError};
use rayon::prelude::*;

/// A tensor of a checkpoint with its statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// Name in the file.
    pub name: String,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type in the file.
    pub dtype: StoredType,
    /// Statistics of the values.
    pub stats: Stats,
    /// Dead and duplicate filters, for a four-dimensional tensor: a convolution weight `[oc, c / groups, kh, kw]`.
    pub filters: Option<Repeats>,
}

impl Inspected {
    /// Size of the values in bytes.
    pub fn bytes(&self) -> u64 {
        self.stats.count as u64 * self.dtype.size() as u64
    }

    /// Whether training changes the tensor, by its type and name. Counters and running statistics are not parameters.
    pub fn is_parameter(&self) -> bool {
        let last = self.name.rsplit(['.', '/']).next().unwrap_or_default();
        let measured = ["running_mean", "running_var", "moving_mean", "moving_variance"];
        self.dtype.is_float() && !measured.contains(&last)
    }
}

/// Analyses every tensor, in the checkpoint's order.
///
/// # Errors
/// [`WeightsError`] if a tensor cannot be read or claims more bytes than the file has. NaN and infinity are counted.
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
