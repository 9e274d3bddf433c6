//! Which variable of a file fills which parameter.

use super::fields::Spec;
use super::graph::Call;
use crate::formats::{Checkpoint, Layout, StoredTensor};
use crate::network::LayerId;
use std::rc::Rc;

/// A parameter of the network and what fills it.
#[derive(Debug)]
pub(super) struct Weight {
    pub layer: LayerId,
    /// Last part of the parameter's name, such as `running_mean`.
    pub param: &'static str,
    pub from: From,
}

impl Weight {
    /// Whether the other one is the same parameter, filled by the same variable in the same order or by the same numbers.
    pub fn fills_as(&self, other: &Self) -> bool {
        let same = match (&self.from, &other.from) {
            (From::Variable(call, variable, layout), From::Variable(other, others, orders)) => {
                Rc::ptr_eq(&call.spec, &other.spec) && variable.index == others.index && layout == orders
            }
            (From::Values(values), From::Values(others)) => values == others,
            _ => false,
        };
        same && self.param == other.param
    }
}

impl From {
    /// The layer whose variable it is.
    pub fn spec(&self) -> Option<*const Spec> {
        match self {
            Self::Variable(call, ..) => Some(Rc::as_ptr(&call.spec)),
            Self::Values(_) => None,
        }
    }
}

/// Where a parameter's values come from.
#[derive(Debug)]
pub(super) enum From {
    /// A variable of a Keras layer, in this layout.
    Variable(Call, Variable, Layout),
    /// The settings of the layer.
    Values(Vec<f64>),
}

/// A variable of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    /// Its names in the versions of Keras.
    pub names: &'static [&'static str],
    /// Its place among the layer's variables, by which Keras 3 files call it.
    pub index: usize,
}

impl Variable {
    /// The tensor in a file.
    ///
    /// # Errors
    /// What it could have been called.
    pub fn find<'a>(&self, call: &Call, checkpoint: &'a Checkpoint) -> Result<&'a StoredTensor, String> {
        let spec = &call.spec;
        let numbered = format!("{}.vars.{}", spec.path, self.index);
        // What the lists of layers are called in the files of Keras 2.12.
        let early = numbered.replace("layers.", "_layer_checkpoint_dependencies.");
        let own = |group: &str| self.names.iter().map(move |name| format!("{group}.{name}")).collect::<Vec<_>>();
        let group = spec.group.as_ref().unwrap_or(&spec.name);
        let exact = own(group).into_iter().chain([numbered.clone(), early]);
        let found = match &spec.group {
            // Within a model the file has the path of the variable, which ends in the layer's name and its own.
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
