//! Clang and wasm-ld in the sandbox, with headers and libraries: they compile a program's source to a wasm module.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pinned::NpmPackage;
use wasmtime::Module;

use crate::cache;
use crate::languages::script::Package;
use crate::limits::Limits;
use crate::sandbox::{Clock, Ending, Files, Guest, Instance, Linked, Machine, Setup, SharedBytes, Stop, link};

/// LLVM 22 with wasi-libc and libc++, built for WASI by the YoWASP project.
const PACKAGE: Package = Package::Npm(NpmPackage {
    name: "@yowasp/clang",
    version: "22.0.0-git20542-10",
    sha256: "6230ea1afa9691fa065935cf68c01642ff9b31c183fe8ac64cdfda025df06009",
});
/// Time limit of one run of the compiler, and of one run of the linker.
pub const COMPILE_TIME: Duration = Duration::from_secs(20);
/// Headers from this project, which take precedence over all others.
const OWN_HEADERS: [(&str, &str); 5] = [
    ("/codeexec/assert.h", include_str!("assert.h")),
    ("/codeexec/bits/stdc++.h", include_str!("everything.h")),
    ("/codeexec/boost/any.hpp", include_str!("boost_any.h")),
    ("/codeexec/rand.h", include_str!("rand.h")),
    ("/codeexec/openssl/md5.h", include_str!("md5.h")),
];
/// Path prefixes of headers for other machines and languages, which are left out: a third of the bytes.
const UNUSED: [&str; 12] = [
    "include/avx",
    "include/hlsl",
    "include/opencl",
    "include/altivec",
    "include/arm",
    "include/hexagon",
    "include/hvx",
    "include/sanitizer",
    "include/llvm_libc",
    "include/ppc",
    "include/vec",
    "share/",
];

/// The two languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// C17 with GNU extensions.
    C,
    /// C++20 with GNU extensions.
    Cpp,
}

/// The opened compiler and linker.
pub struct Toolchain {
    module: Linked,
    /// Headers and libraries.
    sysroot: Files,
}

/// Paths of the files that set-up makes.
struct Paths {
    compiled: PathBuf,
    resources: PathBuf,
    precompiled: PathBuf,
}

impl Paths {
    fn new(machine: &Machine) -> anyhow::Result<Self> {
        let folder = cache::private_folder()?;
        let key = dataset::digest::Fingerprint::new()
            .text("package", PACKAGE.sha256())
            .text("engine", &machine.fingerprint())
            .finish();
        let mut headers = dataset::digest::Fingerprint::new().text("package", PACKAGE.sha256());
        for (path, text) in OWN_HEADERS {
            headers = headers.text(path, text);
        }
        headers = headers.text("flags", &flags(Dialect::Cpp).join(" "));
        Ok(Self {
            compiled: folder.join(format!("clang-{}.cwasm", &key[..16])),
            resources: folder.join(format!("clang-{}.tar", &PACKAGE.sha256()[..16])),
            precompiled: folder.join(format!("cpp-{}.pch", &headers.finish()[..16])),
        })
    }
}

/// Part of a mapped file.
struct Slice(SharedBytes, std::ops::Range<usize>);

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &(*self.0).as_ref()[self.1.clone()]
    }
}

/// The headers and libraries of a mapped archive, under `/usr`.
fn sysroot(archive: &SharedBytes) -> anyhow::Result<Files> {
    let mut files = Files::new(64 << 20);
    let failed = |errno| anyhow::anyhow!("cannot lay out the files (errno {errno})");
    for entry in tar::Archive::new((**archive).as_ref()).entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if !entry.header().entry_type().is_file() || UNUSED.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let start = usize::try_from(entry.raw_file_position())?;
        let range = start..start + usize::try_from(entry.size())?;
        files.share(&format!("/usr/{path}"), Arc::new(Slice(archive.clone(), range))).map_err(failed)?;
    }
    for (path, text) in OWN_HEADERS {
        files.share(path, Arc::new(text.as_bytes())).map_err(failed)?;
    }
    files.make_folders("/tmp").map_err(failed)?;
    Ok(files)
}

