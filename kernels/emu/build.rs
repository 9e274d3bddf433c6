//! Compiles the `.cu` texts for the host, where there is a C++ compiler; without one the crate is empty and its tests say so.

use std::fs;
use std::path::{Path, PathBuf};

/// All files below `folder` that end in `.cu`.
fn texts(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|e| e == "cu") {
            found.push(path);
        }
    }
}

fn main() {
    println!("cargo:rustc-check-cfg=cfg(emulated)");
    println!("cargo:rerun-if-changed=src/emu.h");
    println!("cargo:rerun-if-changed=src/libcuda.c");
    println!("cargo:rerun-if-changed=../src");
    let kernels = fs::canonicalize("../src").unwrap();
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let mut found = Vec::new();
    texts(&kernels, &mut found);
    // Beside the texts as they are, some with a barrier or a wait taken out: a test sees to it that this is noticed.
    let tile = fs::read_to_string(kernels.join("ops/gemm/tile.cu")).unwrap();
    let without = tile.replacen("__syncthreads();", "", 1).replace("gemm_tile", "faulty_without_barrier");
    let divergent =
        tile.replacen("__syncthreads();", "if (threadIdx.x != 3) __syncthreads();", 1).replace("gemm_tile", "faulty_divergent");
    let hopper = fs::read_to_string(kernels.join("ops/gemm/hopper.cu")).unwrap();
    // Templates have other names too: of those with one name the linker keeps one.
    let faulty = |text: String, name: &str| {
        text.replace("KERNEL gemm", &format!("KERNEL {name}")).replace("hopper_product", &format!("{name}_product"))
    };
    let without_wait = |wait: &str, name: &str| {
        assert!(hopper.contains(wait), "{wait} is not in ops/gemm/hopper.cu");
        faulty(hopper.replace(wait, ""), name)
    };
    let unwaited = without_wait("barrier_wait(&here[stage], block / HOPPER_STAGES % 2);", "faulty_unwaited");
    let overwritten = without_wait("barrier_wait(&used[before], (block - 1) / HOPPER_STAGES % 2);", "faulty_overwritten");
    let misdescribed = faulty(hopper.replace("HOPPER_M * 16)", "HOPPER_N * 16)"), "faulty_misdescribed");
    let conv = fs::read_to_string(kernels.join("ops/conv2d/cuda/hopper.cu")).unwrap();
    let gathered = "#include \"gathered.cuh\"";
    let no_fence =
        format!("#include \"hopper.cuh\"\n#define units_are_put()\n#define gathered_product unfenced_product\n{gathered}");
    let unfenced = conv.replace(gathered, &no_fence).replace("KERNEL conv", "KERNEL faulty_unfenced");
    assert!(hopper.contains("HOPPER_M * 16)") && conv.contains(gathered), "a text lacks the line of its fault");
    let faults = [
        ("barriers", without + &divergent),
        ("unwaited", unwaited),
        ("overwritten", overwritten),
        ("misdescribed", misdescribed),
        ("unfenced", unfenced),
    ];
    for (name, text) in faults {
        let faulty = out.join(format!("faulty_{name}.cu"));
        fs::write(&faulty, text).unwrap();
        found.push(faulty);
    }

    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).flag("-x").flag("c++").define("CUDA_EMU", None).warnings(false);
    // The host's own instructions: without a fused multiply-add among them, fmaf is a function.
    build
        .flag_if_supported("-march=native")
        .flag("-Wno-unknown-pragmas")
        .include("src")
        .include(kernels.join("cuda/tiles"))
        .include(kernels.join("ops"))
        .cargo_warnings(false);
    if build.try_get_compiler().is_err() {
        return;
    }
    // One translation unit a text, each with a list of its kernels and the kinds of their arguments, which the compiler knows.
    for (i, path) in found.iter().enumerate() {
        let text = fs::read_to_string(path).unwrap();
        let entries: String = names(&text).map(|n| format!("  emu_entry(\"{n}\", {n}),\n")).collect();
        let unit = out.join(format!("unit{i}.cu"));
        let list = format!("extern \"C\" const EmuEntry emu_list_{i}[] = {{\n{entries}  {{nullptr, nullptr, nullptr}}}};\n");
        // The linker's names for the ends of the section, absent where a file has no shared memory.
        let [start, end] = ["start", "stop"].map(|end| format!("__{end}_emu_shared_{i}"));
        let ends = format!("extern \"C\" char {start}[] __attribute__((weak)), {end}[] __attribute__((weak));\n");
        let range = format!("extern \"C\" const EmuRange emu_range_{i} = {{{start}, {end}}};\n");
        let section = format!("#define EMU_SHARED \"emu_shared_{i}\"\n");
        fs::write(&unit, format!("{section}#include \"{}\"\n{list}{ends}{range}", path.display())).unwrap();
        build.file(unit);
    }
    if build.try_compile("cuda_kernels_on_the_host").is_err() {
        // With a compiler, a text that does not compile is a mistake.
        build.cargo_warnings(true).compile("cuda_kernels_on_the_host");
    }
    let externs: String = (0..found.len())
        .map(|i| format!("unsafe extern \"C\" {{ static emu_list_{i}: Entry; static emu_range_{i}: Range; }}\n"))
        .collect();
    let lists: String = (0..found.len()).map(|i| format!("(&raw const emu_list_{i}, &raw const emu_range_{i}), ")).collect();
    let code = format!("{externs}fn lists() -> Vec<(*const Entry, *const Range)> {{ vec![{lists}] }}\n");
    fs::write(out.join("lists.rs"), code).unwrap();
    println!("cargo:rustc-cfg=emulated");

    // A library that takes the place of NVIDIA's driver in one test. It has a folder of its own: Cargo puts the output folder on the
    // library path of every test, where others would find it as the driver.
    let folder = out.join("driver");
    fs::create_dir_all(&folder).unwrap();
    let library = folder.join("libcuda.so");
    let mut command = cc::Build::new().warnings(false).get_compiler().to_command();
    command.args(["-shared", "-fPIC", "-fno-strict-aliasing", "-Wl,-soname,libcuda.so", "-o"]).arg(&library).arg("src/libcuda.c");
    if command.status().is_ok_and(|status| status.success()) {
        println!("cargo:rustc-env=CONVSCOPE_HOST_LIBCUDA={}", library.display());
    }
}

/// Names of the kernels of a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("\nKERNEL ").skip(1).filter_map(|rest| rest.split('(').next()).map(|n| n.trim())
}
