//! Components and what they import: no two components of a crate import each other, directly or through others.
//!
//! A component is a file or folder of `src`, or a folder within a folder. Paths that start with `crate` or `super` are its imports.
//! An import is one of the outermost components that differ: of `ops/pool` from `ops/gemm` within `ops`, but of `ops` from `core` where it is
//! from `core/table`. Between a folder and the folders within it both directions are allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates, and the circles that are allowed. An excuse that no circle needs fails too.
const CRATES: [(&str, &[Excuse]); 4] = [
    (
        "kernels",
        &[(
            &["core", "cuda", "simd"],
            "a buffer lies in a device's memory and a device fails with core's errors; a row for each instruction set names its vectors",
        )],
    ),
    ("engine", &[]),
    ("models", &[]),
    ("viz", &[]),
];

/// Components that may import each other, and the reason.
type Excuse = (&'static [&'static str], &'static str);

/// The modules of a crate and the names that its root exports.
#[derive(Default)]
struct Crate {
    /// Text of each module, by its path within the crate.
    modules: BTreeMap<Vec<String>, Module>,
    /// Names that the root exports, and the paths that they stand for.
    exports: BTreeMap<String, Vec<String>>,
}

struct Module {
    /// The component that it belongs to.
    component: String,
    code: String,
}

impl Crate {
    fn read(source: &Path) -> Self {
        let mut all = Self::default();
        all.folder(source, &[]);
        all
    }

    fn folder(&mut self, folder: &Path, path: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let inside = [path, std::slice::from_ref(&stem)].concat();
            if file.is_dir() {
                self.folder(&file, &inside);
            } else if file.extension().is_some_and(|e| e == "rs") && stem != "tests" {
                self.add(path, &stem, &fs::read_to_string(&file).unwrap());
            }
        }
    }

    /// Adds the file `stem` of the folder `path`.
    fn add(&mut self, path: &[String], stem: &str, text: &str) {
        let code = code(text);
        match (stem, path) {
            ("lib" | "main", []) => {
                for path in imports(&code, "use ") {
                    self.exports.extend(path.last().map(|name| (name.clone(), path.clone())));
                }
            }
            ("mod", _) => drop(self.modules.insert(path.to_vec(), Module { component: path.join("/"), code })),
            _ => {
                let module = [path, &[stem.to_string()]].concat();
                let component = if path.is_empty() { stem.to_string() } else { path.join("/") };
                self.modules.insert(module, Module { component, code });
            }
        }
    }

    /// The component of a path from the root, where its beginning is a module.
    fn component(&self, path: &[String]) -> Option<&str> {
        let longest = (1..=path.len()).rev().find_map(|n| self.modules.get(&path[..n]));
        longest.map(|module| module.component.as_str())
    }

    /// For each component those that it imports from, with one of the modules that do.
    fn arrows(&self) -> BTreeMap<&str, BTreeMap<&str, String>> {
        let mut arrows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (path, module) in &self.modules {
            arrows.entry(&module.component).or_default();
            let mut reads = imports(&module.code, "crate::");
            for mut read in imports(&module.code, "super::") {
                let ups = 1 + read.iter().take_while(|part| *part == "super").count();
                read.drain(..ups - 1);
                reads.push([&path[..path.len().saturating_sub(ups)], &read].concat());
            }
            for read in reads {
                let read = match (self.component(&read), read.first().and_then(|name| self.exports.get(name))) {
                    (None, Some(exported)) => exported.clone(),
                    _ => read,
                };
                if let Some((from, to)) = self.component(&read).and_then(|to| differing(&module.component, to)) {
                    arrows.entry(to).or_default();
                    arrows.entry(from).or_default().entry(to).or_insert_with(|| path.join("::"));
                }
            }
        }
        arrows
    }

    /// The largest sets of components that all import each other, directly or through others.
    fn circles(&self) -> Vec<BTreeSet<&str>> {
        let arrows = self.arrows();
        let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for component in arrows.keys() {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*component]);
            while let Some(next) = open.pop() {
                open.extend(arrows[next].keys().filter(|target| seen.insert(**target)));
            }
            reached.insert(component, seen);
        }
        let mut circles: Vec<BTreeSet<&str>> = Vec::new();
        for (component, far) in &reached {
            let circle: BTreeSet<&str> = far.iter().copied().filter(|other| reached[other].contains(component)).collect();
            if circle.len() > 1 && !circles.contains(&circle) {
                circles.push(circle);
            }
        }
        circles
    }

    /// The arrows of a circle, a line each.
    fn drawn(&self, circle: &BTreeSet<&str>) -> String {
        let mut lines = String::new();
        for (from, targets) in self.arrows().into_iter().filter(|(from, _)| circle.contains(from)) {
            for (to, module) in targets.into_iter().filter(|(to, _)| circle.contains(to)) {
                lines += &format!("\n  {from} -> {to} (in {module})");
            }
        }
        lines
    }
}