fn flags(dialect: Dialect) -> Vec<&'static str> {
    let mut flags = vec![
        "clang",
        "-cc1",
        "-triple",
        "wasm32-unknown-wasip1",
        "-O1",
        "-w",
        "-mrelocation-model",
        "static",
        "-mframe-pointer=none",
        "-fvisibility=hidden",
        "-ferror-limit",
        "5",
        "-fgnuc-version=4.2.1",
        "-resource-dir",
        "/usr",
        "-isysroot",
        "/usr",
        "-internal-isystem",
        "/codeexec",
        "-D_WASI_EMULATED_PROCESS_CLOCKS",
        "-D_WASI_EMULATED_SIGNAL",
    ];
    match dialect {
        Dialect::C => flags.extend(["-std=gnu17", "-x", "c"]),
        Dialect::Cpp => flags.extend([
            "-std=gnu++20",
            "-fdeprecated-macro",
            "-fcxx-exceptions",
            "-fexceptions",
            "-fignore-exceptions",
            "-internal-isystem",
            "/usr/include/wasm32-wasip1/c++/v1",
            "-internal-isystem",
            "/usr/include/c++/v1",
            "-x",
            "c++",
        ]),
    }
    flags.extend(["-internal-isystem", "/usr/include", "-internal-isystem", "/usr/include/wasm32-wasip1"]);
    flags
}

/// Why a program was not built.
pub enum Failure {
    /// The messages of the compiler or the linker: errors in the source, or too little memory.
    Errors(String),
    /// A limit was reached.
    Ended(Ending),
}

impl Toolchain {
    /// Whether the cache has the files of [`Toolchain::set_up`].
    pub fn is_set_up(machine: &Machine) -> anyhow::Result<bool> {
        let paths = Paths::new(machine)?;
        Ok(paths.compiled.exists() && paths.resources.exists() && paths.precompiled.exists())
    }

    /// Downloads LLVM, compiles it to native code, and uses it to precompile the headers of the standard library.
    pub fn set_up(machine: &Machine) -> anyhow::Result<()> {
        let (start, paths) = (Instant::now(), Paths::new(machine)?);
        let scratch = tempfile::tempdir_in(cache::private_folder()?)?;
        PACKAGE.unpack(scratch.path(), |name| match name {
            "package/gen/llvm.core.wasm" => Some("llvm.wasm".into()),
            "package/gen/llvm-resources.tar" => Some("resources.tar".into()),
            _ => None,
        })?;
        std::fs::rename(scratch.path().join("resources.tar"), &paths.resources)?;
        if !paths.compiled.exists() {
            let wasm = std::fs::read(scratch.path().join("llvm.wasm")).context("the package has no llvm.core.wasm")?;
            let compiled = machine.precompile(&wasm)?;
            cache::write(&paths.compiled, &compiled)?;
            let (seconds, size) = (start.elapsed().as_secs_f64(), compiled.len() / 1_000_000);
            eprintln!("  c, cpp: LLVM compiled in {seconds:.0} s, {size} MB");
        }
        let toolchain = Self::open_without_headers(machine, &paths)?;
        let mut arguments = flags(Dialect::Cpp);
        arguments.extend(["-emit-pch", "-o", "/tmp/all.pch", "/codeexec/bits/stdc++.h"]);
        match toolchain.tool(&arguments, toolchain.sysroot.clone(), "/tmp/all.pch") {
            Ok(pch) => cache::write(&paths.precompiled, &pch)?,
            Err(Failure::Errors(said)) => bail!("the headers could not be precompiled: {said}"),
            Err(Failure::Ended(ending)) => bail!("the headers could not be precompiled: {ending}"),
        }
        eprintln!("  c, cpp: {} in {:.0} s", super::INTERPRETER, start.elapsed().as_secs_f64());
        Ok(())
    }

    fn open_without_headers(machine: &Machine, paths: &Paths) -> anyhow::Result<Self> {
        // SAFETY: the file is in the private folder, where only this user's `set_up` writes.
        let module = unsafe { machine.load(&paths.compiled) }?;
        Ok(Self { module: link(&module)?, sysroot: sysroot(&cache::map(&paths.resources)?)? })
    }

