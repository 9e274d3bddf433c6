//! An ONNX model in every command, and as safetensors that works alone.

use super::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_photo();
    sandbox.write("small.onnx", include_bytes!("../../../tests/goldens/onnx/small.dynamo.onnx"));
    sandbox
}

#[test]
fn every_command_takes_an_onnx_model() {
    let sandbox = sandbox();
    let summary = sandbox.ok("summary -w small.onnx -q");
    assert!(summary.contains("depthwise") && summary.contains("gate"), "{summary}");
    for command in [
        "predict photo.png",
        "features photo.png -l stem,right",
        "gradcam photo.png",
        "gradcam photo.png -l left --class 2",
        "report photo.png",
        "ascent -l stem:1 --steps 2",
        "filters -l depthwise",
        "inspect small.onnx",
    ] {
        let weights = if command.starts_with("inspect") { " -q" } else { " -w small.onnx -q" };
        sandbox.ok(&format!("{command}{weights}"));
    }
    let (code, _, err) = super::support::read(sandbox.run("predict photo.png -w small.onnx"));
    assert_eq!(code, Some(0));
    assert!(err.contains("does not describe how photos are prepared; pixels from 0 to 1 are assumed"), "{err}");
}

#[test]
fn a_converted_model_works_alone() {
    let sandbox = sandbox();
    sandbox.ok("convert small.onnx small.safetensors -q");
    let from_onnx = sandbox.json("predict photo.png -w small.onnx -q");
    std::fs::remove_file(sandbox.path("small.onnx")).unwrap();
    let converted = sandbox.json("predict photo.png -w small.safetensors");
    let predictions = |json: &serde_json::Value| json.to_string().replace("small.onnx", "small.safetensors");
    assert_eq!(predictions(&from_onnx), predictions(&converted));
    sandbox.ok("gradcam photo.png -w small.safetensors -l left");
    // Its names go on to a network that is saved again.
    let names: Vec<String> = sandbox.tensors("small.safetensors").into_iter().map(|t| t.0).collect();
    assert!(names.contains(&"stem.0.weight".to_string()) && names.contains(&"fc2.bias".to_string()), "{names:?}");
}

#[test]
fn what_is_wrong_is_one_line() {
    let sandbox = sandbox();
    let bytes = std::fs::read(sandbox.path("small.onnx")).unwrap();
    sandbox.write("short.onnx", &bytes[..bytes.len() / 2]);
    sandbox.fails(1, "predict photo.png -w short.onnx", &["short.onnx cannot be used as weights", "ONNX"]);
    sandbox.fails(1, "convert short.onnx out.safetensors", &["short.onnx cannot be used as weights", "ONNX"]);
    sandbox.fails(2, "gradcam photo.png -w small.onnx -q -l rihgt", &["rihgt", "right"]);
    assert!(!sandbox.path("out.safetensors").exists());
}
