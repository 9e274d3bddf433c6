//! The benchmark's own path on the emulated device: verifying and timing rows, and the kernels that measure peaks.

use convscope_kernels::bench::{AnyProblem, Outcome, Problem};
use convscope_kernels::conv2d::{self, Conv2dSpec};
use convscope_kernels::cuda::precision::{Precision, with_precision};
use convscope_kernels::{peak_cuda as peak, sample};

#[test]
fn rows_are_verified_and_peaks_measured() {
    let Some(device) = convscope_emu::device() else { return };
    let check = |precision: Precision| {
        let peak = peak::glimpse(device).unwrap();
        assert!(peak.flops > 0.0 && peak.bandwidth > 0.0 && peak.isa.ends_with(&precision.to_string()), "{peak:?}");
        let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 4, 9, 8, 6, 3) };
        let picked = conv2d::FWD.pick(device, convscope_kernels::DType::F32, &spec).unwrap().name();
        let want = if precision == Precision::F32 { "implicit_64_cuda".to_string() } else { format!("{precision}_cuda") };
        assert_eq!(picked, want, "the precision decides");
    };
    Precision::ALL.into_iter().for_each(|precision| with_precision(precision, || check(precision)));
    let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 2, 5, 4, 3, 3) };
    let problem = Problem { table: &conv2d::FWD, spec, sample: Some(sample::CONV2D_FWD) };
    for rung in problem.measure(device).unwrap() {
        assert!(rung.kernel.ends_with("_cuda"));
        let of_groups = rung.kernel.starts_with("depthwise") || rung.kernel.starts_with("grouped");
        match rung.outcome {
            Outcome::Timed { error, bound, .. } => assert!(error <= bound, "{rung:?}"),
            _ => assert!(of_groups, "{rung:?}"),
        }
    }
}
