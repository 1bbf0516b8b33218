//! Reuses wasm instances: after a clean exit, restores dirty pages and globals from a pristine instance.
//!
//! A snapshot's memory is mapped copy-on-write, and every program writes to some hundred of its pages. With a new
//! instance for each program, the kernel copies each of these pages and frees it again, which takes longer than a short
//! program. wasmtime can keep such pages, but only those of the first 32 regions.
//!
//! This module restores an instance if all its calls returned and its memory has not grown. It copies the mutable
//! globals, and every page that the kernel reports as written (`PAGEMAP_SCAN`), from an instance that never runs. The
//! code cannot change any other state ([`exports::state`](super::exports::state)). For modules whose code can, and on
//! kernels that cannot report written pages, each program gets a new instance.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use wasmtime::InstancePre;

use super::exports::STATE;
use super::guest::Guest;
use super::machine::Ready;

/// Maximum number of idle instances per module: one for a program and one for its judge.
const MOST_IDLE: usize = 2;
/// Maximum number of written bytes to restore. Beyond that, a new instance is cheaper and uses less memory.
const MOST_WRITTEN: usize = 16 << 20;

/// The idle instances of one module, ready for the next program.
pub struct Recycler {
    /// The pristine instance, which never runs a program.
    original: Mutex<Ready>,
    idle: Mutex<Vec<Ready>>,
    pagemap: File,
}

impl Recycler {
    /// A recycler for the instances of a module. `None` if the module does not export its state, or if the kernel cannot
    /// report written pages.
    pub fn new(module: &InstancePre<Guest>) -> anyhow::Result<Option<Self>> {
        if !module.module().exports().any(|export| export.name().starts_with(STATE)) {
            return Ok(None);
        }
        let Ok(pagemap) = File::open("/proc/self/pagemap") else { return Ok(None) };
        let original = Ready::new(module, Guest::idle())?;
        let recycler = Self { original: Mutex::new(original), idle: Mutex::default(), pagemap };
        Ok(recycler.written(&[0]).is_some().then_some(recycler))
    }

    /// Takes an idle instance whose memory has at most `limit` bytes, if there is one.
    pub fn take(&self, limit: usize) -> Option<Ready> {
        self.idle.lock().ok()?.pop_if(|ready| ready.memory_size() <= limit)
    }

    /// Restores an instance whose calls have all returned and keeps it for the next program. Drops it if it cannot be
    /// restored, or if [`MOST_IDLE`] instances are already idle.
    pub fn take_back(&self, mut ready: Ready) {
        ready.give(Guest::idle());
        if self.restore(&mut ready).is_some()
            && let Ok(mut idle) = self.idle.lock()
            && idle.len() < MOST_IDLE
        {
            idle.push(ready);
        }
    }

    /// Restores memory and globals from the pristine instance; `None` if that is impossible.
    fn restore(&self, ready: &mut Ready) -> Option<()> {
        let original = &mut *self.original.lock().ok()?;
        // Thrown WebAssembly exceptions stay in the GC heap, so the next program would have less room for its own.
        if ready.store.gc_heap_capacity() != original.store.gc_heap_capacity() {
            return None;
        }
        let (Some(memory), Some(first)) = (ready.memory, original.memory) else { return None };
        let first = first.data(&original.store);
        let bytes = memory.data_mut(&mut ready.store);
        if bytes.len() != first.len() {
            return None;
        }
        let written = self.written(bytes)?;
        if written.iter().map(Range::len).sum::<usize>() > MOST_WRITTEN {
            return None;
        }
        for range in written {
            bytes[range.clone()].copy_from_slice(&first[range]);
        }
        for (mine, first) in ready.globals.iter().zip(&original.globals) {
            mine.set(&mut ready.store, first.get(&mut original.store)).ok()?;
        }
        Some(())
    }

    /// The byte ranges of `memory` that were written since they were mapped, in whole pages: those that are present or
    /// swapped, and neither pages of the mapped file nor the zero page. `None` if the kernel cannot report them.
    fn written(&self, memory: &[u8]) -> Option<Vec<Range<usize>>> {
        let (base, end) = (memory.as_ptr() as usize, memory.as_ptr() as usize + memory.len());
        let mut ranges = Vec::new();
        let mut regions = [Region::default(); 256];
        // The kernel scans whole pages.
        let (mut at, last) = (base & !(page_size() - 1), end.next_multiple_of(page_size()));
        while at < last {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                start: at as u64,
                end: last as u64,
                regions: regions.as_mut_ptr() as u64,
                regions_length: regions.len() as u64,
                inverted: FILE | ZERO,
                all_of: FILE | ZERO,
                any_of: PRESENT | SWAPPED,
                ..Scan::default()
            };
            // SAFETY: `scan` and its regions live through the call, which writes only to them.
            let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
            for region in &regions[..usize::try_from(count).ok()?] {
                let start = (region.start as usize).max(base) - base;
                ranges.push(start..(region.end as usize).min(end) - base);
            }
            if scan.walk_end as usize <= at {
                return None;
            }
            at = scan.walk_end as usize;
        }
        Some(ranges)
    }
}

