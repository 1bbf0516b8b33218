//! Runs the kernels on the CPU, in the emulation of `emulation/`.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

use crate::check::Machine;
use crate::{KernelError, Launch, Limits};

unsafe extern "C" {
    fn herd_emulate_kernel(
        name: *const c_char,
        grid_x: u32,
        grid_y: u32,
        block_x: u32,
        block_y: u32,
        values: *mut *mut c_void,
        order: u64,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
}

/// Guard bytes after each allocation, which no kernel may change.
const GUARD: usize = 64;
/// The value of the guard bytes.
const UNTOUCHED: u8 = 0xa5;

/// An emulated GPU. Its memory is memory of this process, with guard bytes after every allocation.
pub struct Emulator {
    order: u64,
    blocks: u32,
    /// Allocations and their lengths in bytes, without the guard. 16-byte words, so that addresses are aligned.
    memory: RefCell<Vec<(Vec<u128>, usize)>>,
}

impl Emulator {
    /// `order` is the order in which warps and lanes run: 0 ascending, 1 descending (blocks too), any other value a permutation
    /// that depends on it. `blocks` is the limit of [`Limits`].
    #[must_use]
    pub fn new(order: u64, blocks: u32) -> Self {
        Self { order, blocks, memory: RefCell::default() }
    }

    /// Runs a launch.
    ///
    /// # Errors
    /// When the threads of a block or warp do not all reach a barrier or shuffle, or there is no such kernel, grid or block.
    ///
    /// # Safety
    /// The addresses are of memory of this process, of the sizes that the kernel reads and writes.
    pub unsafe fn run(&self, launch: &Launch) -> Result<(), KernelError> {
        let fault = |reason: String| KernelError::Kernel { kernel: launch.kernel.clone(), reason };
        let name = CString::new(launch.kernel.as_str()).map_err(|error| fault(error.to_string()))?;
        let mut values: Vec<u64> = launch.arguments.iter().map(|argument| argument.bits()).collect();
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let mut message = [0 as c_char; 256];
        let ([grid_x, grid_y], [block_x, block_y]) = (launch.grid, launch.block);
        // SAFETY: as many values as the kernel has arguments, each of 8 bytes; `message` has the room that is given.
        let status = unsafe {
            herd_emulate_kernel(
                name.as_ptr(),
                grid_x,
                grid_y,
                block_x,
                block_y,
                pointers.as_mut_ptr(),
                self.order,
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if status == 0 {
            return Ok(());
        }
        // SAFETY: a NUL-terminated message was written.
        Err(fault(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned()))
    }
}

impl Machine for Emulator {
    fn limits(&self) -> Limits {
        Limits { blocks: self.blocks }
    }

    fn place(&self, bytes: &[u8]) -> Result<u64, KernelError> {
        let length = bytes.len();
        let mut words = vec![0_u128; (length + GUARD).div_ceil(16)];
        // SAFETY: the words are that many bytes.
        let all = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), words.len() * 16) };
        all[..length].copy_from_slice(bytes);
        all[length..].fill(UNTOUCHED);
        let address = words.as_mut_ptr() as u64;
        self.memory.borrow_mut().push((words, length));
        Ok(address)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), KernelError> {
        let memory = self.memory.borrow();
        let fault = |reason: &str| KernelError::Kernel { kernel: "memory".into(), reason: reason.into() };
        let start = |words: &[u128]| words.as_ptr() as u64;
        let piece = memory.iter().find(|(words, length)| {
            address >= start(words) && address + into.len() as u64 <= start(words) + *length as u64
        });
        let (words, length) = piece.ok_or_else(|| fault("no such piece"))?;
        // SAFETY: the words are that many bytes.
        let all = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 16) };
        let offset = (address - start(words)) as usize;
        into.copy_from_slice(&all[offset..offset + into.len()]);
        let intact = all[*length..].iter().all(|&byte| byte == UNTOUCHED);
        if intact { Ok(()) } else { Err(fault("a kernel wrote behind the end of a tensor")) }
    }

    fn launch(&self, launch: &Launch) -> Result<(), KernelError> {
        // SAFETY: `check` plans launches over memory that `place` gave, of the sizes that it says.
        unsafe { self.run(launch) }
    }

    fn wait(&self) -> Result<(), KernelError> {
        Ok(())
    }

    fn clear(&self) {
        self.memory.borrow_mut().clear();
    }
}
