//! `bench models`: content of a row. Times are arbitrary.

use super::support::Sandbox;

const TINY: &str = "bench models resnet20-cifar --size 32 --repeats 1";
const KEYS: [&str; 15] = [
    "model",
    "work",
    "batch",
    "size",
    "median_ms",
    "min_ms",
    "gflops",
    "percent_of_peak",
    "gb_per_s",
    "percent_of_memory",
    "core_to_core_gb_per_s",
    "peak_memory_bytes",
    "tape_bytes",
    "threads",
    "isa",
];

#[test]
fn json_rows() {
    let sandbox = Sandbox::new();
    let rows = sandbox.json(&format!("{TINY} --batch 1,2 --threads 1"));
    let rows = rows.as_array().unwrap();
    let cases: Vec<(&str, u64)> = rows.iter().map(|r| (r["work"].as_str().unwrap(), r["batch"].as_u64().unwrap())).collect();
    let works = ["forward", "input-gradient", "training"];
    assert_eq!(cases, works.map(|work| [(work, 1), (work, 2)]).concat());
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), KEYS, "{row}");
        assert_eq!((&row["model"], &row["size"], &row["threads"]), (&"resnet20-cifar".into(), &"32x32".into(), &1.into()));
        for number in ["median_ms", "min_ms", "gflops", "percent_of_peak", "gb_per_s", "percent_of_memory", "tape_bytes"] {
            assert!(row[number].as_f64().unwrap() > 0.0, "{row}");
        }
        let peak = &row["peak_memory_bytes"];
        assert!(peak.is_null() || peak.as_u64() > row["tape_bytes"].as_u64(), "{row}");
    }
    // A forward pass frees values early; the memory for gradients grows with the number of images.
    let tape = |i: usize| rows[i]["tape_bytes"].as_u64().unwrap();
    assert!(tape(0) < tape(2) / 100 && tape(3) == 2 * tape(2) && tape(4) > tape(2), "{rows:#?}");
}

#[test]
fn csv_and_text() {
    let sandbox = Sandbox::new();
    let one = format!("{TINY} --batch 1 --work training");
    let csv = sandbox.ok(&format!("{one} --csv"));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, KEYS.join(",").as_str()), "{csv}");
    assert!(lines[1].starts_with("resnet20-cifar,training,1,32x32,"), "{csv}");
    assert_eq!(lines[1].split(',').count(), KEYS.len(), "{csv}");
    // Sides as they are named elsewhere: height first.
    let text = sandbox.ok(&format!("{one} --size 32x48").replace(" --size 32 ", " "));
    for part in ["median of 1 after 2", "GFLOP/s", "% peak", "% memory", "peak memory", "resnet20-cifar   training", "32x48"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn typed_wrong() {
    let sandbox = Sandbox::new();
    for (typed, says) in [
        ("resnet51", vec!["there is no network \"resnet51\"", "resnet50"]),
        // Before the one that is right is timed.
        ("resnet50 vgg61", vec!["\"vgg61\"", "vgg16"]),
        ("resnet18 --work forwards", vec!["forwards", "forward, input-gradient, training"]),
        ("resnet18 --work forward,backward", vec!["backward"]),
        ("resnet18 --batch 0", vec!["--batch", "1.."]),
        ("resnet18 --batch 1,x", vec!["--batch", "x"]),
        ("resnet18 --repeats 0", vec!["--repeats", "1.."]),
        ("resnet18 --size 0", vec!["--size 0", "HxW"]),
        ("vgg16 --size 16", vec!["16x16 is too small for vgg16"]),
        ("-m resnet18", vec!["--model", "bench models resnet18"]),
        ("resnet18 -w weights.safetensors", vec!["--weights", "random"]),
        ("resnet18 --classes 3", vec!["--classes", "random"]),
        ("resnet18 --csv --json", vec!["--csv", "--json", "cannot be used with"]),
        ("resnet18 --raw raw.safetensors", vec!["--raw: bench writes no raw values"]),
    ] {
        sandbox.fails(2, &format!("bench models {typed}"), &says);
    }
    sandbox.fails(2, "bench model", &["model", "models"]);
    sandbox.fails(1, "bench models vgg16 --size 8192 --batch 65535", &["65535 image(s) of 8192x8192", "GB are free"]);
}

/// The help explains the times.
#[test]
fn help() {
    let text = Sandbox::new().ok("bench models --help");
    for part in [
        "without the optimiser",
        "GFLOP/s",
        "[default: vgg16 resnet50 resnet18]",
        "[default: 1,8]",
        "[default: forward,input-gradient,training]",
    ] {
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{part}: {text}");
    }
}

#[test]
fn where_the_time_goes() {
    let sandbox = Sandbox::new();
    let one = format!("{TINY} --batch 1 --work training");
    let text = sandbox.ok(&format!("{one} --by kernel"));
    assert!(text.contains("conv2d.wgrad/") && text.contains("between kernels"), "{text}");
    let rows = sandbox.json(&format!("{one} --by layer"));
    let kernels = rows[0]["kernels"].as_array().unwrap();
    assert!(kernels.iter().any(|k| k["layer"].as_str().unwrap().starts_with("conv1 [") && k["calls"] == 1), "{rows}");
    assert!(kernels.iter().all(|k| k["median_ms"].as_f64().unwrap() >= 0.0 && k["bytes"].as_u64() > Some(0)), "{rows}");
    sandbox.fails(2, &format!("{one} --by layer --csv"), &["--by", "--csv"]);
}
