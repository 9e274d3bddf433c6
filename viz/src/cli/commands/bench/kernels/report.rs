//! Measurements as text and JSON.

use super::super::table::{TableColumn, header, left, line, right};
use super::problems::NamedProblem;
use convscope_kernels::bench::{MeasuredRow, Outcome, Time};
use convscope_kernels::peak::Peak;
use serde_json::{Map, Value, json};

/// Columns of a problem's table, after the kernel names.
const COLUMNS: [TableColumn; 7] = [
    right("error", 9),
    right("median ms", 11),
    right("GFLOP/s", 9),
    right("% peak", 7),
    right("GB/s", 7),
    right("% memory", 9),
    right("scratch", 10),
];

/// A problem with its kernels.
pub struct MeasuredProblem {
    pub network: String,
    pub layer: String,
    pub count: usize,
    pub op: &'static str,
    pub spec: String,
    pub flops: f64,
    pub bytes: f64,
    pub rows: Vec<MeasuredRow>,
}

impl MeasuredProblem {
    pub fn new(named: &NamedProblem, rows: Vec<MeasuredRow>) -> Self {
        let (problem, count) = (&named.problem, named.count);
        let (flops, bytes) = (problem.flops() as f64, problem.bytes() as f64);
        let (network, layer) = (named.network.clone(), named.layer.clone());
        MeasuredProblem { network, layer, count, op: problem.op(), spec: problem.spec(), flops, bytes, rows }
    }

    /// `conv2d.fwd resnet50 layer1.0.conv2 (x3)`
    pub fn title(&self) -> String {
        let times = if self.count > 1 { format!(" (x{})", self.count) } else { String::new() };
        format!("{} {} {}{times}", self.op, self.network, self.layer)
    }

    /// Arithmetic intensity: operations per byte.
    pub fn intensity(&self) -> f64 {
        self.flops / self.bytes.max(1.0)
    }

    /// The kernels that ran, with their times.
    pub fn timed(&self) -> impl Iterator<Item = (&MeasuredRow, &Time)> {
        self.rows.iter().filter_map(|r| match &r.outcome {
            Outcome::Timed { time, .. } => Some((r, time)),
            _ => None,
        })
    }

    /// A message about kernels with wrong results.
    pub fn wrong(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter_map(|r| match &r.outcome {
            Outcome::Wrong(why) => Some(format!("{} {}: {}: {why}", self.title(), self.spec, r.kernel)),
            _ => None,
        })
    }

    /// The table of the problem, with its title.
    pub fn text(&self, peak: &Peak) -> String {
        let (flops, bytes) = (self.flops / 1e9, self.bytes / 1e6);
        let width = self.rows.iter().map(|r| r.kernel.len()).max().unwrap_or(0).max(14);
        let columns = [left("    kernel", 4 + width)].into_iter().chain(COLUMNS).collect::<Vec<_>>();
        // The memory roof limits this problem.
        let memory_bound = self.intensity() < peak.flops / peak.bandwidth;
        let mut lines = vec![
            format!("{}   {}", self.title(), self.spec),
            format!("  {flops:.3} GFLOP, {bytes:.1} MB, {:.1} FLOP/byte", self.intensity()),
            header(&columns),
        ];
        for r in &self.rows {
            let name = format!("  {} {}", if r.picked { '*' } else { ' ' }, r.kernel);
            lines.push(match &r.outcome {
                Outcome::NotRun(why) => format!("{}   {why}", line(&columns, [&name, "-"])),
                Outcome::Wrong(why) => format!("{}   {why}", line(&columns, [&name, "WRONG"])),
                Outcome::Timed { error, scratch, time, .. } => {
                    let (rate, moved) = (self.flops / time.median, self.bytes / time.median);
                    let share = |v: f64, most: f64| format!("{:.1}", 100.0 * v / most);
                    let memory = match memory_bound {
                        true => [format!("{:.1}", moved / 1e9), share(moved, peak.bandwidth)],
                        false => Default::default(),
                    };
                    let scratch = if *scratch == 0 { "-".to_string() } else { human_bytes(*scratch as f64) };
                    let (error, ms) = (format!("{error:.1e}"), format!("{:.4}", 1e3 * time.median));
                    let rates = [error, ms, format!("{:.2}", rate / 1e9), share(rate, peak.flops)];
                    line(&columns, [name].into_iter().chain(rates).chain(memory).chain([scratch]))
                }
            });
        }
        lines.join("\n") + "\n"
    }

