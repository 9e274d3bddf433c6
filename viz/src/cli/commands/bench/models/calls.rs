//! Time of a pass by kernel, or by kernel and layer.

use super::super::table::{TableColumn, header, line, right};
use crate::cli::args::By;
use convscope_engine::Tape;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const COLUMNS: [TableColumn; 5] = [right("ms", 10), right("share", 7), right("calls", 6), right("GFLOP/s", 9), right("GB/s", 8)];

/// Key of the sums: kernel (`conv2d.fwd/direct_avx512`) and, by layer, the layer and its output shape.
type Key = (String, String);

/// Calls with one key in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallSum {
    calls: usize,
    ms: f64,
    flops: u64,
    bytes: u64,
}

/// Sums over one pass.
pub type CallSums = BTreeMap<Key, CallSum>;

/// Sums the calls of a tape.
pub fn sums(tape: &Tape, by: By) -> CallSums {
    let mut sums = CallSums::new();
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

/// Medians over passes, slowest first.
pub struct Calls(Vec<(Key, CallSum)>);

impl Calls {
    /// Keys of at least one pass.
    pub fn new(passes: &[CallSums]) -> Self {
        let mut times: BTreeMap<&Key, Vec<f64>> = BTreeMap::new();
        for (key, sum) in passes.iter().flatten() {
            times.entry(key).or_default().push(sum.ms);
        }
        let mut median = Vec::new();
        for (key, sum) in passes.last().into_iter().flatten() {
            let ms = times.get_mut(key).map_or(0.0, |times| super::median(times));
            median.push((key.clone(), CallSum { ms, ..*sum }));
        }
        median.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
        Calls(median)
    }

    /// One line per key: milliseconds, share of the pass, calls, rates, kernel, layer. The last line is the time outside kernels.
    pub fn text(&self, pass_ms: f64) -> String {
        let mut lines = vec![header(&COLUMNS)];
        let time = |ms: f64| [format!("{ms:.3}"), format!("{:.1}%", 100.0 * ms / pass_ms)];
        for ((kernel, layer), sum) in &self.0 {
            let rate = |count: u64| if count == 0 { String::new() } else { format!("{:.1}", count as f64 / sum.ms / 1e6) };
            let cells = time(sum.ms).into_iter().chain([sum.calls.to_string(), rate(sum.flops), rate(sum.bytes)]);
            lines.push(format!("{}  {kernel} {layer}", line(&COLUMNS, cells)).trim_end().to_string());
        }
        let rest = pass_ms - self.0.iter().map(|(_, sum)| sum.ms).sum::<f64>();
        lines.push(format!("{} {:32}between kernels", line(&COLUMNS, time(rest)), ""));
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let object = |((kernel, layer), sum): &(Key, CallSum)| {
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
