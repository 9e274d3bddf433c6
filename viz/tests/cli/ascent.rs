//! Gradient ascent.

use super::support::{NET, Sandbox};
use serde_json::json;

#[test]
fn channels_of_a_layer() {
    let sandbox = Sandbox::with_photo();
    let ascent = format!("ascent -l layer2 {NET} --size 24x32 --steps 4 --channels 0-2,9");
    let raw = sandbox.raw(&format!("{ascent} -q"));
    assert_eq!((&raw["image"].0[..], &raw["score"].0[..]), (&[4, 3, 24, 32][..], &[4][..]));
    assert!(raw["image"].1.iter().chain(&raw["score"].1).all(|v| v.is_finite()));
    let report = sandbox.json(&ascent);
    let channels: Vec<_> = report["channels"].as_array().unwrap().iter().map(|c| c["channel"].clone()).collect();
    assert_eq!(channels, [json!(0), json!(1), json!(2), json!(9)]);
    assert_eq!(report["pictures"].as_array().unwrap().len(), 1);
    // Climbing longer gets higher, from the same start.
    let score =
        |steps: usize| sandbox.raw(&format!("ascent -l layer2:0 {NET} --size 24 --steps {steps} --jitter 0 -q"))["score"].1[0];
    assert!(score(60) > score(1), "{} {}", score(60), score(1));
}

#[test]
fn recipes_classes_and_a_photo_to_start_from() {
    let sandbox = Sandbox::with_photo();
    for preset in ["chollet1", "kerasblog", "keras-io"] {
        let report = sandbox.json(&format!("ascent -l layer2 {NET} --size 64 --steps 2 --channels 0-3 --preset {preset}"));
        let pictures = report["pictures"].as_array().unwrap();
        assert!(pictures.len() == 1 && image::open(sandbox.path(pictures[0].as_str().unwrap())).is_ok(), "{preset}");
    }
    let raw = sandbox.raw(&format!("ascent -c cat,dog {NET} --size 16 --steps 2 -q"));
    assert_eq!(raw["score"].0, [2]);
    let image = |start: &str| sandbox.raw(&format!("ascent -l layer2:0 {NET} --size 32 --steps 1 -q {start}"))["image"].1.clone();
    assert_ne!(image("--start photo.png"), image(""));
}
