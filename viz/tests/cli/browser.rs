//! The page of `convscope report` in a real browser, where there is one: nothing in the console, nothing fetched, and the slider
//! moves the heat.

use super::support::Sandbox;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Listens from the beginning.
const EARS: &str = r#"<script>
window.problems = [];
addEventListener("error", (e) => problems.push(String(e.message || e.target.tagName)), true);
addEventListener("securitypolicyviolation", (e) => problems.push(e.violatedDirective));
for (const level of ["error", "warn"]) console[level] = (...words) => problems.push(words.join(" "));
</script>"#;

/// Evaluates the page at the end, and writes the result into the document.
const EYES: &str = r#"<script>
addEventListener("load", () => {
  const slider = document.getElementById("opacity");
  const heat = document.querySelector(".heat");
  const seen = () => [getComputedStyle(heat).opacity, getComputedStyle(document.querySelector(".under")).filter];
  const move = (value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    return [...seen(), document.getElementById("opacity-value").textContent];
  };
  const [under, over] = [document.querySelector(".under"), heat].map((e) => e.getBoundingClientRect());
  const result = {
    problems,
    fetched: performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")),
    hidden: slider.offsetParent === null,
    before: seen(),
    none: move(0),
    all: move(100),
    covered: ["left", "top", "width", "height"].every((k) => Math.abs(under[k] - over[k]) < 0.51),
    wide: document.documentElement.scrollWidth - innerWidth,
    twice: [...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i),
    pictures: [...document.images].filter((image) => image.complete && image.naturalWidth > 0).length,
    images: document.images.length,
  };
  const pre = document.createElement("pre");
  pre.id = "seen";
  pre.textContent = "SEEN" + JSON.stringify(result) + "NEES";
  document.body.append(pre);
});
</script>"#;

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

#[test]
fn the_slider_moves_the_heat() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium");
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.ok("report --steps 2 --channels 2 -q");
    let html = std::fs::read_to_string(sandbox.path("convscope-out/report.html")).unwrap();
    let html = html.replace("<meta charset", &format!("{EARS}<meta charset")).replace("</body>", &format!("{EYES}</body>"));
    sandbox.write("page.html", html);
    for width in [1280, 500] {
        let seen = look(&sandbox, browser, width);
        assert_eq!(seen["problems"], Value::Array(vec![]), "{seen}");
        assert_eq!(seen["fetched"], Value::Array(vec![]), "{seen}");
        assert_eq!(seen["twice"], Value::Array(vec![]), "{seen}");
        assert_eq!(seen["hidden"], false, "{seen}");
        assert_eq!(seen["before"][0], "0.85", "{seen}");
        assert_eq!(seen["none"], serde_json::json!(["0", "grayscale(0)", "0 %"]), "{seen}");
        assert_eq!(seen["all"], serde_json::json!(["1", "grayscale(0.8)", "100 %"]), "{seen}");
        assert_eq!(seen["covered"], true, "{seen}");
        assert!(seen["wide"].as_f64().unwrap() <= 0.0, "{seen}");
        assert!(seen["images"].as_u64().unwrap() > 20 && seen["pictures"] == seen["images"], "{seen}");
    }
}

/// Measurements of the page in a window of this width.
fn look(sandbox: &Sandbox, browser: &str, width: u32) -> Value {
    // Into a file: a browser that waits for a reader of its pipe would wait for ever.
    let (out, log) = ("dom.txt", "log.txt");
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
        ])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", sandbox.path("profile").display()))
        .arg(format!("file://{}", sandbox.path("page.html").display()))
        .stdout(std::fs::File::create(sandbox.path(out)).unwrap())
        .stderr(std::fs::File::create(sandbox.path(log)).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > Duration::from_secs(300) => break None,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let read = |name| String::from_utf8_lossy(&std::fs::read(sandbox.path(name)).unwrap()).into_owned();
    let (dom, log) = (read(out), read(log));
    assert!(ended.is_some_and(|s| s.success()), "{browser}: {ended:?}\n{log}");
    assert!(!log.contains(":CONSOLE"), "{log}");
    let seen = dom.split_once("SEEN{").and_then(|(_, rest)| rest.split_once("}NEES")).map(|(seen, _)| format!("{{{seen}}}"));
    let seen = seen.unwrap_or_else(|| panic!("the page said nothing: {log}"));
    serde_json::from_str(&seen.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).unwrap()
}
