//! The wasmtime engine, compiled modules and their instances.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use wasmtime::{
    Caller, Config, Enabled, Engine, Global, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module, OptLevel,
    PoolingAllocationConfig, RegallocAlgorithm, Store, Trap, TypedFunc, UpdateDeadline, WasmParams, WasmResults,
};

use super::exports::STATE;
use super::guest::{Check, Guest, Stop};
use super::recycle::Recycler;
use super::wasi;

/// Interval at which the engine checks the time limits of running guests.
const TICK: Duration = Duration::from_millis(5);
/// Size of a guest's native stack in bytes. Interpreters limit their own recursion and reach that limit first.
const GUEST_STACK: usize = 64 << 20;
/// Stack size in bytes of a thread that runs guests.
pub const THREAD_STACK: usize = GUEST_STACK + (8 << 20);

/// How an engine compiles and instantiates modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Compiles quickly, without optimisation: for a module that runs once, to take a snapshot.
    Once,
    /// Compiles with optimisation and pools instances: for modules that run programs.
    Programs,
}

/// The settings of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How modules are compiled and instantiated.
    pub profile: Profile,
    /// Maximum linear memory of an instance in bytes.
    pub max_memory: usize,
}

/// A wasmtime engine, with a thread that advances its epoch every 5 ms until the machine is dropped.
pub struct Machine {
    engine: Engine,
    alive: Arc<AtomicBool>,
}

impl Machine {
    /// Starts an engine.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).wasm_exceptions(true).max_wasm_stack(GUEST_STACK);
        config.async_stack_size(THREAD_STACK).wasm_backtrace_max_frames(None);
        match settings.profile {
            Profile::Once => {
                config.cranelift_opt_level(OptLevel::None);
                config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
                config.memory_init_cow(false);
            }
            Profile::Programs => {
                let mut pool = PoolingAllocationConfig::default();
                // Three instances for each of six languages: a program, its judge, and the pristine instance from which
                // both are restored.
                pool.total_core_instances(18).total_memories(18).total_tables(36).total_gc_heaps(18);
                pool.max_memory_size(settings.max_memory).table_elements(200_000).max_core_instance_size(8 << 20);
                pool.linear_memory_keep_resident(64 << 20).table_keep_resident(1 << 20).pagemap_scan(Enabled::Auto);
                pool.max_unused_warm_slots(18);
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
                config.memory_init_cow(true);
                // A snapshot is larger than the images that wasmtime maps copy-on-write by default.
                config.memory_guaranteed_dense_image_size(1 << 30);
            }
        }
        let engine =
            Engine::new(&config).map_err(anyhow::Error::from).context("cannot start the WebAssembly engine")?;
        let alive = Arc::new(AtomicBool::new(true));
        let (ticking, clock) = (alive.clone(), engine.clone());
        std::thread::Builder::new().name("epoch".into()).spawn(move || {
            while ticking.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                clock.increment_epoch();
            }
        })?;
        Ok(Self { engine, alive })
    }

    /// Hash of the wasmtime version and of all settings that affect compiled code, for a cache key.
    pub fn fingerprint(&self) -> String {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::hash::DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Compiles a module.
    pub fn compile(&self, wasm: &[u8]) -> anyhow::Result<Module> {
        Ok(Module::new(&self.engine, wasm)?)
    }

    /// Compiles a module to machine code, as bytes of a file for [`Machine::load`].
    pub fn precompile(&self, wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.engine.precompile_module(wasm)?)
    }

    /// Maps a compiled module from a file.
    ///
    /// # Safety
    /// The file must hold the output of [`Machine::precompile`], and no other user may be able to write it: it is
    /// machine code, which is run without checks.
    pub unsafe fn load(&self, path: &Path) -> anyhow::Result<Module> {
        // SAFETY: the caller guarantees the contract.
        let module = unsafe { Module::deserialize_file(&self.engine, path) };
        module.map_err(anyhow::Error::from).with_context(|| format!("cannot load {}", path.display()))
    }
}

/// Links a module with the WASI syscalls, `host.call`, `codeexec.checked` and two imports of ruby.wasm. A call of any
/// other import is a trap.
///
/// # Errors
/// When an import has the name of a known call but another type.
pub fn link(module: &Module) -> anyhow::Result<Linked> {
    let mut linker = Linker::new(module.engine());
    wasi::define(&mut linker)?;
    linker.func_wrap("host", "call", door)?;
    // ruby.wasm uses an early ABI of the component model; here its handles are the values themselves.
    linker.func_wrap("canonical_abi", "resource_new_rb-abi-value", |value: i32| value)?;
    linker.func_wrap("canonical_abi", "resource_get_rb-abi-value", |value: i32| value)?;
    linker.func_wrap("codeexec", "checked", checked)?;
    linker.define_unknown_imports_as_traps(module)?;
    let module = linker.instantiate_pre(module)?;
    Ok(Linked { used: Recycler::new(&module)?.map(Arc::new), module })
}