fn page_size() -> usize {
    // SAFETY: the call has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// `PAGEMAP_SCAN` of `linux/fs.h` (Linux 6.7): `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610_u32 as libc::Ioctl;
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO: u64 = 1 << 5;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[cfg(test)]
mod tests {
    use super::super::{Instance, Linked, Machine, Profile, Settings, exports, link};
    use super::*;

    const MODULE: &str = r#"(module
        (memory (export "memory") 40)
        (data (i32.const 70000) "as it was")
        (global $a (mut i32) (i32.const 7))
        (global $b (mut i64) (i64.const 8))
        (global $constant i32 (i32.const 9))
        (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "write") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
        (func (export "add") (param i32) (result i32)
            (global.set $a (i32.add (global.get $a) (local.get 0)))
            (global.set $b (i64.add (global.get $b) (i64.const 1)))
            (i32.add (global.get $a) (i32.wrap_i64 (global.get $b))))
        (func (export "grow") (result i32) (memory.grow (i32.const 1)))
        (func (export "trap") unreachable))"#;

    fn module(text: &str) -> (Machine, Linked) {
        let machine = Machine::new(Settings { profile: Profile::Programs, max_memory: 64 << 20 }).unwrap();
        let wasm = exports::state(&wat::parse_str(text).unwrap()).unwrap();
        let linked = link(&machine.compile(&wasm).unwrap()).unwrap();
        (machine, linked)
    }

    fn idle(linked: &Linked) -> usize {
        linked.used.as_ref().unwrap().idle.lock().unwrap().len()
    }

    #[test]
    fn an_instance_comes_back_as_it_was() {
        let (_machine, linked) = module(MODULE);
        // Pages of the image, pages beyond it, both ends of the memory, and more regions than one scan returns (256).
        let places: Vec<i32> = [0, 70_003, 40 * 65_536 - 1].into_iter().chain((0..320).map(|i| i * 8192 + 5)).collect();
        for round in 0..3 {
            let mut instance = Instance::start(&linked, Guest::idle()).unwrap();
            assert_eq!(idle(&linked), 0, "round {round}: it is not the one of before");
            for at in &places {
                let byte: i32 = instance.call_named("read", *at).unwrap();
                assert_eq!(byte, if *at == 70_003 { i32::from(b'i') } else { 0 }, "round {round}, at {at}");
            }
            assert_eq!(instance.call_named::<i32, i32>("add", 100).unwrap(), 107 + 9, "round {round}");
            for at in &places {
                instance.call_named::<_, ()>("write", (*at, 33)).unwrap();
            }
            assert!(instance.write(80_000, b"from outside"));
            drop(instance);
            assert_eq!(idle(&linked), 1);
            let used = linked.used.as_ref().unwrap();
            let (original, waiting) = (used.original.lock().unwrap(), used.idle.lock().unwrap());
            let bytes = |ready: &Ready| ready.memory.unwrap().data(&ready.store).to_vec();
            assert!(bytes(&original) == bytes(&waiting[0]), "round {round}");
        }
    }

    #[test]
    fn what_cannot_be_restored_is_not_used_again() {
        let (_machine, linked) = module(MODULE);
        let mut grown = Instance::start(&linked, Guest::idle()).unwrap();
        assert_eq!(grown.call_named::<(), i32>("grow", ()).unwrap(), 40);
        drop(grown);
        assert_eq!(idle(&linked), 0);
        let mut trapped = Instance::start(&linked, Guest::idle()).unwrap();
        trapped.call_named::<(), ()>("trap", ()).unwrap_err();
        trapped.call_named::<i32, i32>("read", 0).unwrap();
        drop(trapped);
        assert_eq!(idle(&linked), 0);
        // An instance that is larger than the next program's limit stays idle.
        drop(Instance::start(&linked, Guest::idle()).unwrap());
        assert!(linked.used.as_ref().unwrap().take(1 << 20).is_none());
        assert_eq!(idle(&linked), 1);
    }

    #[test]
    fn a_module_that_changes_more_is_always_new() {
        for (part, code) in [
            ("(table 2 funcref)", "(table.set (i32.const 0) (ref.null func))"),
            ("(data $d \"x\")", "(data.drop $d)"),
            ("(table 2 funcref) (elem $e func $f) (func $f)", "(elem.drop $e)"),
        ] {
            let text = format!(
                r#"(module (memory (export "memory") 1) (global (mut i32) (i32.const 0)) {part}
                   (func (export "run") {code}))"#
            );
            assert!(module(&text).1.used.is_none(), "{code}");
        }
        assert!(module(MODULE).1.used.is_some());
    }
}
