//! The emulation must notice the mistakes that it exists for.

use convscope_kernels::cuda::driver::{Arg, Launch};
use convscope_kernels::{Buffer, DType, Device};

/// `gemm_tile`, or a copy with a fault (see `build.rs`), on a small product; the result, or what was said.
fn product(kernel: &'static str, device: Device, args: impl Fn(Vec<Arg>) -> Vec<Arg>) -> Result<Vec<f32>, String> {
    let (m, n, k) = (20, 20, 40);
    let numbers = |len: usize| Buffer::from_slice(&(0..len).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>());
    let [a, b] = [m * k, k * n].map(|len| numbers(len).on(device).unwrap());
    let mut c = a.like(DType::F32, m * n);
    let all = vec![
        (&*a).into(),
        (&*b).into(),
        Arg::Pointer(0),
        (&mut c).into(),
        m.into(),
        n.into(),
        k.into(),
        false.into(),
        false.into(),
        false.into(),
    ];
    let launch = Launch { kernel, grid: [2, 2, 1], block: [256, 1, 1], shared: 0, args: args(all) };
    let queue = convscope_kernels::cuda::queue(device).unwrap();
    // SAFETY: wrong arguments are refused; faults of the others are missing barriers.
    unsafe { queue.launch(launch) };
    queue.synchronize().map_err(|e| e.to_string())?;
    Ok(c.as_slice::<f32>().to_vec())
}

/// `gemm_hopper_f16`, or a copy with a fault, on a product of seven tiles along k, more than the ring holds.
fn hopper(kernel: &'static str, device: Device, shared: usize) -> Result<Vec<f32>, String> {
    let (m, n, blocks) = (70, 20, 7);
    let k = 64 * blocks;
    let queue = convscope_kernels::cuda::queue(device).unwrap();
    let packed = |rows: usize, tile: usize| {
        let numbers: Vec<f32> = (0..rows * k).map(|i| (i % 7) as f32 - 3.0).collect();
        let from = Buffer::from_slice(&numbers).on(device).unwrap();
        let units = tile * blocks * 8;
        let mut to = from.like(DType::F32, 4 * units);
        let sizes = [rows, k, k, 1, tile, blocks].map(Arg::from);
        let args = [(&*from).into(), (&mut to).into()].into_iter().chain(sizes).collect();
        let launch = Launch { kernel: "gemm_pack_f16", grid: [units.div_ceil(256), 1, 1], block: [256, 1, 1], shared: 0, args };
        // SAFETY: the operand ends where `rows` and `k` say, and `to` holds all units.
        unsafe { queue.launch(launch) };
        to
    };
    let (a, b) = (packed(m, 128), packed(n, 256));
    let mut c = a.like(DType::F32, m * n);
    let args = [(&a).into(), (&b).into(), Arg::Pointer(0), (&mut c).into(), m.into(), n.into(), blocks.into(), false.into()];
    let launch = Launch { kernel, grid: [1, 1, 1], block: [256, 1, 1], shared, args: args.to_vec() };
    // SAFETY: as in `product`.
    unsafe { queue.launch(launch) };
    queue.synchronize().map_err(|e| e.to_string())?;
    Ok(c.as_slice::<f32>().to_vec())
}

