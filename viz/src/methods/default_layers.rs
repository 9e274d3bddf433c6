//! Default layers to show: the last one of each resolution, and the activations on the way.

use convscope_models::network::{LayerId, LayerKind, ScopeKind, ShapedNetwork};

/// The last layer of each resolution, from the image to the output. One-pixel layers, poolings and shortcuts do not count.
///
/// ```
/// use convscope_viz::default_layers::stages;
/// let network = convscope_models::families::build("vgg16", None)?;
/// let layers = stages(&network.at(224, 224)?);
/// assert_eq!(network[layers[0]].name, "features.3");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn stages(shaped: &ShapedNetwork) -> Vec<LayerId> {
    let network = shaped.network;
    let mut last: Vec<([usize; 2], LayerId)> = Vec::new();
    for (id, size) in maps(shaped) {
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
    last.into_iter().map(|(_, id)| id).collect()
}

/// Feature maps along the network: after each activation and pooling; in a residual network, after each block.
pub fn waypoints(shaped: &ShapedNetwork) -> Vec<LayerId> {
    let network = shaped.network;
    let blocks: Vec<_> = network.scopes.iter().filter(|scope| scope.kind == ScopeKind::Block).collect();
    let seen = |id: LayerId| match blocks.iter().find(|block| block.layers.contains(&id.0)) {
        Some(block) => block.output == id,
        None => network[id].kind.is_activation() || matches!(network[id].kind, LayerKind::MaxPool2d(_)),
    };
    let maps = maps(shaped);
    let chosen: Vec<LayerId> = maps.iter().map(|(id, _)| *id).filter(|id| seen(*id)).collect();
    // A network without activations shows its convolutions.
    let convs = || maps.iter().map(|(id, _)| *id).filter(|id| matches!(network[*id].kind, LayerKind::Conv2d(_))).collect();
    if chosen.is_empty() { convs() } else { chosen }
}

/// Layers with more than one pixel, with `[height, width]`.
fn maps(shaped: &ShapedNetwork) -> Vec<(LayerId, [usize; 2])> {
    let with_sizes = shaped.layers().skip(1).filter_map(|(id, _, shape)| Some((id, shape.spatial()?)));
    with_sizes.filter(|(_, [h, w])| h * w > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::families::build;

    fn names(name: &str, of: fn(&ShapedNetwork) -> Vec<LayerId>) -> Vec<String> {
        let network = build(name, None).unwrap();
        let [h, w] = [network.input.height, network.input.width];
        of(&network.at(h, w).unwrap()).into_iter().map(|id| network[id].name.clone()).collect()
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
