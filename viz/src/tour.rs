//! Which layers of a network are worth a look, for who has not named any.

use convscope_models::network::{LayerId, LayerKind, Network, NetworkError, ScopeKind, Shape};

/// The last layer of each resolution, from the image to the output: where the network has done all it does at that scale. Layers of
/// one pixel, poolings (they only choose) and shortcuts do not count.
///
/// # Errors
/// As [`Network::shapes`], for images of `h` x `w`.
pub fn stages(network: &Network, h: usize, w: usize) -> Result<Vec<LayerId>, NetworkError> {
    let mut last: Vec<([usize; 2], LayerId)> = Vec::new();
    for (id, size) in maps(network, &network.shapes(h, w)?) {
        let kind = &network[id].kind;
        let norm = matches!(kind, LayerKind::BatchNorm2d { .. } | LayerKind::FrozenBatchNorm2d { .. });
        let computes = kind.is_activation() || norm || matches!(kind, LayerKind::Conv2d(_) | LayerKind::Add);
        if !computes || network.in_shortcut(id) {
            continue;
        }
        match last.last_mut() {
            Some((same, at)) if *same == size => *at = id,
            _ => last.push((size, id)),
        }
    }
    Ok(last.into_iter().map(|(_, id)| id).collect())
}

/// The feature maps on the way through a network: after each activation and pooling, and of a residual network after each block
/// instead of each activation within.
///
/// # Errors
/// As [`Network::shapes`], for images of `h` x `w`.
pub fn waypoints(network: &Network, h: usize, w: usize) -> Result<Vec<LayerId>, NetworkError> {
    let blocks: Vec<_> = network.scopes.iter().filter(|scope| scope.kind == ScopeKind::Block).collect();
    let seen = |id: LayerId| match blocks.iter().find(|block| block.layers.contains(&id.0)) {
        Some(block) => block.output == id,
        None => network[id].kind.is_activation() || matches!(network[id].kind, LayerKind::MaxPool2d(_)),
    };
    let maps = maps(network, &network.shapes(h, w)?);
    let chosen: Vec<LayerId> = maps.iter().map(|(id, _)| *id).filter(|id| seen(*id)).collect();
    // A network without activations has its convolutions at least.
    let convs = || maps.iter().map(|(id, _)| *id).filter(|id| matches!(network[*id].kind, LayerKind::Conv2d(_))).collect();
    Ok(if chosen.is_empty() { convs() } else { chosen })
}

/// Layers whose output has more than one place, with its size.
fn maps(network: &Network, shapes: &[Shape]) -> Vec<(LayerId, [usize; 2])> {
    let with_sizes = network.ids().zip(shapes).skip(1).filter_map(|((id, _), shape)| Some((id, shape.spatial()?)));
    with_sizes.filter(|(_, [h, w])| h * w > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::families::build;

    fn names(name: &str, of: fn(&Network, usize, usize) -> Result<Vec<LayerId>, NetworkError>) -> Vec<String> {
        let network = build(name, None).unwrap();
        let [h, w] = [network.input.height, network.input.width];
        of(&network, h, w).unwrap().into_iter().map(|id| network[id].name.clone()).collect()
    }

    #[test]
    fn stages_end_where_the_resolution_falls() {
        assert_eq!(names("vgg16", stages), ["features.3", "features.8", "features.15", "features.22", "features.29"]);
        assert_eq!(
            names("resnet18", stages),
            ["relu", "layer1.1.relu_1", "layer2.1.relu_1", "layer3.1.relu_1", "layer4.1.relu_1"]
        );
        assert_eq!(names("resnet20-cifar", stages).len(), 3);
        assert_eq!(names("mobilenetv1_100", stages).len(), 5);
    }

    #[test]
    fn waypoints_are_activations_poolings_or_blocks() {
        let vgg = names("vgg16", waypoints);
        assert_eq!((vgg.len(), vgg[0].as_str(), vgg[2].as_str()), (13 + 5, "features.1", "features.4"));
        let resnet = names("resnet50", waypoints);
        assert_eq!(
            (resnet.len(), resnet[0].as_str(), resnet[1].as_str(), resnet[2].as_str()),
            (2 + 16, "relu", "maxpool", "layer1.0.relu_2")
        );
    }
}
