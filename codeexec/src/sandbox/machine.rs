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

/// Interval at which time limits are checked.
const TICK: Duration = Duration::from_millis(5);
/// Size of a guest's machine stack. Interpreters limit their own recursion and reach that limit first.
const GUEST_STACK: usize = 64 << 20;
/// Stack size of a thread that runs guests.
pub const THREAD_STACK: usize = GUEST_STACK + (8 << 20);

/// The optimisation profile of compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Compiled quickly, run once: to make a snapshot.
    Once,
    /// Optimised, with pooled instances: for programs.
    Programs,
}

/// The settings of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The optimisation profile.
    pub profile: Profile,
    /// Maximum memory of an instance, in bytes.
    pub max_memory: usize,
}

/// An engine, with a clock that ticks as long as it lives.
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
                // For each of six languages: a program, its judge, and the instances from which they are restored.
                pool.total_core_instances(18).total_memories(18).total_tables(36).total_gc_heaps(18);
                pool.max_memory_size(settings.max_memory).table_elements(200_000).max_core_instance_size(8 << 20);
                pool.linear_memory_keep_resident(64 << 20).table_keep_resident(1 << 20).pagemap_scan(Enabled::Auto);
                pool.max_unused_warm_slots(18);
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
                config.memory_init_cow(true);
                // A snapshot is larger than what wasmtime maps copy-on-write by default.
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

    /// Everything that compiled code depends on, as text for a cache key.
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

    /// Compiles a module to bytes for [`Machine::load`].
    pub fn precompile(&self, wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.engine.precompile_module(wasm)?)
    }

    /// Maps a compiled module.
    ///
    /// # Safety
    /// The file must have been written by [`Machine::precompile`], and must never be writable for others, since it is
    /// machine code.
    pub unsafe fn load(&self, path: &Path) -> anyhow::Result<Module> {
        // SAFETY: the caller guarantees the contract.
        let module = unsafe { Module::deserialize_file(&self.engine, path) };
        module.map_err(anyhow::Error::from).with_context(|| format!("cannot load {}", path.display()))
    }
}

/// Links a module with the system calls and `host.call`. Any other import ends the guest that calls it.
///
/// # Errors
/// When an import has another type than the call with that name.
pub fn link(module: &Module) -> anyhow::Result<Linked> {
    let mut linker = Linker::new(module.engine());
    wasi::define(&mut linker)?;
    linker.func_wrap("host", "call", door)?;
    // Handles of the component model's early ABI, as in ruby.wasm, are the values themselves.
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
    /// The store of its instances for later programs.
    pub(super) used: Option<Arc<Recycler>>,
}

impl Linked {
    /// The engine for which it is compiled.
    pub fn engine(&self) -> &Engine {
        self.module.module().engine()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

/// `host.call(pointer, length, result_pointer, result_length) -> 0, or -1 if there is no host`: the guest's only
/// channel to its host. The reply is written to memory that the guest's `host_alloc` provides.
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

/// `codeexec.checked(passed, is a test, line, text)`: a compiled `assert`. The text is for messages only; it is in
/// the guest's memory, where the program may have changed it.
fn checked(mut caller: Caller<'_, Guest>, passed: i32, is_test: i32, line: i32, text: u32) {
    let memory = caller.data().memory;
    let text = memory.and_then(|memory| memory.data(&caller).get(text as usize..)).map(|bytes| {
        let end = bytes.iter().take(300).position(|byte| *byte == 0).unwrap_or(300.min(bytes.len()));
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    });
    caller.data_mut().note(Check { passed: passed != 0, is_test: is_test != 0, line, text: text.unwrap_or_default() });
}

/// How a guest's code ended, if it did not return.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The sandbox stopped it.
    #[error("{0}")]
    Stopped(Stop),
    /// It overflowed its stack.
    #[error("the program ran out of stack: recursion too deep")]
    Stack,
    /// It executed a trap of WebAssembly: the equivalent of a segmentation fault or an abort.
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
    /// Its mutable globals, if they are known.
    pub(super) globals: Vec<Global>,
}

impl Ready {
    /// Creates a new instance.
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

    /// Gives the same memory another guest state.
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

/// A running instance.
pub struct Instance {
    ready: ManuallyDrop<Ready>,
    /// The store to which it returns at its end.
    used: Option<Arc<Recycler>>,
    /// Whether a call has not returned.
    failed: bool,
}

impl Instance {
    /// An instance in which nothing has run. The [`Machine`] that linked the module must live as long as the
    /// instance, since its clock ends code that runs too long.
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

    /// An exported function.
    pub fn function<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> anyhow::Result<TypedFunc<P, R>> {
        let Ready { store, instance, .. } = &mut *self.ready;
        Ok(instance.get_typed_func(store, name)?)
    }

    /// Calls an exported function.
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

    /// Copies bytes into memory from the guest's own `alloc` function; returns their address.
    pub fn place(&mut self, alloc: &str, bytes: &[u8]) -> Result<u32, Ending> {
        let at = self.call_named::<u32, u32>(alloc, bytes.len() as u32)?;
        if at == 0 || !self.write(at, bytes) {
            return Err(Ending::Trap("no memory for the source".into()));
        }
        Ok(at)
    }

    /// Writes into the guest's memory; false if the range is outside it.
    pub fn write(&mut self, at: u32, bytes: &[u8]) -> bool {
        let Ready { store, memory, .. } = &mut *self.ready;
        memory.is_some_and(|memory| memory.write(store, at as usize, bytes).is_ok())
    }

    /// Reads a number from the guest's memory; `None` if the place is outside it.
    pub fn read_i32(&mut self, at: u32) -> Option<i32> {
        let bytes = self.ready.memory?.data(&self.ready.store).get(at as usize..)?.first_chunk::<4>()?;
        Some(i32::from_le_bytes(*bytes))
    }

    /// The guest's state.
    pub fn guest(&mut self) -> &mut Guest {
        self.ready.store.data_mut()
    }

    /// The size of the guest's memory in bytes; it never shrinks.
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
        // SAFETY: the value is not used afterwards.
        let ready = unsafe { ManuallyDrop::take(&mut self.ready) };
        if let (Some(used), false) = (self.used.take(), self.failed) {
            used.take_back(ready);
        }
    }
}
