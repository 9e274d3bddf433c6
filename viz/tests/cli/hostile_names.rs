//! Names that a terminal, a page or a spreadsheet would obey: of classes, tensors, files and folders, through every command.

use super::support::{Sandbox, read};
use serde_json::Value;
use std::fs;

/// Colours, a write to the clipboard, an 8-bit control sequence, text from right to left, a false line.
const NAMES: [&str; 5] =
    ["\u{1b}[31mred", "\u{1b}]52;c;aGk=\u{7}clip", "\u{9b}5mblink", "\u{202e}gnp.tac\u{2066}", "two\nerror: forged <b>&\"'"];
/// Parts of the names that must never come out as they are.
const OBEYED: [char; 6] = ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\r'];

/// Runs a command whose arguments may hold blanks; what it prints is shown, not obeyed. Returns standard output.
fn shown(sandbox: &Sandbox, args: &[&str], code: i32) -> String {
    let (got, out, err) = read(sandbox.command("").args(args).output().unwrap());
    assert_eq!(got, Some(code), "{args:?}: {err}");
    for text in [&out, &err] {
        assert!(!text.contains(OBEYED), "{args:?}: {text:?}");
    }
    let forged = |text: &str| text.lines().any(|line| line.starts_with("error: forged"));
    assert!(!forged(&out) && !forged(&err), "{args:?}: {out}{err}");
    out
}

/// Photos in a folder for each name; each photo has the name too.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (i, name) in NAMES.iter().enumerate() {
        (0..5u32).for_each(|n| sandbox.photo(&format!("set/{}/{n}.png", name.replace('/', "_")), 20 + n, 24 + 2 * i as u32));
    }
    sandbox
}

#[test]
fn every_command_shows_them() {
    let sandbox = sandbox();
    let train = "train set -m resnet20-cifar-w4 --size 16 --eval-size 16 --batch 4 --epochs 1 --warmup 0 -o run";
    shown(&sandbox, &train.split(' ').collect::<Vec<_>>(), 0);
    let photo = format!("set/{}/0.png", NAMES[4]);
    let net = ["-w", "run/best.safetensors"];
    for command in [
        vec!["predict", &photo],
        vec!["predict", &photo, "--json"],
        vec!["eval", "set"],
        vec!["gradcam", &photo, "--top", "5"],
        vec!["gradcam", &photo, "--json"],
        vec!["features", &photo, "-l", "conv1"],
        vec!["ascent", "-c", "0,1,2,3,4", "--steps", "2", "--size", "16"],
        vec!["report", &photo],
        vec!["summary"],
        vec!["summary", "--json"],
        vec!["trace", &photo],
        vec!["trace", &photo, "--format", "chrome"],
    ] {
        let out = shown(&sandbox, &[&command[..], &net].concat(), 0);
        if command.contains(&"--json") {
            serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{command:?}: {e}\n{out}"));
        }
    }
    shown(&sandbox, &["inspect", "run/best.safetensors"], 0);
    // A class that is not there, of a name that is: the message lists all names.
    shown(&sandbox, &[&["gradcam", &photo, "-c", "\u{1b}[2J"][..], &net].concat(), 2);
    // Files that are not there, or no photos.
    shown(&sandbox, &["predict", "\u{1b}[31mnone\n.png"], 1);
    shown(&sandbox, &["summary", "-w", "\u{9b}5m.safetensors"], 1);
    shown(&sandbox, &["summary", "-m", "\u{1b}[2Jresnet"], 2);
    shown(&sandbox, &["\u{1b}[2J"], 2);

    // The page shows markup as text.
    let out = sandbox.path("convscope-out");
    let pages: Vec<_> =
        fs::read_dir(&out).unwrap().map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "html")).collect();
    assert!(!pages.is_empty());
    for page in pages {
        let html = fs::read_to_string(page).unwrap();
        assert!(html.contains("forged") && !html.contains("<b>&") && !html.contains(OBEYED), "markup or control characters");
    }
    // Names of files are those of any file system.
    for file in fs::read_dir(&out).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)), "{name:?}");
    }
}

#[test]
fn tensors_and_class_lists() {
    let sandbox = Sandbox::with_photo();
    let tensors: Vec<_> = NAMES.iter().map(|name| (name.to_string(), vec![2, 3, 3, 3], vec![0.5; 54])).collect();
    sandbox.save_tensors("w.safetensors", &tensors);
    shown(&sandbox, &["inspect", "w.safetensors"], 0);
    let json = shown(&sandbox, &["inspect", "w.safetensors", "--json"], 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json.to_string().contains("clip"), "{json}");
    shown(&sandbox, &["filters", "-w", "w.safetensors", "--tensor", NAMES[1]], 0);
    shown(&sandbox, &["filters", "-w", "w.safetensors", "--tensor", "\u{1b}[31mnone"], 2);
    shown(&sandbox, &["predict", "photo.png", "-w", "w.safetensors"], 1);
    shown(&sandbox, &["convert", "w.safetensors", "out.safetensors"], 0);
    let lines: Vec<String> = (0..10).map(|i| NAMES[i % 4].to_string() + &i.to_string()).collect();
    sandbox.write("classes.txt", lines.join("\n"));
    let net = ["-m", "resnet20-cifar", "-w", "random", "--classes", "classes.txt"];
    shown(&sandbox, &[&["predict", "photo.png"][..], &net].concat(), 0);
    // A name of 100,000 characters takes no time and no page.
    sandbox.write("classes.txt", (0..10).map(|i| format!("{}{i}", "n".repeat(100_000))).collect::<Vec<_>>().join("\n"));
    let out = shown(&sandbox, &[&["gradcam", "photo.png", "--json"][..], &net].concat(), 0);
    assert!(out.len() < 10_000, "{} bytes", out.len());
}
