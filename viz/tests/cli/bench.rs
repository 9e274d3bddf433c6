//! `bench kernels`. Times depend on the machine, so none is asserted.

use super::support::{Sandbox, read};
use serde_json::{Value, json};

/// One small problem: the dense layer of a small network.
const BENCH: &str = "bench kernels gemm linear +bias -m resnet20-cifar";

#[test]
fn rows_as_text_json_and_csv() {
    let sandbox = Sandbox::new();
    let text = sandbox.ok(BENCH);
    assert!(text.contains("GFLOP/s") && text.contains("gemm resnet20-cifar linear   m1 n10 k64 a b^T +bias"), "{text}");
    assert_eq!(text.lines().filter(|l| l.starts_with("  * ")).count(), 1, "{text}");

    let rows = sandbox.json(BENCH);
    let rows = rows.as_array().unwrap();
    for row in rows {
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys[..9], ["op", "network", "layer", "count", "spec", "flops", "bytes", "kernel", "picked"]);
        assert_eq!(keys[9..17], ["status", "reason", "error", "bound", "ms", "ms_low", "ms_high", "runs"]);
        assert_eq!(keys[17..22], ["gflops", "percent_of_peak", "gb_per_s", "percent_of_memory", "scratch_bytes"]);
        assert_eq!(keys[22..], ["isa", "threads", "peak_gflops", "memory_gb_per_s", "core_to_core_gb_per_s"]);
        match row["status"].as_str() {
            Some("ok") => assert!(row["error"].as_f64() <= row["bound"].as_f64() && row["ms"].as_f64() > Some(0.0), "{row}"),
            Some("not run") => assert!(row["reason"].is_string() && row["ms"].is_null(), "{row}"),
            _ => panic!("{row}"),
        }
    }
    let naive = rows.iter().filter(|r| r["kernel"] == "naive" && r["status"] == "ok").count();
    assert_eq!((naive, rows.iter().filter(|r| r["picked"] == true).count()), (1, 1));

    let csv = sandbox.ok(&format!("{BENCH} --csv --threads 1"));
    assert!(csv.starts_with("op,network,layer,count,spec,") && csv.lines().count() == rows.len() + 1, "{csv}");
}

#[test]
fn a_plot_and_an_earlier_run() {
    let sandbox = Sandbox::new();
    let bench = "bench kernels conv2d.fwd layer1.0.conv1 -m resnet20-cifar";
    sandbox.write("old.json", sandbox.ok(&format!("{bench} --json --plot roof.svg")));
    let svg = std::fs::read_to_string(sandbox.path("roof.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains(">layer1.0.conv1</text>"), "{svg}");
    let text = sandbox.ok(&format!("{bench} --compare old.json"));
    assert!(text.lines().last().unwrap().contains("within noise"), "{text}");
    assert_eq!(sandbox.names("."), ["old.json", "roof.svg"]);
}

#[test]
fn forced_rows_are_the_pick() {
    let rows = Sandbox::new().json(&format!("{BENCH} --kernel gemm=naive"));
    let picked: Vec<&Value> = rows.as_array().unwrap().iter().filter(|r| r["picked"] == true).collect();
    assert_eq!((picked.len(), &picked[0]["kernel"]), (1, &json!("naive")));
}

#[test]
fn typed_wrong() {
    let sandbox = Sandbox::new();
    sandbox.write("other.json", "{}");
    for (code, typed, says) in [
        (2, "conv3d", vec!["no problem of resnet20-cifar holds all of \"conv3d\"", "conv2d.fwd"]),
        (2, "--batch 0", vec!["--batch", "1.."]),
        (2, "--json --csv", vec!["--json", "--csv", "cannot be used with"]),
        (2, "--json --compare other.json", vec!["--compare", "cannot be used with"]),
        (2, "--kernel gemm=fastest", vec!["\"fastest\"", "naive"]),
        (2, "--raw raw.safetensors", vec!["bench writes no raw values"]),
        (1, "--compare none.json", vec!["cannot read none.json"]),
        (1, "--compare other.json", vec!["other.json is not an array of rows"]),
        (1, "--plot no/roof.svg", vec!["cannot write no/roof.svg", "there is no folder no"]),
    ] {
        sandbox.fails(code, &format!("bench kernels {typed} -m resnet20-cifar"), &says);
    }
    sandbox.fails(2, "bench kernels -m resnet51", &["\"resnet51\"", "resnet50"]);
    sandbox.fails(2, "bench kernel", &["kernel", "kernels"]);
    let (code, _, err) = read(sandbox.run("bench"));
    assert!(code == Some(2) && err.contains("kernels"), "{err}");
}
