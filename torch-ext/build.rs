//! Compiles `cpp/` against the libtorch that `LIBTORCH` names, and tells dependants where its libraries are
//! (`DEP_TORCH_EXT_LIB`), so that each can set the run-time search path of its own binaries.

use std::path::PathBuf;

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
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(3)
        .flag("-fopenmp-simd")
        // Without it a comparison of floats keeps GCC from making vectors of the loops of fused.cpp.
        .flag("-fno-trapping-math")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(
            ["adamw", "attention", "cross_entropy", "fused", "linear", "projections"]
                .map(|name| format!("cpp/{name}.cpp")),
        )
        .compile("torch_ext");
}
