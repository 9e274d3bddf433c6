//! The calls of NVIDIA's driver library, with `src/libcuda.c` in its place. It keeps to the driver's rules where a GPU need not show a
//! mistake: it copies late, and each of its functions can be missing. A library is loaded once in a process, so each test is a child.
#![cfg(target_os = "linux")]

use convscope_kernels::cuda::driver::{Arg, Launch};
use convscope_kernels::cuda::queue::Queue;
use convscope_kernels::{Buffer, DType, Device, Error, cuda};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const LIBRARY: &str = "CONVSCOPE_LIBCUDA";
const MISSING: &str = "CONVSCOPE_LIBCUDA_LACKS";

/// Where the build put the library.
fn library() -> Option<PathBuf> {
    let library = option_env!("CONVSCOPE_HOST_LIBCUDA").map(PathBuf::from);
    if library.is_none() {
        println!("skipped: there was no C compiler to build a driver library for the host");
    }
    library
}

/// Runs a test of this file in a child that has this library.
fn child(test: &str, library: &Path, missing: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(LIBRARY, library).env(MISSING, missing);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{test} without {missing:?}:\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// In a child, loads the library so that it is found by its name.
fn load() -> Option<libloading::Library> {
    let path = std::env::var_os(LIBRARY)?;
    // SAFETY: it has no start-up code.
    Some(unsafe { libloading::Library::new(path) }.unwrap())
}

fn fill(queue: &Queue, out: &mut Buffer, value: f64, threads: usize, shared: usize) {
    let args = vec![Arg::from(&mut *out), value.into(), out.len().into()];
    let launch = Launch { kernel: "fill", grid: [1, 1, 1], block: [threads, 1, 1], shared, args };
    // SAFETY: `fill` writes as many numbers as there are.
    unsafe { queue.launch(launch) }
}

#[test]
fn the_driver_is_called_by_its_rules() {
    let Some(_library) = load() else {
        return library().map_or((), |path| child("the_driver_is_called_by_its_rules", &path, ""));
    };
    let device = Device::Cuda(0);
    let queue = cuda::queue(device).unwrap();
    assert_eq!((queue.name().as_str(), queue.capability(), queue.cache_bytes()), ("library on the host", (8, 8), 4096));
    assert!(queue.free_bytes().unwrap() > 0);

    // More than the staging memory holds. The host's numbers change before anything waits for the copy.
    let numbers: Vec<f32> = (0..(5 << 20) / 2).map(|i| i as f32).collect();
    let mut host = Buffer::from_slice(&numbers);
    let there = host.on(device).unwrap();
    host.as_mut_slice::<f32>().fill(-1.0);
    let copy = (*there).clone();
    assert!(there.as_slice::<f32>() == numbers, "an upload read its memory after it returned");
    assert!(copy.as_slice::<f32>() == numbers, "a copy within the device");

    // In the order of the stream: into a block whose last kernel has not run yet.
    let mut first = there.like(DType::F32, 64);
    fill(queue, &mut first, 3.0, 64, 0);
    drop(first);
    let second = Buffer::from_slice(&[4.0f32; 64]).on(device).unwrap();
    assert_eq!(second.as_slice::<f32>(), [4.0; 64]);

    // Twenty lists of work, more than are remembered, each three times: captured the second time, replayed, and destroyed.
    let mut out: Vec<Buffer> = (0..4).map(|_| there.like(DType::F32, 8)).collect();
    for list in 0..20 {
        for _ in 0..3 {
            queue.capture(|| out.iter_mut().zip(1..).for_each(|(b, i)| fill(queue, b, f64::from(10 * list + i), 64, 0)));
            queue.synchronize().unwrap();
        }
    }
    assert_eq!(queue.replays(), 40);
    for (b, i) in out.iter().zip(1..) {
        assert_eq!(b.as_slice::<f32>(), [(190 + i) as f32; 8]);
    }

    // More shared memory than a kernel gets without asking; a launch that is refused; more memory than there is.
    fill(queue, &mut out[0], 5.0, 64, 64 << 10);
    assert_eq!(out[0].as_slice::<f32>(), [5.0; 8]);
    fill(queue, &mut out[0], 6.0, 2048, 0);
    let e = queue.check().unwrap_err().to_string();
    assert!(e.contains("fill: starting the kernel failed") && e.contains("invalid argument"), "{e}");
    drop(there.like(DType::F32, 1 << 26));
    let e = queue.check().unwrap_err().to_string();
    assert!(e.contains("no room for") && e.ends_with("the device is out of memory"), "{e}");
    assert_eq!(queue.timed(|| 7).unwrap(), (7, 1.5e-3));
}

#[test]
fn a_missing_function_is_an_error_and_touches_no_panic_hook() {
    let test = "a_missing_function_is_an_error_and_touches_no_panic_hook";
    if let Some(_library) = load() {
        static PANICS: AtomicUsize = AtomicUsize::new(0);
        std::panic::set_hook(Box::new(|_| {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }));
        let missing = std::env::var(MISSING).unwrap();
        let opened = cuda::queue(Device::Cuda(0)).map(|_| ());
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "it panicked");
        std::panic::catch_unwind(|| panic!("on purpose")).unwrap_err();
        assert_eq!(PANICS.load(Ordering::Relaxed), 1, "another hook is in place");
        drop(std::panic::take_hook());
        let Err(Error::Device { reason, .. }) = opened else { panic!("{missing} was not missed") };
        assert!(reason.contains(&format!("too old: it lacks {missing},")), "{reason}");
        return;
    }
    let Some(path) = library() else { return };
    let whole = std::fs::read(path).unwrap();
    let names = include_str!("../src/libcuda.c").lines().filter_map(|l| l.strip_prefix("CUresult ")?.split('(').next());
    let folder = std::env::temp_dir().join(format!("convscope-libcuda-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in names.clone() {
        // The same library with another name instead of this one.
        let (exact, mut lacking) = ([b"\0", name.as_bytes(), b"\0"].concat(), whole.clone());
        let found: Vec<usize> = (0..whole.len() - exact.len()).filter(|i| whole[*i..].starts_with(&exact)).collect();
        assert!(!found.is_empty(), "{name} is not in the library");
        found.iter().for_each(|i| lacking[i + 1] = b'_');
        let path = folder.join("libcuda.so");
        std::fs::write(&path, lacking).unwrap();
        child(test, &path, name);
    }
    std::fs::remove_dir_all(folder).unwrap();
    println!("{} functions, each missing once", names.count());
}