/// The outermost components around two that are not the same; `None` if one lies within the other.
fn differing<'a>(a: &'a str, b: &'a str) -> Option<(&'a str, &'a str)> {
    let ends =
        |component: &'a str| component.match_indices('/').map(|(at, _)| at).chain([component.len()]).map(|end| &component[..end]);
    ends(a).zip(ends(b)).find(|(a, b)| a != b)
}

/// A file without comments and without the tests that end it.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..tests].lines().map(|line| line.find("//").map_or(line, |start| &line[..start]));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths behind each `start` in a text; those in braces one by one.
fn imports(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        // The rest of a longer word or path, such as the second `super` of two.
        if !before.is_alphanumeric() && !matches!(before, '_' | ':') {
            tree(&code[at + start.len()..], &[], &mut paths);
        }
    }
    paths
}

/// Reads a path or a tree of paths from the start of `text`; returns the rest.
fn tree<'t>(text: &'t str, above: &[String], paths: &mut Vec<Vec<String>>) -> &'t str {
    let mut rest = text.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {
                    let after = tree(rest, above, paths);
                    // Anything but a name, such as `*`, is skipped.
                    rest = if after.len() == rest.len() { after.get(1..).unwrap_or_default() } else { after };
                }
            }
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let path = match name {
        "" | "self" | "crate" => above.to_vec(),
        name => [above, &[name.to_string()]].concat(),
    };
    match after.strip_prefix("::") {
        Some(deeper) => tree(deeper, &path, paths),
        None => {
            // The exported name of `a as b` is `b`.
            let renamed = after.trim_start().strip_prefix("as ").filter(|_| !name.is_empty());
            let after = renamed.map_or(after, |new| new.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
            paths.push(path);
            after
        }
    }
}

#[test]
fn no_circle_of_components_but_those_with_an_excuse() {
    let mut wrong = String::new();
    for (name, excuses) in CRATES {
        let all = Crate::read(&convscope_tests::root().join(name).join("src"));
        let (components, arrows) = (all.arrows().len(), all.arrows().values().map(BTreeMap::len).sum::<usize>());
        let circles = all.circles();
        println!("{name}: {components} components, {arrows} arrows, {} circles", circles.len());
        let excused =
            |circle: &BTreeSet<&str>, components: &[&str]| circle.iter().all(|component| components.contains(component));
        for circle in circles.iter().filter(|circle| !excuses.iter().any(|(components, _)| excused(circle, components))) {
            wrong += &format!("\n{name}: {circle:?} import each other:{}", all.drawn(circle));
        }
        for (components, _) in excuses.iter().filter(|(components, _)| !circles.iter().any(|circle| excused(circle, components)))
        {
            wrong += &format!("\n{name}: {components:?} are excused, but are no circle any more");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_circle_is_seen_through_braces_exports_and_super() {
    let circles = |files: &[(&[&str], &str, &str)]| {
        let mut all = Crate::default();
        for (folder, stem, text) in files {
            all.add(&folder.iter().map(ToString::to_string).collect::<Vec<_>>(), stem, text);
        }
        all.circles().iter().map(|circle| circle.iter().copied().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let root: (&[&str], &str, &str) = (&[], "lib", "mod a;\npub mod b;\npub use b::deep::{Other, Thing};\n");
    let deep: (&[&str], &str, &str) = (&["b"], "deep", "use super::super::a;\npub struct Thing;");
    let into = |text: &'static str| circles(&[root, (&[], "a", text), (&["b"], "mod", "mod deep;"), deep]);
    assert_eq!(into("use crate::{c, b::{deep::Thing, Other as O}};"), ["a b"]);
    assert_eq!(into("fn f() { crate::Thing }"), ["a b"]);
    assert_eq!(into("use super::b::*;"), ["a b"]);
    assert!(into("// use crate::b;\nuse std::b;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}").is_empty());
    // A folder and its content are one component; two folders within it are two.
    let folder = |first: &'static str, second: &'static str| circles(&[(&["x", "y"], "mod", first), (&["x", "z"], "f", second)]);
    assert_eq!(folder("use super::z::f;", "use crate::x::y;"), ["x/y x/z"]);
    let inner = "use crate::out;";
    assert_eq!(circles(&[(&[], "out", "use crate::x;"), (&["x"], "mod", ""), (&["x", "y"], "mod", inner)]), ["out x"]);
    assert!(folder("use super::z::f;", "use crate::x;").is_empty());
}
