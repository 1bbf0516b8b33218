//! Lets this package's tests and benches find libtorch at run time (see `torch-ext/build.rs`).

fn main() {
    let lib = std::env::var("DEP_TORCH_EXT_LIB").expect("torch-ext says where libtorch is");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
