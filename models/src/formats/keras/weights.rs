//! The variable of each parameter in a file.

use super::graph::LayerCall;
use crate::formats::{Checkpoint, Layout, StoredTensor};
use std::rc::Rc;

/// A parameter's values in a file: a variable of a Keras layer, in this layout.
#[derive(Debug)]
pub(super) struct Stored {
    pub call: LayerCall,
    pub variable: Variable,
    pub layout: Layout,
}

/// The same variable of the same layer, in the same layout.
impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        let same_variable = Rc::ptr_eq(&self.call.spec, &other.call.spec) && self.variable.index == other.variable.index;
        same_variable && self.layout == other.layout
    }
}

/// A variable of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    /// Its names in the versions of Keras.
    pub names: &'static [&'static str],
    /// Its index among the layer's variables, which is its name in Keras 3 files.
    pub index: usize,
}

impl Variable {
    /// The tensor in a file.
    ///
    /// # Errors
    /// A message with the names that were tried.
    pub fn find<'a>(&self, call: &LayerCall, checkpoint: &'a Checkpoint) -> Result<&'a StoredTensor, String> {
        let spec = &call.spec;
        let numbered = format!("{}.vars.{}", spec.path, self.index);
        // Names of the layer lists in files of Keras 2.12.
        let early = numbered.replace("layers.", "_layer_checkpoint_dependencies.");
        let own = |group: &str| self.names.iter().map(move |name| format!("{group}.{name}")).collect::<Vec<_>>();
        let group = spec.group.as_ref().unwrap_or(&spec.name);
        let exact = own(group).into_iter().chain([numbered.clone(), early]);
        let found = match &spec.group {
            // In a nested model, the file has the variable's path, which ends in the layer's name and its own.
            Some(group) => {
                let ends: Vec<String> = own(&spec.name).into_iter().map(|end| format!(".{end}")).collect();
                let inside = |t: &&StoredTensor| {
                    let rest = t.name.strip_prefix(group.as_str());
                    rest.is_some_and(|rest| ends.iter().any(|end| rest.ends_with(end.as_str())))
                };
                checkpoint.tensors().iter().find(inside)
            }
            None => None,
        };
        found.or_else(|| exact.into_iter().find_map(|name| checkpoint.get(&name))).ok_or_else(|| {
            let names = own(&spec.name).join(" or ");
            format!("it has no weights {names} (or {numbered}) for its layer {:?}", spec.name)
        })
    }
}

// Keras' names for the variables of its layers, newest first.

/// Filters of a convolution or matrix of a dense layer.
pub(super) const KERNEL: &[&str] = &["kernel", "W"];
/// Filters of a depthwise convolution.
pub(super) const DEPTHWISE: &[&str] = &["depthwise_kernel", "kernel"];
/// The 1x1 filters of a separable convolution.
pub(super) const POINTWISE: &[&str] = &["pointwise_kernel"];
/// Bias of a layer.
pub(super) const BIAS: &[&str] = &["bias", "b"];
/// Scale of a batch-norm.
pub(super) const SCALE: &[&str] = &["gamma"];
/// Shift of a batch-norm.
pub(super) const SHIFT: &[&str] = &["beta"];
/// Running mean of a batch-norm.
pub(super) const MEAN: &[&str] = &["moving_mean", "running_mean"];
/// Running variance of a batch-norm, under all names of Keras 1.
pub(super) const VARIANCE: &[&str] = &["moving_variance", "running_std"];
