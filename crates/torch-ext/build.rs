//! Compiles `cpp/` against the libtorch in `LIBTORCH`, and passes the path of its libraries to dependent crates
//! (`DEP_TORCH_EXT_LIB`), so that each can set the run-time search path of its own binaries.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=cpp");
    let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        println!("cargo::error=LIBTORCH is not set: build inside the workspace, where .cargo/config.toml sets it");
        return;
    };
    let include = libtorch.join("include");
    if !include.join("ATen/ATen.h").exists() {
        println!("cargo::error=no libtorch at {}: run `cargo xtask setup` first", libtorch.display());
        return;
    }
    let lib = libtorch.join("lib");
    println!("cargo::metadata=lib={}", lib.display());
    println!("cargo::rustc-link-search=native={}", lib.display());
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // Clippy runs the build scripts of the workspace a second time but links nothing, so it needs no C++.
    let wrapper = std::env::var_os("RUSTC_WORKSPACE_WRAPPER");
    if wrapper.is_some_and(|wrapper| Path::new(&wrapper).ends_with("clippy-driver")) {
        return;
    }
    let mut build = cc::Build::new();
    // OpenMP: without it, at::parallel_for uses a single thread.
    // No debug information: that of libtorch's headers would add 60 MB to every binary.
    build.cpp(true).std("c++17").warnings(false).debug(false).opt_level(3).flag("-fopenmp");
    // Without this flag, comparisons of floats keep GCC from vectorizing the loops of fused.cpp.
    build.flag("-fno-trapping-math").define("_GLIBCXX_USE_CXX11_ABI", "1");
    build.include(&include).include(include.join("torch/csrc/api/include"));
    build.file("cpp/all.cpp").file("cpp/range_attention.cpp").file("cpp/tile_attention.cpp");
    build.compile("torch_ext");
    compile_kernels();
    // Link libtorch's own copy of libgomp, so that the process has a single thread pool.
    println!("cargo::rustc-link-lib=dylib:+verbatim=libgomp.so.1");
}

/// Compiles the kernels of the decoder and of attention once for each instruction-set level; the level is chosen at run time.
fn compile_kernels() {
    let x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let levels: &[(&str, &[&str])] = &[
        ("base", &[]),
        ("v3", &["-march=x86-64-v3"]),
        ("v4", &["-march=x86-64-v4", "-mprefer-vector-width=512"]),
        ("v4_bf16", &["-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"]),
        ("v4_amx", &["-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mprefer-vector-width=512"]),
    ];
    for (level, flags) in levels.iter().take(if x86 { levels.len() } else { 1 }) {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").warnings(false).flag("-Wno-psabi").debug(false).opt_level(3);
        build.define("LEVEL", *level).file("cpp/decoder_kernels.cpp").file("cpp/attention_kernels.cpp");
        for flag in *flags {
            build.flag(flag);
        }
        build.compile(&format!("torch_ext_kernels_{level}"));
    }
}
