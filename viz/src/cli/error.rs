//! Errors of commands: one line and an exit code.

use convscope_models::LoadError;
use convscope_models::image::ImageError;
use convscope_models::labels::LabelError;
use convscope_models::network::NetworkError;
use convscope_models::train::{FolderError, TrainError};
use convscope_models::weights::WeightsError;
use convscope_viz::VizError;
use convscope_viz::ascent::AscentError;
use convscope_viz::draw::DrawError;

/// The reason for the end of a command.
#[derive(Debug)]
pub struct CliError {
    /// Exit code: 2 for usage errors, 1 for all others.
    pub code: u8,
    /// One line; a list of tensors may follow.
    pub message: String,
}

impl CliError {
    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        CliError { code: 2, message: message.into() }
    }

    /// Any other error.
    pub fn failure(message: impl Into<String>) -> Self {
        CliError { code: 1, message: message.into() }
    }
}

macro_rules! codes {
    ($($error:ty => $code:expr),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(e: $error) -> Self {
                #[allow(clippy::redundant_closure_call)]
                CliError { code: ($code)(&e), message: e.to_string() }
            }
        })*
    };
}

codes!(
    NetworkError => |_: &_| 2,
    LabelError => |_: &_| 2,
    ImageError => |_: &_| 1,
    WeightsError => |e: &WeightsError| if matches!(e, WeightsError::HubAddress { .. }) { 2 } else { 1 },
    LoadError => |e: &LoadError| if e.is_usage() { 2 } else { 1 },
    FolderError => |_: &_| 1,
    TrainError => |_: &_| 1,
    DrawError => |_: &_| 1,
    image::ImageError => |_: &_| 1,
    convscope_engine::Error => |_: &_| 1,
    convscope_kernels::Error => |_: &_| 2,
    AscentError => |e: &AscentError| match e {
        AscentError::Network(_) | AscentError::Option { .. } | AscentError::Border { .. } => 2,
        _ => 1,
    },
    VizError => |e: &VizError| match e {
        VizError::NoSuchClass { .. } | VizError::NotSpatial { .. } | VizError::NoFilters { .. } => 2,
        VizError::NotFilters { .. } | VizError::Network(_) => 2,
        _ => 1,
    },
);
