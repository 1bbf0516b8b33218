//! Compiles `cpp/` against the libtorch in `LIBTORCH`; `torch-ext/build.rs` checks that it exists.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=cpp");
    let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        println!("cargo::error=LIBTORCH is not set: build inside the workspace, where .cargo/config.toml sets it");
        return;
    };
    let include = libtorch.join("include");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    let mut build = cc::Build::new();
    // Without this, every binary would contain debug information of libtorch's headers.
    build.cpp(true).std("c++17").warnings(false).debug(false).opt_level(1);
    build.define("USE_C10D_GLOO", None).define("_GLIBCXX_USE_CXX11_ABI", "1");
    // The wheel has c10d's headers, but not Gloo's, which they include.
    build.include("cpp/declarations").include(&include).include(include.join("torch/csrc/api/include"));
    build.file("cpp/all.cpp");
    build.compile("herd_distributed");
}