/// `conv_fwd_hopper_f16`, or a copy with a fault, on two images of 130 channels.
fn conv(kernel: &'static str, device: Device) -> Result<Vec<f32>, String> {
    let (n, c, side, oc) = (2, 130, 5, 3);
    let numbers = |len: usize| Buffer::from_slice(&(0..len).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>());
    let [x, w] = [n * c * side * side, oc * c * 9].map(|len| numbers(len).on(device).unwrap());
    let mut out = x.like(DType::F32, n * oc * side * side);
    // Kernels of 3 by 3, a stride, padding and dilation of 1, one group.
    let problem = [n, c, side, side, oc, side, side, 3, 3, 1, 1, 1, 1, 1, 1, 1].map(|v| v as i32);
    let operands = [Arg::Ints(problem.to_vec()), (&*x).into(), (&*w).into(), Arg::Pointer(0), Arg::Pointer(0)];
    let args = operands.into_iter().chain([(&mut out).into(), false.into()]).collect();
    let shared = 3 * 128 * (128 + 256) + 2 * 2 * 64 * 12;
    let queue = convscope_kernels::cuda::queue(device).unwrap();
    // SAFETY: the problem is that of the operands.
    unsafe { queue.launch(Launch { kernel, grid: [1, 1, 1], block: [256, 1, 1], shared, args }) };
    queue.synchronize().map_err(|e| e.to_string())?;
    Ok(out.as_slice::<f32>().to_vec())
}

/// One test, for the queue is one: failures of others would be reported here.
#[test]
fn planted_faults_are_noticed() {
    let Some(device) = convscope_emu::device() else { return };
    let same = |args: Vec<Arg>| args;
    let right = product("gemm_tile", device, same).unwrap();
    assert!(right.iter().all(|v| v.is_finite()));

    // Without the barrier between filling a tile and using it, some order of threads uses what is not there yet.
    let differs = (0..6).any(|_| product("faulty_without_barrier", device, same).unwrap() != right);
    assert!(differs, "a missing barrier was not noticed");

    let e = product("faulty_divergent", device, same).unwrap_err();
    assert!(e.contains("a barrier that not all threads reach: 255 wait"), "{e}");

    let e = product("gemm_tile", device, |mut args| args.split_off(1)).unwrap_err();
    assert!(e.contains("the launcher gives p8p8p8i4i4i4i4i4i4 where the kernel is declared with p8p8p8p8i4i4i4i4i4i4"), "{e}");

    let swapped = |mut args: Vec<Arg>| {
        args[4] = Arg::Float(20.0);
        args
    };
    assert!(product("gemm_tile", device, swapped).unwrap_err().contains("p8p8p8p8f4"));
    assert!(product("gemm_nothing", device, same).unwrap_err().contains("no kernel has this name"));

    // A copy that is not waited for, a stage of the ring that is filled too early, and too little shared memory.
    let shared = 4 * ((128 + 256) * 128 + 16);
    let right_hopper = hopper("gemm_hopper_f16", device, shared).unwrap();
    assert!(right_hopper.iter().all(|v| v.is_finite()));
    // Nor one whose operand is described with the other one's distance along k.
    for kernel in ["faulty_unwaited_hopper_f16", "faulty_overwritten_hopper_f16", "faulty_misdescribed_hopper_f16"] {
        let noticed = (0..12).any(|_| hopper(kernel, device, shared) != Ok(right_hopper.clone()));
        assert!(noticed, "{kernel} was not noticed");
    }
    let e = hopper("gemm_hopper_f16", device, shared - 16).unwrap_err();
    assert!(e.contains("bytes of shared memory are not what the kernel wants"), "{e}");

    // Operands that are written without a fence before they are multiplied.
    let right_conv = conv("conv_fwd_hopper_f16", device).unwrap();
    assert!(right_conv.iter().all(|v| v.is_finite()));
    assert_ne!(conv("faulty_unfenced_fwd_hopper_f16", device), Ok(right_conv), "a missing fence was not noticed");

    // More than the device has is a line, and what was there can be allocated afterwards.
    let queue = convscope_kernels::cuda::queue(device).unwrap();
    let free = queue.free_bytes().unwrap();
    let small = Buffer::zeros(DType::F32, 1).on(device).unwrap();
    drop(small.like(DType::F32, free));
    let e = queue.check().unwrap_err().to_string();
    assert!(e.contains("no room for") && e.ends_with("the device is out of memory"), "{e}");
    drop(small.like(DType::F32, free / 16));
    queue.check().unwrap();

    // After a failure was reported, the device goes on.
    assert_eq!(product("gemm_tile", device, same).unwrap(), right);
}
