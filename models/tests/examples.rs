//! Runs the examples.

#[path = "../examples/predict.rs"]
#[allow(dead_code, reason = "the example's main reads the arguments of the program")]
mod predict;
#[path = "../examples/train_tiny.rs"]
mod train_tiny;

#[test]
fn a_photo_is_classified() {
    let classes = predict::classify("sample:cat").unwrap();
    assert_eq!((classes.len(), classes[0].0.as_str()), (102, "cat"));
    assert!((classes.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-4);
}

#[test]
fn two_classes_are_learnt() {
    train_tiny::main().unwrap();
}
