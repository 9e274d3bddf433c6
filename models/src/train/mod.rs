//! Training on folders of images.
//!
//! | file | holds |
//! |---|---|
//! | `folder`, `photos` | the files of each class, and their pixels in memory |
//! | `recipe` | the numbers of a run, and its schedules |
//! | `augment`, `batches` | random changes, and threads that make batches ahead of the network |
//! | `start` | first weights: drawn, or those of another run with a new head |
//! | `gradients` | forward, loss, backward: what a batch says of the weights |
//! | `trainer` | the loop: a step, an epoch, what is measured after it |
//! | `state` | what is on the disk: models to use, a log, and all that goes on where a run was cut off |
//!
//! The same recipe, images and first weights give the same bits, whatever the number of threads and interruptions: everything
//! random is drawn from a stream of its own for each epoch and image (`random`).

mod augment;
mod batches;
mod folder;
mod gradients;
mod photos;
mod random;
mod recipe;
mod start;
mod state;
mod trainer;

use crate::image::ImageError;
use crate::weights::WeightsError;
use crate::{LoadError, engine};

pub use folder::{ClassFolder, FolderError, ImageFolder, class_folders};
pub use gradients::{Gradients, gradients};
pub use photos::Photos;
pub use recipe::{Augment, Method, Recipe};
pub use start::{draw, transfer};
pub use state::{BEST, LAST, Resumed, STATE};
pub use trainer::{Epoch, Images, Step, Trainer};

/// Why training cannot go on. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A computation.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A photo.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Weights.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file of weights that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A log that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The log.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The loss is no number.
    #[error("the loss became {loss} in epoch {epoch}, step {step}: try a smaller learning rate, a longer warm-up or clipping")]
    Diverged {
        /// What became of it.
        loss: f64,
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1.
        step: usize,
    },
    /// A saved run that cannot be gone on with.
    #[error("cannot resume from {}: {reason}", path.display())]
    Resume {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
