//! Roofline plot of the dispatcher's kernels.

use super::report::{MeasuredProblem, machine};
use convscope_kernels::peak::Peak;
use convscope_viz::draw::{Roofline, RooflinePoint};

/// A dot per picked kernel; its area is the share of the time over all layers of its problem. Operations are counted for the
/// direct algorithm, so a dot above the flat roof saves some.
pub fn roofline(measured: &[MeasuredProblem], peak: &Peak) -> Roofline {
    // The plain convolution's dot would hide that of its fused form.
    let hidden = |m: &MeasuredProblem| {
        let fused = |o: &MeasuredProblem| {
            (o.op, &o.layer) == (m.op, &m.layer) && o.spec.len() > m.spec.len() && o.spec.starts_with(&m.spec)
        };
        measured.iter().any(fused)
    };
    let point = |m: &MeasuredProblem| {
        let (kernel, seconds) = m.timed().find(|(r, _)| r.picked).map(|(r, t)| (short(r.kernel, peak), t.median))?;
        let rate = m.flops / seconds;
        Some(RooflinePoint {
            intensity: m.intensity(),
            rate,
            seconds: seconds * m.count as f64,
            series: format!("{} / {kernel}", m.op),
            label: m.layer.clone(),
            about: format!("{}: {kernel}, {:.1} GFLOP/s, {}", m.title(), rate / 1e9, m.spec),
        })
    };
    let points = measured.iter().filter(|m| m.flops > 0.0 && !hidden(m)).filter_map(point).collect();
    let subtitle = format!("{}; area of a dot: its share of the time", machine(peak));
    let Peak { flops, one_thread, threads, bandwidth, .. } = *peak;
    let plot = Roofline::new("Roofline: what the dispatcher picks", subtitle);
    Roofline { flops, one_thread, threads, bandwidth, points, ..plot }
}

/// The name of a kernel without the instruction set, which is in the subtitle.
fn short<'a>(kernel: &'a str, peak: &Peak) -> &'a str {
    kernel.strip_suffix(peak.isa).map_or(kernel, |k| k.trim_end_matches('_'))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{PEAK, measured, timed};
    use super::*;

    #[test]
    fn picks_are_points_and_other_rows_are_not() {
        let problems =
            [2.0, 50.0].map(|ms| measured("layer1", vec![timed("fast_avx2", true, ms), timed("slow", false, 2.0 * ms)]));
        let plot = roofline(&problems, &PEAK);
        assert_eq!(plot.points.len(), 2);
        let RooflinePoint { series, seconds, about, .. } = &plot.points[0];
        assert_eq!((series.as_str(), *seconds), ("conv2d.fwd / fast", 3.0 * 2.0 / 1e3));
        assert!(about.contains("layer1 (x3): fast, 50.0 GFLOP/s"), "{about}");
        assert!(plot.subtitle.starts_with("avx2, 2 threads") && !plot.svg().contains("slow"));
    }
}
