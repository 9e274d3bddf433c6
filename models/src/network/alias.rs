//! Keras's and Caffe's names for the layers of VGG and of other plain networks.

use super::{LayerId, LayerKind, Network};

impl Network {
    /// Aliases of layers in Keras and Caffe. Networks of a `features` and a `classifier` sequence have them (VGG, `small`);
    /// others have none.
    ///
    /// - Keras' automatic names: `conv2d`, `conv2d_1`, ... and `dense`, `dense_1`, ... (each after its ReLU),
    ///   `max_pooling2d`, `max_pooling2d_1`, ...
    /// - Keras' VGG: `block5_conv3` is the convolution **after its ReLU**, as in Keras (torchvision's index + 1; with batch-norm
    ///   + 2); `block5_pool`, `fc1`, `fc2` (after the ReLU), `predictions` (the logits, before the softmax).
    /// - Caffe: `conv5_3` is the convolution itself, `relu5_3` its ReLU, `pool5`; dense layers
    ///   `fc6`, `fc7`, `fc8`, `relu6`, `relu7`.
    pub fn aliases(&self) -> Vec<(String, LayerId)> {
        let run = |name: &str| self.scopes.iter().find(|scope| scope.name == name);
        let (Some(features), Some(classifier)) = (run("features"), run("classifier")) else {
            return Vec::new();
        };
        let mut aliases = Vec::new();
        let (mut block, mut conv) = (1, 0);
        let counted = |kind: &str, count: usize| if count == 0 { kind.to_string() } else { format!("{kind}_{count}") };
        let (mut convs, mut pools) = (0, 0);
        for id in features.layers.clone().map(LayerId) {
            match self[id].kind {
                LayerKind::Conv2d(_) => {
                    conv += 1;
                    let activated = self.activated(id);
                    aliases.push((counted("conv2d", convs), activated));
                    convs += 1;
                    aliases.push((format!("block{block}_conv{conv}"), activated));
                    aliases.push((format!("conv{block}_{conv}"), id));
                    aliases.push((format!("relu{block}_{conv}"), activated));
                }
                LayerKind::MaxPool2d(_) => {
                    aliases.push((counted("max_pooling2d", pools), id));
                    pools += 1;
                    aliases.push((format!("block{block}_pool"), id));
                    aliases.push((format!("pool{block}"), id));
                    (block, conv) = (block + 1, 0);
                }
                _ => {}
            }
        }
        let dense: Vec<LayerId> =
            classifier.layers.clone().map(LayerId).filter(|&id| matches!(self[id].kind, LayerKind::Linear { .. })).collect();
        for (index, &id) in dense.iter().enumerate() {
            let activated = self.activated(id);
            aliases.push((counted("dense", index), activated));
            // Caffe continues the count of the five blocks.
            let caffe = 6 + index;
            if index + 1 == dense.len() {
                aliases.push(("predictions".into(), id));
            } else {
                aliases.push((format!("fc{}", index + 1), activated));
                aliases.push((format!("relu{caffe}"), activated));
            }
            aliases.push((format!("fc{caffe}"), id));
        }
        aliases
    }
}