/// A module with resolved imports, ready to be instantiated.
#[derive(Clone)]
pub struct Linked {
    module: InstancePre<Guest>,
    /// Keeps idle instances for later programs; `None` if instances of the module cannot be restored.
    pub(super) used: Option<Arc<Recycler>>,
}

impl Linked {
    /// The engine for which the module is compiled.
    pub fn engine(&self) -> &Engine {
        self.module.module().engine()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

/// `host.call(pointer, length, result_pointer, result_length)`: sends a message to the host and receives the reply.
/// Returns 0, or -1 if there is no host, or -2 if an address is invalid or `host_alloc` fails. The reply is written to
/// memory from the guest's `host_alloc`; its address and length are written to `result_pointer` and `result_length`.
fn door(mut caller: Caller<'_, Guest>, at: u32, length: u32, to: u32, to_length: u32) -> wasmtime::Result<i32> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let Some(mut door) = guest.door.take() else { return Ok(-1) };
    let Some(request) = bytes.get(at as usize..).and_then(|rest| rest.get(..length as usize)) else { return Ok(-2) };
    let answer = door(&mut guest.clock, request);
    guest.door = Some(door);
    let answer = answer.map_err(wasmtime::Error::new)?;
    let Some(alloc) = caller.get_export("host_alloc").and_then(wasmtime::Extern::into_func) else { return Ok(-2) };
    let place = alloc.typed::<u32, u32>(&caller)?.call(&mut caller, answer.len() as u32)?;
    let mut put = |at: u32, bytes: &[u8]| memory.write(&mut caller, at as usize, bytes).is_ok();
    let written = place != 0
        && put(place, &answer)
        && put(to, &place.to_le_bytes())
        && put(to_length, &(answer.len() as u32).to_le_bytes());
    Ok(if written { 0 } else { -2 })
}

/// `codeexec.checked(passed, is_test, line, text)`: reports the result of an `assert` in compiled C or C++. `text` is
/// the address of a NUL-terminated string, cut at 300 bytes. It is only for messages: the program can overwrite it.
fn checked(mut caller: Caller<'_, Guest>, passed: i32, is_test: i32, line: i32, text: u32) {
    let memory = caller.data().memory;
    let text = memory.and_then(|memory| memory.data(&caller).get(text as usize..)).map(|bytes| {
        let end = bytes.iter().take(300).position(|byte| *byte == 0).unwrap_or(300.min(bytes.len()));
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    });
    caller.data_mut().note(Check { passed: passed != 0, is_test: is_test != 0, line, text: text.unwrap_or_default() });
}

/// Why a call into the guest did not return.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The sandbox stopped the guest.
    #[error("{0}")]
    Stopped(Stop),
    /// The guest overflowed its stack.
    #[error("the program ran out of stack: recursion too deep")]
    Stack,
    /// The guest trapped: WebAssembly's equivalent of a segmentation fault or an abort.
    #[error("the program crashed: {0}")]
    Trap(String),
}

impl Ending {
    fn from_error(error: &wasmtime::Error) -> Self {
        if let Some(stop) = error.downcast_ref::<Stop>() {
            return Self::Stopped(stop.clone());
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Stack,
            Some(trap) => Self::Trap(trap.to_string()),
            None => Self::Trap(error.to_string()),
        }
    }
}

/// An instance with its store.
pub struct Ready {
    pub(super) store: Store<Guest>,
    instance: wasmtime::Instance,
    pub(super) memory: Option<Memory>,
    /// Its mutable globals; empty if the module does not export them ([`STATE`]).
    pub(super) globals: Vec<Global>,
}

impl Ready {
    /// Instantiates the module with that guest state.
    pub(super) fn new(module: &InstancePre<Guest>, guest: Guest) -> Result<Self, Ending> {
        let mut store = Store::new(module.module().engine(), guest);
        store.limiter(|guest| guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            context.data().clock.check().map_err(wasmtime::Error::new)?;
            Ok(UpdateDeadline::Continue(1))
        });
        let instance = module.instantiate(&mut store).map_err(|e| Ending::from_error(&e))?;
        let memory = instance.get_memory(&mut store, "memory");
        store.data_mut().memory = memory;
        let names = module.module().exports().map(|export| export.name()).filter(|name| name.starts_with(STATE));
        let globals = names.filter_map(|name| instance.get_global(&mut store, name)).collect();
        Ok(Self { store, instance, memory, globals })
    }

