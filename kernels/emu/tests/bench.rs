//! The benchmark's own path on the emulated device: verifying and timing rows, and the kernels that measure peaks.

use convscope_kernels::bench::{AnyProblem, Outcome, Problem};
use convscope_kernels::conv2d::{self, Conv2dSpec};
use convscope_kernels::{Context, Precision, peak_cuda as peak, sample};

#[test]
fn rows_are_verified_and_peaks_measured() {
    let Some(device) = convscope_emu::device() else { return };
    let on_device = Context::default().with_device(device);
    for precision in Precision::ALL {
        let context = on_device.clone().with_precision(precision);
        let peak = peak::glimpse(&context).unwrap();
        assert!(peak.flops > 0.0 && peak.bandwidth > 0.0 && peak.isa.ends_with(&precision.to_string()), "{peak:?}");
        let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 4, 9, 8, 6, 3) };
        let picked = conv2d::FWD.pick(&context, convscope_kernels::DType::F32, &spec).unwrap().name();
        let want = if precision == Precision::F32 { "implicit_64_cuda".to_string() } else { format!("{precision}_cuda") };
        assert_eq!(picked, want, "the precision decides");
    }
    let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 2, 5, 4, 3, 3) };
    let problem = Problem { table: &conv2d::FWD, spec, sample: Some(sample::CONV2D_FWD) };
    for row in problem.measure(&on_device).unwrap() {
        assert!(row.kernel.ends_with("_cuda"));
        let of_groups = row.kernel.starts_with("depthwise") || row.kernel.starts_with("grouped");
        match row.outcome {
            Outcome::Timed { error, bound, .. } => assert!(error <= bound, "{row:?}"),
            _ => assert!(of_groups, "{row:?}"),
        }
    }
}
