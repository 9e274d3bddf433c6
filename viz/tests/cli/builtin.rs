//! The bundled network and photos.

use super::support::Sandbox;

#[test]
fn every_command_works_without_arguments() {
    let sandbox = Sandbox::new();
    let rows = sandbox.json("predict");
    assert_eq!(rows[0]["top"][0]["name"], "cat", "{rows}");
    assert_eq!(sandbox.json("predict sample:coffee -m builtin")[0]["image"], "sample:coffee");
    assert_eq!(sandbox.json("summary")["network"], "resnet18-w32");
    for command in ["filters", "features", "gradcam", "trace", "ascent --steps 2 --channels 0"] {
        sandbox.ok(command);
    }
    let written = std::fs::read_dir(sandbox.path("convscope-out")).unwrap();
    let names: Vec<String> = written.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    for command in ["filters", "features", "gradcam", "ascent"] {
        assert!(names.iter().any(|n| n.starts_with(command) && n.ends_with(".png")), "{command}: {names:?}");
    }
    sandbox.fails(1, "predict sample:dog", &["cannot read image sample:dog"]);
}