    /// Opens the files that [`Toolchain::set_up`] made.
    ///
    /// # Errors
    /// When they do not exist.
    pub fn open(machine: &Machine) -> anyhow::Result<Self> {
        let paths = Paths::new(machine)?;
        let mut toolchain = Self::open_without_headers(machine, &paths)?;
        let headers = cache::map(&paths.precompiled)?;
        let placed = toolchain.sysroot.share("/codeexec/all.pch", headers);
        placed.map_err(|errno| anyhow::anyhow!("cannot lay out the files (errno {errno})"))?;
        Ok(toolchain)
    }

    /// Compiles and links. `sources` are the paths and contents of files, `main` is the path of the one to compile.
    /// With `entry`, the module exports that function for the host to call; without it, the module is a whole program
    /// with a `_start`.
    ///
    /// # Errors
    /// The outer error is a failure of the sandbox; the inner one is caused by the sources.
    pub fn build<'a>(
        &self,
        dialect: Dialect,
        sources: impl Iterator<Item = (String, &'a str)>,
        main: &str,
        entry: Option<&str>,
    ) -> anyhow::Result<Result<Linked, Failure>> {
        let mut files = self.sysroot.clone();
        let failed = |errno| anyhow::anyhow!("cannot lay out the files (errno {errno})");
        for (path, text) in sources {
            files.write(&path, text.as_bytes().to_vec()).map_err(failed)?;
        }
        let mut arguments = flags(dialect);
        if dialect == Dialect::Cpp {
            arguments.extend(["-include-pch", "/codeexec/all.pch"]);
        }
        arguments.extend(["-emit-obj", "-o", "/tmp/program.o", main]);
        let object = match self.tool(&arguments, files, "/tmp/program.o") {
            Ok(object) => object,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut files = self.sysroot.clone();
        files.write("/tmp/program.o", object).map_err(failed)?;
        let start = ["/usr/lib/wasm32-wasip1/crt1-command.o"];
        let mut arguments = vec!["wasm-ld", "-m", "wasm32", "-L/usr/lib/wasm32-wasip1", "--stack-first"];
        arguments.extend(["-z", "stack-size=8388608", "--strip-all", "-o", "/tmp/program.wasm"]);
        arguments.extend(if entry.is_some() { &["--no-entry"][..] } else { &start[..] });
        arguments.push("/tmp/program.o");
        if dialect == Dialect::Cpp {
            arguments.extend(["-lc++", "-lc++abi"]);
        }
        arguments.extend(["-lwasi-emulated-process-clocks", "-lwasi-emulated-signal", "-lc"]);
        arguments.push("/usr/lib/wasm32-unknown-wasip1/libclang_rt.builtins.a");
        let wasm = match self.tool(&arguments, files, "/tmp/program.wasm") {
            Ok(wasm) => wasm,
            Err(failure) => return Ok(Err(failure)),
        };
        let module = Module::new(self.module.engine(), wasm)?;
        Ok(Ok(link(&module)?))
    }

    /// Runs Clang or wasm-ld and returns the content of its output file.
    fn tool(&self, arguments: &[&str], mut files: Files, output: &str) -> Result<Vec<u8>, Failure> {
        let limits = Limits { memory: 1 << 30, output: 1 << 18, disk: 128 << 20, ..Limits::within(COMPILE_TIME) };
        files.set_limit(limits.disk);
        let setup = Setup {
            files,
            preopened: vec!["/".into()],
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: Vec::new(),
            stdin: Vec::new(),
            seed: 0,
        };
        let guest = Guest::new(setup, &limits, Clock::start(&limits));
        let mut instance = Instance::start(&self.module, guest).map_err(Failure::Ended)?;
        let ended = instance.call_named::<(), ()>("_start", ());
        let refused = instance.guest().memory_refused;
        let said = String::from_utf8_lossy(&instance.guest().stderr).into_owned();
        match ended {
            Ok(()) | Err(Ending::Stopped(Stop::Exit(0))) => {}
            Err(Ending::Stopped(Stop::Exit(_))) if !refused => return Err(Failure::Errors(said)),
            Err(ending) if refused => {
                return Err(Failure::Errors(format!("{said}the compiler ran out of memory: {ending}")));
            }
            Err(ending) => return Err(Failure::Ended(ending)),
        }
        let made = instance.guest().file(output).map(<[u8]>::to_vec);
        made.ok_or_else(|| Failure::Errors(format!("{said}nothing was made")))
    }
}
