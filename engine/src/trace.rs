//! A tape as a table, JSON, Graphviz DOT, or a Chrome trace (`chrome://tracing`, Perfetto).

use crate::shape::Shape;
use crate::tape::{Node, Tape};
use convscope_kernels::Call;
use serde_json::{Value, json};
use std::fmt::Write;

fn micros(calls: &[Call]) -> f64 {
    // An empty sum of floats is -0.
    calls.iter().map(|c| c.micros).sum::<f64>() + 0.0
}

fn flops(calls: &[Call]) -> u64 {
    calls.iter().map(|c| c.flops).sum()
}

/// Distinct kernels of some calls, such as `conv2d.dgrad/im2col_avx512`.
fn kernels(calls: &[Call], with_op: bool) -> String {
    let mut names: Vec<String> = Vec::new();
    for c in calls {
        let name = if with_op { format!("{}/{}", c.op, c.kernel) } else { c.kernel.to_string() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join("+")
}

/// Operation and settings, such as `Conv2d s1 p[1,1,1,1]`.
fn describe(node: &Node) -> String {
    format!("{} {}", node.operation().unwrap_or("leaf"), node.settings()).trim_end().to_string()
}

/// Labels of the images and feature maps (not the weights) among a node's inputs, and the shape of its weight, if any.
fn inputs<'a>(tape: &'a Tape, node: &Node) -> (Vec<&'a str>, Option<&'a Shape>) {
    let nodes = || node.inputs.iter().map(|v| &tape.nodes()[v.index()]);
    let weight = nodes().skip(1).find(|n| n.operation().is_none()).map(|n| &n.shape);
    (nodes().enumerate().filter(|(i, n)| *i == 0 || n.operation().is_some()).map(|(_, n)| n.label.as_str()).collect(), weight)
}

/// Nodes that compute something, with their positions.
fn computed(tape: &Tape) -> impl Iterator<Item = (usize, &Node)> {
    tape.nodes().iter().enumerate().filter(|(_, n)| n.operation().is_some())
}

/// A table, one line a node: forward and (if there was a backward pass) backward time, share of the total, rate and kernels.
pub fn text(tape: &Tape) -> String {
    let rate = |calls: &[Call]| match (flops(calls), micros(calls)) {
        (0, _) => String::new(),
        (f, us) => format!("{:.1}", f as f64 / us.max(1e-3) / 1e3),
    };
    let total: f64 = tape.nodes().iter().map(|n| micros(&n.forward) + micros(&n.backward)).sum();
    let has_backward = tape.nodes().iter().any(|n| !n.backward.is_empty());
    let mut rows = vec![
        ["#", "layer", "operation", "value", "kept", "forward us", "GF/s", "backward us", "GF/s", "share", "kernels"]
            .map(String::from),
    ];
    for (i, n) in computed(tape) {
        let share = (micros(&n.forward) + micros(&n.backward)) / total.max(1e-9);
        let kernels =
            [kernels(&n.forward, false), kernels(&n.backward, true)].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>();
        rows.push([
            format!("#{i}"),
            n.label.clone(),
            describe(n),
            n.shape.to_string(),
            bytes(n.kept_bytes()),
            format!("{:.0}", micros(&n.forward)),
            rate(&n.forward),
            if has_backward { format!("{:.0}", micros(&n.backward)) } else { String::new() },
            rate(&n.backward),
            format!("{:.1} %", 100.0 * share),
            kernels.join(" | "),
        ]);
    }
    let skip = |column: usize| !has_backward && (column == 7 || column == 8);
    let widths: Vec<usize> = (0..11).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate().filter(|(c, _)| !skip(*c)) {
            let pad = " ".repeat(widths[c] - cell.chars().count());
            // Numbers are right-aligned, text left-aligned.
            let _ = if (4..=9).contains(&c) { write!(line, "{pad}{cell}  ") } else { write!(line, "{cell}{pad}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let sum = |f: fn(&Node) -> &Vec<Call>| tape.nodes().iter().map(|n| micros(f(n))).sum::<f64>() / 1e3;
    let kept: usize = computed(tape).map(|(_, n)| n.kept_bytes()).sum();
    let _ = write!(out, "forward {:.2} ms", sum(|n| &n.forward));
    if has_backward {
        let _ = write!(out, ", backward {:.2} ms", sum(|n| &n.backward));
    }
    let _ = writeln!(out, ", {} kept", bytes(kept));
    out
}

/// A size with a binary unit.
fn bytes(n: usize) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1048576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1048576.0),
    }
}

fn calls_json(calls: &[Call]) -> Value {
    let call = |c: &Call| json!({"op": c.op, "kernel": c.kernel, "micros": c.micros, "flops": c.flops, "bytes": c.bytes});
    calls.iter().map(call).collect()
}

/// One object a node.
pub fn json(tape: &Tape) -> Value {
    computed(tape)
        .map(|(i, n)| {
            let (from, weight) = inputs(tape, n);
            json!({
                "node": i,
                "layer": n.label,
                "op": describe(n),
                "inputs": from,
                "weight": weight.map(|s| s.to_vec()),
                "shape": n.shape.to_vec(),
                "kept_bytes": n.kept_bytes(),
                "forward": calls_json(&n.forward),
                "backward": calls_json(&n.backward),
            })
        })
        .collect()
}

/// A Graphviz graph: `dot -Tsvg`.
///
/// ```
/// # use convscope_engine::{Tape, Tensor, trace};
/// let mut tape = Tape::new();
/// let x = tape.leaf(Tensor::from_slice([1], &[1.0f32])?, "x");
/// tape.relu(x)?;
/// assert!(trace::dot(&tape).contains("n0 -> n1"));
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub fn dot(tape: &Tape) -> String {
    let mut out = String::from("digraph tape {\n  rankdir=TB; node [shape=box, fontname=\"Helvetica\", fontsize=10];\n");
    // The image is the one leaf that is an operation's first input.
    let image = |i: usize| computed(tape).any(|(_, n)| n.inputs.first().is_some_and(|v| v.index() == i));
    for (i, n) in tape.nodes().iter().enumerate().filter(|(i, n)| n.operation().is_some() || image(*i)) {
        let quoted = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
        let time = if n.operation().is_some() { format!("\\n{:.0} us", micros(&n.forward)) } else { String::new() };
        let _ = writeln!(out, "  n{i} [label=\"{}\\n{} {}{time}\"];", quoted(&n.label), quoted(&describe(n)), n.shape);
        for v in &n.inputs {
            if tape.nodes()[v.index()].operation().is_some() || image(v.index()) {
                let _ = writeln!(out, "  n{} -> n{i};", v.index());
            }
        }
    }
    out.push_str("}\n");
    out
}

/// A Chrome trace: forward calls one after the other, then backward calls, on one line each.
pub fn chrome(tape: &Tape) -> Value {
    let mut events = vec![
        json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "forward"}}),
        json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "backward"}}),
    ];
    let mut now = 0.0;
    let mut push = |tid: u32, node: &Node, call: &Call| {
        events.push(json!({
            "name": node.label, "cat": call.op, "ph": "X", "pid": 1, "tid": tid, "ts": now, "dur": call.micros,
            "args": {"kernel": format!("{}/{}", call.op, call.kernel), "flops": call.flops, "bytes": call.bytes, "shape": node.shape.to_string()},
        }));
        now += call.micros;
    };
    for (_, n) in computed(tape) {
        n.forward.iter().for_each(|c| push(1, n, c));
    }
    for n in tape.nodes().iter().rev() {
        n.backward.iter().for_each(|c| push(2, n, c));
    }
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rules, Tape, Tensor};

    #[test]
    fn a_pass_is_shown_in_every_form() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([1, 1, 3, 3], &[1.0f32; 9]).unwrap(), "image");
        let w = tape.leaf(Tensor::from_slice([2, 1, 2, 2], &[0.5f32; 8]).unwrap(), "conv.weight");
        let c = tape.conv2d(x, w, None, Default::default()).unwrap();
        tape.label(c, "conv").unwrap();
        let m = tape.mean(c).unwrap();
        tape.backward(m, None, &[x], &Rules::default()).unwrap();
        let text = text(&tape);
        assert!(text.contains("conv") && text.contains("conv2d.dgrad/") && text.contains("[1,2,2,2]"), "{text}");
        let json = json(&tape);
        assert_eq!(json[0]["inputs"][0], "image");
        assert_eq!(json[0]["weight"], serde_json::json!([2, 1, 2, 2]));
        assert!(dot(&tape).contains("n0 -> n2") && !dot(&tape).contains("conv.weight"));
        let events = chrome(&tape)["traceEvents"].as_array().unwrap().len();
        assert_eq!(events, 2 + 2 + 2, "two names, two forward and two backward calls");
    }
}
