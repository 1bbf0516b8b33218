//! The seccomp filter: refuses new processes and rarely used kernel interfaces. Every other syscall is allowed.

/// `SECCOMP_RET_ERRNO` with `EPERM`.
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
/// `SECCOMP_RET_ERRNO` with `ENOSYS`, after which libraries try an older syscall.
const UNKNOWN: u32 = 0x0005_0000 | libc::ENOSYS as u32;
/// `SECCOMP_RET_ALLOW`.
const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_KILL_PROCESS`.
const KILL: u32 = 0x8000_0000;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Syscalls that programs do not need; the filter refuses them with `EPERM`.
const REFUSED: [libc::c_long; 17] = [
    libc::SYS_ptrace,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_open_by_handle_at,
];

/// One classic BPF instruction (`struct sock_filter`): opcode, jump distances if true and if false, operand.
fn instruction(code: u16, yes: u8, no: u8, value: u32) -> [u8; 8] {
    let [c0, c1] = code.to_ne_bytes();
    let [v0, v1, v2, v3] = value.to_ne_bytes();
    [c0, c1, yes, no, v0, v1, v2, v3]
}

/// Loads the 32 bits at an offset of `struct seccomp_data`.
fn load(offset: u32) -> [u8; 8] {
    instruction(0x20, 0, 0, offset)
}

/// Ends the filter with that action.
fn answer(what: u32) -> [u8; 8] {
    instruction(0x06, 0, 0, what)
}

/// Continues with the next instruction if the loaded value equals `value`, and skips it otherwise.
fn if_equal(value: u32) -> [u8; 8] {
    instruction(0x15, 0, 1, value)
}

/// The filter as bubblewrap reads it: an array of `struct sock_filter`.
pub fn filter() -> Vec<u8> {
    // `struct seccomp_data`: the syscall's number at 0, the architecture at 4, the arguments from 16 on.
    let mut program = vec![load(4), instruction(0x15, 1, 0, ARCHITECTURE), answer(KILL), load(0)];
    // Refuses x32, x86-64's second syscall table, whose numbers start at this bit.
    program.extend([instruction(0x35, 0, 1, 0x4000_0000), answer(REFUSE)]);
    for call in REFUSED {
        program.extend([if_equal(call as u32), answer(REFUSE)]);
    }
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_fork, libc::SYS_vfork] {
        program.extend([if_equal(call as u32), answer(REFUSE)]);
    }
    program.extend([if_equal(libc::SYS_clone3 as u32), answer(UNKNOWN)]);
    // `clone` is allowed with `CLONE_THREAD` (a thread) and refused without (a process).
    program.extend([instruction(0x15, 0, 3, libc::SYS_clone as u32), load(16)]);
    program.extend([instruction(0x45, 1, 0, libc::CLONE_THREAD as u32), answer(REFUSE), answer(ALLOW)]);
    program.concat()
}
