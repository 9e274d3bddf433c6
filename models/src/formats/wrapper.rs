//! Prefixes that training scripts put around a state dict, as in published checkpoints.

use std::collections::BTreeSet;

/// Keys of the state dict in training checkpoints. Tensors beside such a key are not weights.
const CONTAINERS: [&str; 4] = ["state_dict", "model_state_dict", "model_state", "net_state_dict"];

/// Names of a module or dict around the whole network: DataParallel's `module`, `torch.compile`'s `_orig_mod`, and common
/// attribute names. A prefix is removed only if the whole network has it.
const PREFIXES: [&str; 5] = ["module", "_orig_mod", "model", "net", "network"];

/// Keys of a training script's own tensors, which may be beside one of the [`PREFIXES`].
const TRAINER_STATE: [&str; 14] = [
    "optimizer",
    "optimizer_state_dict",
    "optim",
    "lr_scheduler",
    "scheduler",
    "scaler",
    "model_ema",
    "ema",
    "state_dict_ema",
    "epoch",
    "best_acc",
    "best_acc1",
    "best_prec1",
    "args",
];

/// The dotted prefix, ending in a dot unless empty, of the tensors that belong to the network:
/// `state_dict.module.` for a DataParallel network inside a training checkpoint.
pub(super) fn wrapper_prefix<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut inside: Vec<&str> = names.collect();
    let mut prefix = String::new();
    while let Some(wrapper) = next_wrapper(&inside) {
        prefix.push_str(wrapper);
        prefix.push('.');
        inside = inside.iter().filter_map(|name| name.strip_prefix(wrapper)?.strip_prefix('.')).collect();
    }
    prefix
}

fn next_wrapper(names: &[&str]) -> Option<&'static str> {
    // A name without a dot is a tensor, not a prefix.
    let scopes: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let heads: BTreeSet<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
    let contains = CONTAINERS.into_iter().find(|key| scopes.contains(key));
    contains.or_else(|| {
        PREFIXES
            .into_iter()
            .find(|key| scopes.contains(key) && heads.iter().all(|head| head == key || TRAINER_STATE.contains(head)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_as_seen_in_the_wild() {
        for (names, prefix) in [
            (vec!["conv1.weight", "fc.bias"], ""),
            (vec!["state_dict.module.conv1.weight", "state_dict.module.fc.bias"], "state_dict.module."),
            (vec!["state_dict.conv1.weight", "optimizer.state.0.momentum_buffer", "best_prec1"], "state_dict."),
            (vec!["model.conv1.weight", "model_ema.conv1.weight", "optimizer.state.0.exp_avg"], "model."),
            (vec!["_orig_mod.module.conv1.weight"], "_orig_mod.module."),
            (vec!["state_dict.model.conv1.weight", "state_dict.model.fc.bias"], "state_dict.model."),
            (vec!["net.module.conv1.weight", "epoch"], "net.module."),
            // A part of the network lacks the prefix, so the prefix belongs to the names.
            (vec!["model.conv1.weight", "fc.bias"], ""),
            // A tensor of the same name.
            (vec!["model", "state_dict"], ""),
            (vec![], ""),
        ] {
            assert_eq!(wrapper_prefix(names.iter().copied()), prefix, "{names:?}");
        }
    }
}
