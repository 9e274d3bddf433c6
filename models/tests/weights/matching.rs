//! Finding a network's parameters in checkpoints under other people's names.

use convscope_models::weights::{Checkpoint, Expected, Matched, Mismatch, Unmatched, WeightsError, match_tensors};

use crate::{fixture, ramps};

fn expected(tensors: &[(&str, &[usize])]) -> Vec<Expected> {
    tensors.iter().map(|(name, shape)| Expected { name: name.to_string(), shape: shape.to_vec() }).collect()
}

fn pairs(matched: &[Matched<'_>]) -> Vec<(String, String)> {
    matched.iter().map(|m| (m.expected.name.clone(), m.stored.name.clone())).collect()
}

fn mismatch(network: &[Expected], checkpoint: &Checkpoint) -> Mismatch {
    match match_tensors("resnet18", network, checkpoint) {
        Err(WeightsError::Mismatch(mismatch)) => *mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn own_names_match_in_the_networks_order() {
    let checkpoint = Checkpoint::open(fixture("zip.pth")).unwrap();
    let network = expected(&[
        ("fc.weight", &[10, 4]),
        ("conv1.weight", &[4, 3, 3, 3]),
        ("bn1.weight", &[4]),
        ("bn1.bias", &[4]),
        ("bn1.num_batches_tracked", &[]),
        ("other.num_batches_tracked", &[]),
        ("fc.bias", &[10]),
    ]);
    let matched = match_tensors("tiny", &network, &checkpoint).unwrap();
    let names: Vec<_> = matched.iter().map(|m| m.stored.name.as_str()).collect();
    assert_eq!(names, ["fc.weight", "conv1.weight", "bn1.weight", "bn1.bias", "fc.bias"]);
    assert!(matched.iter().all(|m| m.expected.name == m.stored.name));
}

#[test]
fn timm_vgg_head_fits_the_dense_layers() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = ramps(
        folder.path(),
        "timm.safetensors",
        &[
            ("features.0.weight", &[4, 3, 3, 3]),
            ("pre_logits.fc1.weight", &[8, 4, 7, 7]),
            ("pre_logits.fc1.bias", &[8]),
            ("pre_logits.fc2.weight", &[8, 8, 1, 1]),
            ("pre_logits.fc2.bias", &[8]),
            ("head.fc.weight", &[10, 8]),
            ("head.fc.bias", &[10]),
        ],
    );
    let network = expected(&[
        ("features.0.weight", &[4, 3, 3, 3]),
        ("classifier.0.weight", &[8, 196]),
        ("classifier.0.bias", &[8]),
        ("classifier.3.weight", &[8, 8]),
        ("classifier.3.bias", &[8]),
        ("classifier.6.weight", &[10, 8]),
        ("classifier.6.bias", &[10]),
    ]);
    let matched = match_tensors("vgg11", &network, &checkpoint).unwrap();
    assert_eq!(pairs(&matched)[1], ("classifier.0.weight".into(), "pre_logits.fc1.weight".into()));
    assert_eq!(pairs(&matched)[3], ("classifier.3.weight".into(), "pre_logits.fc2.weight".into()));
    assert_eq!(pairs(&matched)[6], ("classifier.6.bias".into(), "head.fc.bias".into()));
    assert_eq!(matched[1].stored.to_f32().unwrap(), crate::ramp(8 * 196));
}

#[test]
fn linear_and_fc_stand_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for (ours, theirs) in [("fc.weight", "linear.weight"), ("linear.weight", "fc.weight")] {
        let checkpoint = ramps(folder.path(), "head", &[(theirs, &[10, 64])]);
        let network = expected(&[(ours, &[10, 64])]);
        let matched = match_tensors("resnet20-cifar", &network, &checkpoint).unwrap();
        assert_eq!(pairs(&matched), [(ours.to_string(), theirs.to_string())]);
    }
    // A file with both has one too many: neither is silently preferred.
    let checkpoint = ramps(folder.path(), "both", &[("fc.weight", &[10, 64]), ("linear.weight", &[10, 64])]);
    let report = mismatch(&expected(&[("fc.weight", &[10, 64])]), &checkpoint);
    assert_eq!(report.unexpected[0].name, "linear.weight");
}

#[test]
fn all_that_does_not_fit_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = ramps(
        folder.path(),
        "resnet50.safetensors",
        &[
            ("conv1.weight", &[64, 3, 7, 7]),
            ("layer1.0.conv1.weight", &[64, 64, 1, 1]),
            ("layer1.0.conv_2.weight", &[64, 64, 3, 3]),
            ("layer1.0.conv3.weight", &[256, 64, 1, 1]),
        ],
    );
    let network = expected(&[
        ("conv1.weight", &[64, 3, 7, 7]),
        ("bn1.weight", &[64]),
        ("layer1.0.conv1.weight", &[64, 64, 3, 3]),
        ("layer1.0.conv2.weight", &[64, 64, 3, 3]),
    ]);
    assert_eq!(
        mismatch(&network, &checkpoint).to_string(),
        "resnet50.safetensors does not fit resnet18: 2 missing, 2 unexpected, 1 misshapen\n  \
         missing    bn1.weight [64] (nearest in the file: conv1.weight)\n  \
         missing    layer1.0.conv2.weight [64, 64, 3, 3] (nearest in the file: layer1.0.conv_2.weight)\n  \
         unexpected layer1.0.conv3.weight [256, 64, 1, 1] (nearest in the network: layer1.0.conv2.weight)\n  \
         unexpected layer1.0.conv_2.weight [64, 64, 3, 3] (nearest in the network: layer1.0.conv2.weight)\n  \
         misshapen  layer1.0.conv1.weight is [64, 64, 1, 1] in the file, [64, 64, 3, 3] in the network"
    );
}

