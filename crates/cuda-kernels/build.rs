//! Compiles the emulation of the kernels for the CPU.

fn main() {
    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-changed=emulation");
    // Clippy runs the build scripts of the workspace a second time but links nothing, so it needs no C++.
    let wrapper = std::env::var_os("RUSTC_WORKSPACE_WRAPPER");
    if wrapper.is_some_and(|wrapper| std::path::Path::new(&wrapper).ends_with("clippy-driver")) {
        return;
    }
    let mut build = cc::Build::new();
    // -fno-strict-aliasing: kernels read arrays of elements through pointers to `Pack`. -ffp-contract=off: a*b+c rounds twice, as
    // in the reference.
    build.cpp(true).std("c++17").warnings(false).debug(false).opt_level(1);
    build.flag("-fno-strict-aliasing").flag("-ffp-contract=off");
    build.file("emulation/kernels.cpp").compile("herd_emulated_kernels");
}
