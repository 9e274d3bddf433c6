//! Training on folders of images.
//!
//! A [`Recipe`] holds the hyperparameters and schedules of a run:
//!
//! ```
//! use convscope_models::train::{Method, Recipe};
//!
//! let recipe = Recipe { epochs: 30, lr: 0.05, method: Method::Sgd, ..Recipe::default() };
//! assert!(recipe.lr_at(2.0) < recipe.lr_at(5.0), "warm-up");
//! assert!(recipe.lr_at(30.0) < 1e-6, "half a cosine");
//! assert_eq!(recipe.size_in(29), recipe.size);
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `folder`, `photos` | the files of each class, and their pixels in memory |
//! | `recipe` | hyperparameters of a run, and its schedules |
//! | `augment`, `batches` | random augmentation, and threads that prefetch batches |
//! | `start` | initial weights: random, or another run's with a new last layer |
//! | `gradients` | forward, loss and backward of a batch |
//! | `trainer` | the loop: a step, an epoch, the validation after it |
//! | `state` | files of a run: models, a log, and the state for resuming |
//!
//! The same recipe, images and initial weights give the same bits, for any number of threads and interruptions: each epoch and
//! image has its own random stream (`random`).

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
pub use trainer::{Epoch, EpochProgress, Images, Trainer};

/// A training error. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A failed computation.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// An unreadable photo.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Weights that do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A weights file that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A log that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The log.
        path: std::path::PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The loss is NaN or infinite.
    #[error("the loss became {loss} in epoch {epoch}, step {step}: try a smaller learning rate, a longer warm-up or clipping")]
    Diverged {
        /// The loss.
        loss: f64,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step, counted from 1.
        step: usize,
    },
    /// A saved run that cannot be resumed.
    #[error("cannot resume from {}: {reason}", path.display())]
    Resume {
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        reason: String,
    },
}
