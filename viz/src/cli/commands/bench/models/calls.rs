//! Where the time of a pass goes: its kernel calls, summed by kernel or by kernel and layer.

use crate::cli::args::By;
use convscope_engine::Tape;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Which calls are summed: kernel (`conv2d.fwd/direct_avx512`) and, where asked for, the layer and the shape of its value.
type Key = (String, String);

/// Calls of one key in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    calls: usize,
    ms: f64,
    flops: u64,
    bytes: u64,
}

/// Sums of one pass.
pub type Sums = BTreeMap<Key, Sum>;

/// Sums what ran on a tape.
pub fn sums(tape: &Tape, by: By) -> Sums {
    let mut sums = Sums::new();
    for node in tape.nodes() {
        let layer = || format!("{} {}", node.label, node.shape);
        for call in node.forward.iter().chain(&node.backward) {
            let kernel = format!("{}/{}", call.op, call.kernel);
            let sum = sums.entry((kernel, if by == By::Layer { layer() } else { String::new() })).or_default();
            sum.calls += 1;
            sum.ms += call.micros / 1e3;
            sum.flops += call.flops;
            sum.bytes += call.bytes;
        }
    }
    sums
}

/// Medians over passes, the slowest first.
pub struct Calls(Vec<(Key, Sum)>);

impl Calls {
    /// Of at least one pass.
    pub fn new(passes: &[Sums]) -> Self {
        let mut times: BTreeMap<&Key, Vec<f64>> = BTreeMap::new();
        for (key, sum) in passes.iter().flatten() {
            times.entry(key).or_default().push(sum.ms);
        }
        let mut median = Vec::new();
        for (key, sum) in passes.last().into_iter().flatten() {
            let ms = times.get_mut(key).map_or(0.0, |times| super::median(times));
            median.push((key.clone(), Sum { ms, ..*sum }));
        }
        median.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
        Calls(median)
    }

    /// A line a key: milliseconds, share of the pass, calls, rates, kernel, layer; the last one has what no kernel took.
    pub fn text(&self, pass_ms: f64) -> String {
        let mut lines = vec![format!("{:>10} {:>7} {:>6} {:>9} {:>8}", "ms", "share", "calls", "GFLOP/s", "GB/s")];
        for ((kernel, layer), sum) in &self.0 {
            let rate = |count: u64| if count == 0 { String::new() } else { format!("{:.1}", count as f64 / sum.ms / 1e6) };
            let line = format!(
                "{:10.3} {:6.1}% {:6} {:>9} {:>8}  {kernel} {layer}",
                sum.ms,
                100.0 * sum.ms / pass_ms,
                sum.calls,
                rate(sum.flops),
                rate(sum.bytes)
            );
            lines.push(line.trim_end().to_string());
        }
        let rest = pass_ms - self.0.iter().map(|(_, sum)| sum.ms).sum::<f64>();
        lines.push(format!("{rest:10.3} {:6.1}% {:32}between kernels", 100.0 * rest / pass_ms, ""));
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let object = |((kernel, layer), sum): &(Key, Sum)| {
            json!({
                "kernel": kernel,
                "layer": layer,
                "calls": sum.calls,
                "median_ms": (sum.ms * 1e4).round() / 1e4,
                "flops": sum.flops,
                "bytes": sum.bytes,
            })
        };
        self.0.iter().map(object).collect()
    }
}
