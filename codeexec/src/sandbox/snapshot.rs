//! Turns the memory and globals of a started guest into a new module, whose instances start in that state (Wizer).

use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use anyhow::bail;
use wasmtime::{Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::{Clock, Guest, Instance, Machine, Profile, Settings, Setup, exports, link};
use crate::limits::Limits;

/// Names the format of the modules that [`snapshot`] returns. It is part of their cache keys, so change it when the
/// format changes.
pub const FORM: &str = "state exported";

/// Exports the functions `names` of `wasm`, starts an instance, lets `prepare` bring it to the state in which programs
/// start, and returns a module whose instances start in that state.
///
/// # Errors
/// When the module lacks a required function, or `prepare` fails.
pub fn snapshot(
    wasm: &[u8],
    names: &[&str],
    setup: Setup,
    prepare: impl FnOnce(&mut Instance) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u8>> {
    let wasm = exports::functions(wasm, names)?;
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument(&wasm)?;
    let machine = Machine::new(Settings { profile: Profile::Once, max_memory: 4 << 30 })?;
    let module = machine.compile(&instrumented)?;
    drop(instrumented);
    let time = Duration::from_secs(600);
    let limits = Limits { memory: 2 << 30, ..Limits::within(time) };
    let guest = Guest::new(setup, &limits, Clock::start(&limits));
    let mut instance = Instance::start(&link(&module)?, guest)?;
    prepare(&mut instance)?;
    let snapshot = ready(wizer.snapshot(&context, &mut State(&mut instance)))?;
    exports::state(&snapshot?)
}

/// The initial address of the C stack. Call this while no function runs: it reads the module's stack pointer, which is
/// its first mutable global.
pub fn stack_top(instance: &mut Instance) -> anyhow::Result<i32> {
    match State(instance).global("__wizer_global_0") {
        Some(SnapshotVal::I32(top)) => Ok(top),
        _ => bail!("the module has no stack pointer"),
    }
}

/// Gives Wizer the globals and memory of an instance.
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
        // The trait's method cannot return an error. Wizer asks only for globals that it has exported itself.
        self.global(name).unwrap_or(SnapshotVal::I32(0))
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let (store, instance) = self.0.parts();
        if let Some(memory) = instance.get_memory(&mut *store, name) {
            contents(memory.data(&*store));
        }
    }
}

/// The result of a future; an error if the future is not ready at once.
fn ready<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => bail!("the snapshot waited for something"),
    }
}
