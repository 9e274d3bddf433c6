//! Alternative names of tensors in published files.

use crate::families::MOBILENET_V2_BLOCKS;

/// Scopes with other names in some checkpoints: the network's name, the file's name.
const SCOPES: [(&str, &str); 5] = [
    // The CIFAR ResNets of github.com/akamaster/pytorch_resnet_cifar10.
    ("fc", "linear"),
    ("linear", "fc"),
    // VGG in timm, whose classifier is a convolution.
    ("classifier.0", "pre_logits.fc1"),
    ("classifier.3", "pre_logits.fc2"),
    ("classifier.6", "head.fc"),
];

/// Possible names of the tensor in a file, the network's first.
pub(super) fn known_names(name: &str) -> Vec<String> {
    let inside = |scope: &str| name.strip_prefix(scope).filter(|rest| rest.starts_with('.'));
    let others = SCOPES.iter().filter_map(|(scope, other)| Some(format!("{other}{}", inside(scope)?)));
    std::iter::once(name.to_owned()).chain(others).chain(densenet(name)).chain(mobilenet_v2(name)).collect()
}

/// Name of a dense layer's parameter in torchvision's files, from before names could not contain dots:
/// `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`.
fn densenet(name: &str) -> Option<String> {
    let [rest, layer, parameter] =
        name.rsplitn(3, '.').collect::<Vec<_>>().try_into().map(|[p, l, r]: [&str; 3]| [r, l, p]).ok()?;
    let number = layer.strip_prefix("norm").or(layer.strip_prefix("conv")).filter(|n| matches!(*n, "1" | "2"))?;
    let inside = rest.rsplit('.').next()?.starts_with("denselayer");
    inside.then(|| format!("{rest}.{}.{number}.{parameter}", &layer[..4]))
}

/// timm's name for a tensor of MobileNet v2: `blocks.1.0.conv_pw.weight` for `features.2.conv.0.0.weight`.
fn mobilenet_v2(name: &str) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.')?;
    let renamed = match layer {
        "classifier.1" => "classifier".to_string(),
        "features.0.0" => "conv_stem".to_string(),
        "features.0.1" => "bn1".to_string(),
        "features.18.0" => "conv_head".to_string(),
        "features.18.1" => "bn2".to_string(),
        _ => {
            let (block, part) = layer.strip_prefix("features.")?.split_once(".conv.")?;
            let mut block = block.parse::<usize>().ok()?.checked_sub(1)?;
            let row = MOBILENET_V2_BLOCKS.into_iter().position(|blocks| match block.checked_sub(blocks) {
                Some(rest) => {
                    block = rest;
                    false
                }
                None => true,
            })?;
            // The first row has no expansion: its depthwise 3x3 comes first.
            let part = match (row, part) {
                (0, "0.0") | (1.., "1.0") => "conv_dw",
                (0, "1") | (1.., "0.0") => "conv_pw",
                (_, "0.1") => "bn1",
                (0, "2") | (1.., "1.1") => "bn2",
                (1.., "2") => "conv_pwl",
                (1.., "3") => "bn3",
                _ => return None,
            };
            format!("blocks.{row}.{block}.{part}")
        }
    };
    Some(format!("{renamed}.{parameter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_start_at_the_scope() {
        assert_eq!(known_names("fc.weight"), ["fc.weight", "linear.weight"]);
        assert_eq!(known_names("classifier.3.bias"), ["classifier.3.bias", "pre_logits.fc2.bias"]);
        assert_eq!(known_names("features.0.fc.weight"), ["features.0.fc.weight"]);
        assert_eq!(known_names("fc1.weight"), ["fc1.weight"]);
        let (new, old) = ("features.denseblock1.denselayer2.norm1.bias", "features.denseblock1.denselayer2.norm.1.bias");
        assert_eq!(known_names(new), [new, old]);
        assert_eq!(known_names("layer1.0.conv1.weight"), ["layer1.0.conv1.weight"]);
        assert_eq!(known_names("classifier.30.bias"), ["classifier.30.bias"]);
        for (name, timm) in [
            ("features.0.1.bias", "bn1.bias"),
            ("features.1.conv.1.weight", "blocks.0.0.conv_pw.weight"),
            ("features.2.conv.0.0.weight", "blocks.1.0.conv_pw.weight"),
            ("features.17.conv.3.running_var", "blocks.6.0.bn3.running_var"),
        ] {
            assert_eq!(known_names(name), [name, timm]);
        }
        assert_eq!(known_names("features.99.conv.3.bias"), ["features.99.conv.3.bias"]);
    }
}
