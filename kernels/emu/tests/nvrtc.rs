//! The `.cu` texts through NVRTC and its assembler, which need no GPU. The folder of `libnvrtc.so` is given by `CONVSCOPE_NVRTC`
//! (see `tests/nvrtc.sh`); without it this says "skipped".

use convscope_kernels::cuda::source::{ARCH, CudaSource, HEADERS, NVRTC, SOURCES, kernels};
use cudarc::nvrtc::{result, sys};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};

/// Architectures that are assembled for: what the kernels are made for, and Hopper with and without its own instructions.
const ASSEMBLED: [&str; 3] = ["sm_80", "sm_90", "sm_90a"];

/// NVRTC's libraries, loaded so that cudarc finds them by name.
fn load() -> Option<Vec<libloading::Library>> {
    let Some(folder) = std::env::var_os("CONVSCOPE_NVRTC") else {
        println!(
            "skipped: CONVSCOPE_NVRTC does not name the folder of libnvrtc.so (tests/nvrtc.sh does); {} files not assembled",
            SOURCES.len()
        );
        return None;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("CONVSCOPE_NVRTC {}: {e}", folder.display()))
        .map(|e| e.unwrap().path())
        .filter(|p| {
            p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libnvrtc") && !n.to_string_lossy().contains(".alt."))
        })
        .collect();
    // The builtins first: the other looks for them by name.
    files.sort_by_key(|p| !p.to_string_lossy().contains("builtins"));
    assert!(files.len() >= 2, "CONVSCOPE_NVRTC {}: wants libnvrtc.so and libnvrtc-builtins.so", folder.display());
    // SAFETY: libraries of NVIDIA, whose start-up code asks nothing of us.
    Some(files.iter().map(|f| unsafe { libloading::Library::new(f) }.unwrap_or_else(|e| panic!("{e}"))).collect())
}

fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers to write to.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().unwrap();
    (major, minor)
}

/// PTX of a text for an architecture, and the compiler's log.
fn compile(source: &CudaSource, arch: &str) -> Result<(String, String), String> {
    let text = |s: &str| CString::new(s).unwrap();
    let (body, name) = (text(source.text), text(&format!("{}.cu", source.file)));
    let headers: Vec<(CString, CString)> = HEADERS.iter().map(|(name, body)| (text(name), text(body))).collect();
    let names: Vec<*const c_char> = headers.iter().map(|h| h.0.as_ptr()).collect();
    let bodies: Vec<*const c_char> = headers.iter().map(|h| h.1.as_ptr()).collect();
    let options = [format!("--gpu-architecture={arch}"), "--std=c++17".to_string(), "--ptxas-options=-v".to_string()];
    let options = if arch.starts_with("sm") { &options[..] } else { &options[..2] };
    // SAFETY: NVRTC's own order of calls, with texts that outlive them.
    unsafe {
        let mut program = std::ptr::null_mut();
        let (count, bodies, names) = (headers.len() as i32, bodies.as_ptr(), names.as_ptr());
        sys::nvrtcCreateProgram(&mut program, body.as_ptr(), name.as_ptr(), count, bodies, names).result().unwrap();
        let done = result::compile_program(program, options);
        let log = result::get_program_log(program).unwrap();
        let log = CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned();
        let made = done.map_err(|e| format!("{} for {arch}: {e:?}\n{log}", source.file)).map(|()| {
            let ptx = result::get_ptx(program).unwrap();
            (CStr::from_ptr(ptx.as_ptr()).to_string_lossy().into_owned(), log)
        });
        sys::nvrtcDestroyProgram(&mut program).result().unwrap();
        made
    }
}

/// What the assembler says of a kernel.
#[derive(Debug, PartialEq)]
struct Use {
    registers: usize,
    shared: usize,
    spilled: usize,
}

/// Reads the log of `--ptxas-options=-v`.
fn uses(log: &str) -> BTreeMap<String, Use> {
    let number_before = |line: &str, what: &str| -> usize {
        let Some(at) = line.find(what) else { return 0 };
        line[..at].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let mut all = BTreeMap::new();
    let mut kernel = String::new();
    let mut spilled = 0;
    for line in log.lines() {
        if let Some(name) = line.split("Compiling entry function '").nth(1) {
            kernel = name.split('\'').next().unwrap_or_default().to_string();
        } else if line.contains("bytes stack frame") {
            spilled = number_before(line, " bytes spill stores")
                + number_before(line, " bytes spill loads")
                + number_before(line, " bytes stack frame");
        } else if line.contains("Used ") {
            let (registers, shared) = (number_before(line, " registers"), number_before(line, " bytes smem"));
            all.insert(kernel.clone(), Use { registers, shared, spilled });
        }
    }
    all
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ptx")
}

#[test]
fn every_text_is_assembled_without_spills_and_its_ptx_is_in_the_repository() {
    let Some(_libraries) = load() else { return };
    let version = version();
    let write = std::env::var_os("CONVSCOPE_WRITE_PTX").is_some();
    let mut failures = Vec::new();
    let mut table =
        String::from("# Registers and bytes of shared memory of each kernel, as tests/nvrtc.sh --write found them.\n");
    for arch in ASSEMBLED {
        // What is made for one architecture is of no use on others.
        for source in SOURCES.iter().filter(|s| s.arch == ARCH || s.arch.replace("compute", "sm") == arch) {
            match compile(source, arch) {
                Err(e) => failures.push(e),
                Ok((_, log)) => {
                    let uses = uses(&log);
                    for kernel in kernels(source.text) {
                        match uses.get(kernel) {
                            None => failures.push(format!("{}: {kernel} was not assembled for {arch}", source.file)),
                            Some(Use { registers, shared, spilled }) => {
                                table += &format!("{arch:6} {kernel:24} {registers:3} {shared:5}\n");
                                if *spilled > 0 {
                                    failures.push(format!("{kernel} for {arch}: {spilled} bytes of stack or spills"));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    println!("assembled {} files for {ASSEMBLED:?} with NVRTC {}.{}", SOURCES.len(), version.0, version.1);
    let compared = version == NVRTC;
    if compared {
        for source in SOURCES {
            let ptx = match compile(source, source.arch) {
                Ok((ptx, _)) => ptx,
                Err(e) => {
                    failures.push(e);
                    continue;
                }
            };
            if write {
                let path = folder().join(format!("{}.ptx", source.file));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &ptx).unwrap();
            } else if ptx != source.ptx {
                failures.push(format!("ptx/{}.ptx is not that of its source: run tests/nvrtc.sh --write", source.file));
            }
        }
        let path = folder().join("registers.txt");
        if write {
            std::fs::write(path, &table).unwrap();
        } else if std::fs::read_to_string(path).unwrap_or_default() != table {
            failures.push("ptx/registers.txt differs: run tests/nvrtc.sh --write and look at what changed".to_string());
        }
    } else {
        println!("skipped: the PTX is that of NVRTC {}.{}, not compared with this one's", NVRTC.0, NVRTC.1);
    }
    println!("skipped on a real GPU: {} kernels", SOURCES.iter().flat_map(|s| kernels(s.text)).count());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
