//! Every CUDA row against the f64 oracle, on the emulated device, or on a GPU where `CONVSCOPE_GPU` is set (see `tests/gpu.sh`).

use convscope_kernels::{Context, Device, tables};

#[test]
fn every_row_passes_the_oracle_test() {
    let gpu = std::env::var_os("CONVSCOPE_GPU").is_some();
    let device = if gpu {
        match convscope_kernels::cuda::first() {
            Ok(device) => device,
            Err(e) => {
                let rows = tables().iter().flat_map(|t| t.rows(&Context::default())).filter(|r| r.device != Device::Cpu).count();
                println!("skipped {rows} rows on a real GPU: {e}");
                return;
            }
        }
    } else {
        let Some(device) = convscope_emu::device() else { return };
        device
    };
    let context = Context::default().with_device(device);
    // A part of a name, such as `conv2d.fwd/`, while working on a row.
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    for table in tables() {
        let rows = table.rows(&context);
        let cuda = rows.iter().enumerate().filter(|(_, r)| r.device != Device::Cpu);
        assert!(cuda.clone().count() > 0, "{} has no CUDA row", table.op());
        for (i, row) in cuda {
            let name = format!("{}/{}", table.op(), row.name);
            if !name.contains(&only) {
                continue;
            }
            if !row.here {
                println!("{name:40} skipped: this device lacks its instructions");
                continue;
            }
            let start = std::time::Instant::now();
            match table.check(&context, i) {
                Ok(r) => println!(
                    "{name:40} ok: {:3} runs, worst error {:.3} of its bound, {} unfit, {:?}",
                    r.runs,
                    r.worst,
                    r.unfit,
                    start.elapsed()
                ),
                Err(e) => failures.push(e),
            }
        }
    }
    if !gpu {
        println!("skipped: all of these on a real GPU");
    }
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}