    /// Replaces the guest state; memory and globals stay as they are.
    pub(super) fn give(&mut self, mut guest: Guest) {
        guest.memory = self.memory;
        guest.peak_memory = self.memory_size();
        *self.store.data_mut() = guest;
        self.store.set_epoch_deadline(1);
    }

    pub(super) fn memory_size(&self) -> usize {
        self.memory.map_or(0, |memory| memory.data_size(&self.store))
    }
}

/// An instance that runs one program. On drop, it goes back to the recycler if every call returned.
pub struct Instance {
    ready: ManuallyDrop<Ready>,
    /// Takes the instance back when it is dropped.
    used: Option<Arc<Recycler>>,
    /// Whether a call is running, or ended without returning.
    failed: bool,
}

impl Instance {
    /// Starts an instance: a restored one if there is one that fits the memory limit, else a new one. The [`Machine`]
    /// that linked the module must outlive the instance, since its thread enforces the time limits.
    pub fn start(linked: &Linked, guest: Guest) -> Result<Self, Ending> {
        let used = linked.used.as_ref().and_then(|used| used.take(guest.memory_limit));
        let ready = match used {
            Some(mut ready) => {
                ready.give(guest);
                ready
            }
            None => Ready::new(&linked.module, guest)?,
        };
        Ok(Self { ready: ManuallyDrop::new(ready), used: linked.used.clone(), failed: false })
    }

    /// Looks up an exported function.
    pub fn function<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> anyhow::Result<TypedFunc<P, R>> {
        let Ready { store, instance, .. } = &mut *self.ready;
        Ok(instance.get_typed_func(store, name)?)
    }

    /// Calls a function of [`Instance::function`].
    pub fn call<P: WasmParams + Sync, R: WasmResults>(
        &mut self,
        function: &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, Ending> {
        let failed = std::mem::replace(&mut self.failed, true);
        let result = function.call(&mut self.ready.store, parameters).map_err(|e| Ending::from_error(&e));
        self.failed = failed || result.is_err();
        result
    }

    /// Calls an exported function by its name.
    pub fn call_named<P: WasmParams + Sync, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<R, Ending> {
        let function = self.function::<P, R>(name);
        let function = function.map_err(|_| Ending::Trap(format!("the module has no function {name}")))?;
        self.call(&function, parameters)
    }

    /// Copies bytes into memory that the guest's exported function `alloc` provides; returns their address.
    pub fn place(&mut self, alloc: &str, bytes: &[u8]) -> Result<u32, Ending> {
        let at = self.call_named::<u32, u32>(alloc, bytes.len() as u32)?;
        if at == 0 || !self.write(at, bytes) {
            return Err(Ending::Trap("no memory for the source".into()));
        }
        Ok(at)
    }

    /// Writes to the guest's memory; false if the range is out of bounds.
    pub fn write(&mut self, at: u32, bytes: &[u8]) -> bool {
        let Ready { store, memory, .. } = &mut *self.ready;
        memory.is_some_and(|memory| memory.write(store, at as usize, bytes).is_ok())
    }

    /// Reads a little-endian `i32` from the guest's memory; `None` if the address is out of bounds.
    pub fn read_i32(&mut self, at: u32) -> Option<i32> {
        let bytes = self.ready.memory?.data(&self.ready.store).get(at as usize..)?.first_chunk::<4>()?;
        Some(i32::from_le_bytes(*bytes))
    }

    /// The guest's state.
    pub fn guest(&mut self) -> &mut Guest {
        self.ready.store.data_mut()
    }

    /// Size of the guest's linear memory in bytes. Linear memory never shrinks, so this is also its peak.
    pub fn memory_size(&mut self) -> usize {
        self.ready.memory_size()
    }

    /// The store and the instance, for taking a snapshot.
    pub fn parts(&mut self) -> (&mut Store<Guest>, &wasmtime::Instance) {
        let Ready { store, instance, .. } = &mut *self.ready;
        (store, instance)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: `self.ready` is not used after this line.
        let ready = unsafe { ManuallyDrop::take(&mut self.ready) };
        if let (Some(used), false) = (self.used.take(), self.failed) {
            used.take_back(ready);
        }
    }
}