#[test]
fn long_lists_are_cut_in_display_only() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = ramps(folder.path(), "tiny", &[("a.weight", &[1])]);
    let names: Vec<String> = (0..40).map(|i| format!("layer{i}.weight")).collect();
    let network: Vec<Expected> = names.iter().map(|name| Expected { name: name.clone(), shape: vec![1] }).collect();
    let report = mismatch(&network, &checkpoint);
    assert_eq!(report.missing.len(), 40);
    let text = report.to_string();
    assert!(text.starts_with("tiny does not fit resnet18: 40 missing, 1 unexpected\n"), "{text}");
    assert!(text.contains("\n  missing    ... and 30 more\n"), "{text}");
    assert_eq!(text.lines().count(), 1 + Mismatch::SHOWN + 1 + 1);
}

/// Every name has one near it on the other side, so those without were not compared: of two lists of names that a file may make as long
/// as it likes, no more than 100,000 pairs are.
#[test]
fn few_of_thousands_of_strangers_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..20_000).map(|i| format!("layer{}.conv_{i}.weight", i % 1000)).collect();
    let tensors: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    let checkpoint = ramps(folder.path(), "many", &tensors);
    let expected = |i: usize| Expected { name: format!("layer{i}.conv{i}.weight"), shape: vec![1] };
    let network: Vec<Expected> = (0..1000).map(expected).collect();
    let report = mismatch(&network, &checkpoint);
    assert_eq!((report.missing.len(), report.unexpected.len()), (1000, 20_000));
    let suggested = |list: &[Unmatched]| list.iter().filter(|tensor| tensor.nearest.is_some()).count();
    let in_the_file = 20_000 + 20_000;
    let in_the_network = 1000 + 1000;
    assert_eq!(suggested(&report.missing), 100_000 / in_the_file);
    assert_eq!(suggested(&report.unexpected), 100_000 / in_the_network);
}

/// Inception-v3's auxiliary classifier and DenseNet's old names, as torchvision's files have them.
#[test]
fn torchvisions_files_may_hold_more_and_older_names() {
    let folder = tempfile::tempdir().unwrap();
    let layer = "features.denseblock1.denselayer2";
    let checkpoint = ramps(
        folder.path(),
        "old.safetensors",
        &[
            (&format!("{layer}.norm.1.weight"), &[4]),
            (&format!("{layer}.conv.2.weight"), &[4, 4, 3, 3]),
            ("AuxLogits.fc.weight", &[10, 4]),
            ("aux1.fc2.bias", &[10]),
        ],
    );
    let (norm, conv) = (format!("{layer}.norm1.weight"), format!("{layer}.conv2.weight"));
    let network = expected(&[(&norm, &[4]), (&conv, &[4, 4, 3, 3])]);
    let found = pairs(&match_tensors("densenet121", &network, &checkpoint).unwrap());
    assert_eq!(found, [(norm, format!("{layer}.norm.1.weight")), (conv, format!("{layer}.conv.2.weight"))]);
    let source = convscope_models::WeightsSource::File(checkpoint);
    assert_eq!(source.left_out(), ["AuxLogits", "aux1"]);
}

/// Every tensor of timm's MobileNet v2, from `fixtures/torchinfo.py`, is one of torchvision's.
#[test]
fn timms_mobilenet_v2_is_known() {
    use convscope_models::{WeightsSource, families, guess_network, load};
    let listed: Vec<(&str, Vec<usize>)> = include_str!("../fixtures/timm_mobilenetv2_100.txt")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, shape)| (name, shape.split('x').map(|n| n.parse().unwrap()).collect()))
        .collect();
    let tensors: Vec<(&str, &[usize])> = listed.iter().map(|(name, shape)| (*name, &shape[..])).collect();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = ramps(folder.path(), "timm.safetensors", &tensors);
    let network = families::build("mobilenet_v2", None).unwrap();
    let needed: Vec<Expected> = network.params().into_iter().map(|p| Expected { name: p.name, shape: p.shape }).collect();
    let matched = match_tensors("mobilenet_v2", &needed, &checkpoint).unwrap();
    // Both list their tensors in the order in which the image meets them.
    let names: Vec<&str> = matched.iter().map(|m| m.stored.name.as_str()).collect();
    assert_eq!(names, listed.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let source = WeightsSource::File(checkpoint);
    assert_eq!(guess_network(&source, None).unwrap().name, "mobilenet_v2");
    load(network, &source).unwrap();
}
