//! `convscope report`: one page that holds everything and needs nothing.

use super::support::{NET, Sandbox};
use std::collections::HashSet;

const SECTIONS: [&str; 8] = ["prediction", "heat", "classes", "channels", "filters", "maps", "summary", "timings"];
/// Little of everything.
const QUICK: &str = "--steps 2 --channels 2 -q";

fn page(sandbox: &Sandbox, args: &str) -> String {
    let pages = sandbox.json(&format!("report {args} {QUICK}"))["pages"].clone();
    assert_eq!(pages.as_array().map(Vec::len), Some(1), "{pages}");
    std::fs::read_to_string(sandbox.path(pages[0].as_str().unwrap())).unwrap()
}

/// The tags of a page, without their brackets; pictures are shortened.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).filter_map(|t| t.split_once('>')).map(|(tag, _)| tag).collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split_once('"').map(|(value, _)| value)
}

/// Checks that a page is complete, describes its pictures and makes no requests.
fn check(html: &str, sections: &[&str]) {
    let tags = tags(html);
    let found: Vec<&str> = tags.iter().filter(|t| t.starts_with("section ")).filter_map(|t| attribute(t, "id")).collect();
    assert_eq!(found, sections);
    let ids: Vec<&str> = tags.iter().filter_map(|t| attribute(t, "id")).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    for name in ["aria-labelledby", "for"] {
        for id in tags.iter().filter_map(|t| attribute(t, name)) {
            assert!(ids.contains(&id), "{name} {id}");
        }
    }
    let images: Vec<&&str> = tags.iter().filter(|t| t.starts_with("img ")).collect();
    assert!(images.len() > 10);
    for image in images {
        let start = &image[..image.len().min(60)];
        assert!(attribute(image, "src").unwrap().starts_with("data:image/png;base64,"), "{start}");
        assert!(attribute(image, "alt").is_some() && attribute(image, "width").unwrap() != "0", "{start}");
        // A screen reader skips only the photo under a heat map, which is described above.
        assert!(!attribute(image, "alt").unwrap().is_empty() || image.contains("class=\"under\""), "{start}");
    }
    for link in tags.iter().filter_map(|t| attribute(t, "href")) {
        assert!(link == "data:," || ids.contains(&link.trim_start_matches('#')), "{link}");
    }
    for foreign in ["http:", "https:", "//cdn", "@import", "url(", " src=\"/", "<iframe", "<object", "fetch("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("default-src 'none'"));
    let opened = |name: &str| tags.iter().filter(|t| **t == name || t.starts_with(&format!("{name} "))).count();
    for name in ["section", "figure", "div", "table", "details", "p", "code", "h2", "h3", "span", "td", "tr"] {
        let closed = tags.iter().filter(|t| t.strip_prefix('/') == Some(name)).count();
        assert_eq!(opened(name), closed, "{name}");
    }
}

#[test]
fn a_page_holds_everything_and_needs_nothing() {
    let sandbox = Sandbox::new();
    let html = page(&sandbox, "");
    check(&html, &SECTIONS);
    assert_eq!(sandbox.names("convscope-out"), ["report.html"]);
    assert!(html.len() < 8_000_000, "{} bytes", html.len());
    // The page agrees with the other commands.
    let predicted = sandbox.json("predict sample:cat");
    let best = &predicted[0]["top"][0];
    let row = format!("{} <small>({})</small>", best["name"].as_str().unwrap(), best["index"]);
    let number = |key: &str, decimals: usize| format!("{:.decimals$}", best[key].as_f64().unwrap());
    let line = html.lines().find(|l| l.contains(&row)).unwrap_or_else(|| panic!("{row}"));
    assert!(line.contains(&number("probability", 3)) && line.contains(&number("logit", 2)), "{line}");
    assert!(html.contains("2,825,094"));
    assert!(html.contains("convscope report --steps 2 --channels 2 -q --json"));
}

#[test]
fn the_same_bytes_without_times() {
    let make = |options: &str| {
        let sandbox = Sandbox::with_photo();
        page(&sandbox, &format!("photo.png {NET} --no-timings {options}"))
    };
    let first = make("");
    check(&first, &SECTIONS[..7]);
    assert!(first.contains("The weights are random"));
    assert!(first == make(""), "another page");
    // The command is on the page.
    let threads = make("--threads 3").replace(" --threads 3", "");
    assert!(first == threads, "another page on three threads");
}

#[test]
fn other_networks_and_choices() {
    let sandbox = Sandbox::with_photo();
    for net in [
        "-m small --classes 1 -w random",
        "-m vgg11-w8 -w random --classes 3 --size 64x48",
        "-m mobilenetv1_100-w8 -w random --size 64",
    ] {
        check(&page(&sandbox, &format!("photo.png {net}")), &SECTIONS);
    }
    // Classes without names say their number once; the title has the file's name, the command where it is.
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    std::fs::copy(sandbox.path("photo.png"), sandbox.path("folder/photo.png")).unwrap();
    let html = page(&sandbox, "folder/photo.png -m small --classes 3 -w random");
    assert!(html.contains("looks at <b>photo.png</b>") && html.contains("convscope report folder/photo.png"));
    assert!(html.contains("class 2</th>") && !html.contains("class 2 <small>"));
    let said = sandbox.ok("predict photo.png -m small --classes 3 -w random");
    assert!(said.contains("class 2  logit"), "{said}");
    let html = page(&sandbox, &format!("photo.png {NET} -c dog,cat -l layer2 --size 40x56"));
    let order: Vec<usize> = ["<h3>dog</h3>", "<h3>cat</h3>"].iter().map(|h| html.find(h).unwrap()).collect();
    assert!(order[0] < order[1] && html.contains("<code>layer2.2.relu_1</code> is weighted"));
    sandbox.fails(2, &format!("report photo.png {NET} -c cta"), &["cta"]);
    sandbox.fails(2, &format!("report photo.png {NET} -l layer2:3"), &["leave out the channel"]);
    sandbox.fails(2, &format!("report photo.png {NET} -c cat --top 2"), &["--top"]);
    sandbox.fails(1, &format!("report nothing.png {NET}"), &["cannot read image nothing.png"]);
}

/// Names that would be something else in HTML.
#[test]
fn names_are_only_names() {
    let sandbox = Sandbox::with_photo();
    sandbox.write("classes.txt", "<b>bold</b> & \"quoted\"\n<script>alert(1)</script>\n");
    std::fs::copy(sandbox.path("photo.png"), sandbox.path("a<i>&'b'.png")).unwrap();
    let mut command = sandbox.command(&format!("report -m small --classes classes.txt -w random {QUICK}"));
    assert!(command.arg("a<i>&'b'.png").status().unwrap().success());
    let pages = sandbox.names("convscope-out");
    assert!(pages.len() == 1 && pages[0].starts_with("report-a_i_"), "{pages:?}");
    let html = std::fs::read_to_string(sandbox.path("convscope-out").join(&pages[0])).unwrap();
    check(&html, &SECTIONS);
    assert_eq!(html.matches("<script>").count(), 1);
    assert!(!html.contains("<b>bold") && !html.contains("a<i>") && html.contains("&#60;script&#62;alert(1)"));
}