    /// One JSON object per kernel.
    pub fn json(&self, peak: &Peak) -> Vec<Map<String, Value>> {
        let row = |r: &MeasuredRow| {
            let (mut status, mut reason) = ("ok", None);
            let (mut error, mut bound, mut scratch, mut time) = (None, None, None, None);
            match &r.outcome {
                Outcome::Timed { error: e, bound: b, scratch: s, time: t } => {
                    (error, bound, scratch, time) = (Some(*e), Some(*b), Some(*s), Some(*t));
                }
                Outcome::Wrong(why) => (status, reason) = ("wrong", Some(why)),
                Outcome::NotRun(why) => (status, reason) = ("not run", Some(why)),
            }
            let rate = time.map(|t| self.flops / t.median);
            [
                ("op", json!(self.op)),
                ("network", json!(self.network)),
                ("layer", json!(self.layer)),
                ("count", json!(self.count)),
                ("spec", json!(self.spec)),
                ("flops", json!(self.flops as u64)),
                ("bytes", json!(self.bytes as u64)),
                ("kernel", json!(r.kernel)),
                ("picked", json!(r.picked)),
                ("status", json!(status)),
                ("reason", json!(reason)),
                ("error", json!(error)),
                ("bound", json!(bound)),
                ("ms", json!(time.map(|t| 1e3 * t.median))),
                ("ms_low", json!(time.map(|t| 1e3 * t.low))),
                ("ms_high", json!(time.map(|t| 1e3 * t.high))),
                ("runs", json!(time.map(|t| t.runs))),
                ("gflops", json!(rate.map(|r| r / 1e9))),
                ("percent_of_peak", json!(rate.map(|r| 100.0 * r / peak.flops))),
                ("gb_per_s", json!(time.map(|t| self.bytes / t.median / 1e9))),
                ("percent_of_memory", json!(time.map(|t| 100.0 * self.bytes / t.median / peak.bandwidth))),
                ("scratch_bytes", json!(scratch)),
                ("isa", json!(peak.isa)),
                ("threads", json!(peak.threads)),
                ("peak_gflops", json!(peak.flops / 1e9)),
                ("memory_gb_per_s", json!(peak.bandwidth / 1e9)),
                ("core_to_core_gb_per_s", json!(peak.between.map(|rate| rate / 1e9))),
            ]
            .into_iter()
            .map(|(k, v)| (k.to_string(), v))
            .collect()
        };
        self.rows.iter().map(row).collect()
    }
}

/// The machine's peaks, in one line.
pub fn machine(peak: &Peak) -> String {
    let threads = if peak.threads == 1 { "1 thread".to_string() } else { format!("{} threads", peak.threads) };
    let (all, one, memory) = (peak.flops / 1e9, peak.one_thread / 1e9, peak.bandwidth / 1e9);
    let one = if peak.threads == 1 { String::new() } else { format!(" (one thread {one:.1})") };
    let between = peak.between.map_or(String::new(), |rate| format!(", from core to core {:.1} GB/s", rate / 1e9));
    format!("{}, {threads}: measured peak {all:.1} GFLOP/s{one}, memory {memory:.1} GB/s{between}", peak.isa)
}

fn human_bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        b => format!("{b} B"),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli::commands::bench::table;
    use convscope_kernels::simd::Isa;

    pub const PEAK: Peak =
        Peak { isa: Isa::Avx2.name(), threads: 2, one_thread: 5e10, flops: 1e11, bandwidth: 2e10, between: Some(1e10) };

    pub fn timed(kernel: &'static str, picked: bool, ms: f64) -> MeasuredRow {
        let time = Time { median: ms / 1e3, low: 0.99 * ms / 1e3, high: 1.01 * ms / 1e3, runs: 5 };
        MeasuredRow { kernel, picked, outcome: Outcome::Timed { error: 1e-7, bound: 1e-6, scratch: 2048, time } }
    }

    pub fn measured(layer: &str, rows: Vec<MeasuredRow>) -> MeasuredProblem {
        let (network, spec) = ("net".to_string(), format!("n1 {layer} s1,1"));
        MeasuredProblem { network, layer: layer.to_string(), count: 3, op: "conv2d.fwd", spec, flops: 1e8, bytes: 1e6, rows }
    }

    fn example() -> MeasuredProblem {
        let not = MeasuredRow { kernel: "winograd", picked: false, outcome: Outcome::NotRun("expects \"3x3\"".to_string()) };
        let wrong =
            MeasuredRow { kernel: "broken", picked: false, outcome: Outcome::Wrong("error 1 where 0 is allowed".to_string()) };
        measured("a.conv1", vec![timed("fast", true, 2.0), timed("slow", false, 4.0), not, wrong])
    }

    #[test]
    fn text_marks_the_pick_and_gives_reasons() {
        let text = example().text(&PEAK);
        assert!(text.starts_with("conv2d.fwd net a.conv1 (x3)   n1 a.conv1 s1,1\n"), "{text}");
        for part in ["  * fast", "    slow", "   expects \"3x3\"", "WRONG", "50.00", "2.0 kB"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(example().wrong().count(), 1);
        assert!(machine(&PEAK).contains("avx2, 2 threads: measured peak 100.0 GFLOP/s (one thread 50.0), memory 20.0 GB/s"));
    }

    #[test]
    fn csv_has_a_field_for_each_key_and_quotes_what_needs_it() {
        let rows = example().json(&PEAK);
        let text = table::csv(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("op,network,layer,count,spec,") && lines[1].contains("\"n1 a.conv1 s1,1\""), "{text}");
        assert!(lines[3].contains("\"expects \"\"3x3\"\"\""), "{text}");
        assert_eq!(table::csv(&[]), "");
    }
}
