//! The 46 syscalls of WASI preview 1, answered from memory. No call reaches the host's files, network, processes or
//! environment, and none blocks. `wasi_files.rs` has the calls on files.
//!
//! Structure layouts and numbers follow the `wasi_snapshot_preview1` witx description.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::errno;
use super::guest::{Fault, Guest, Stop};
use super::memory::Memory;

/// The result of a syscall. Output values are written to the guest's memory.
pub(super) type Answer = Result<(), Fault>;

/// Defines every syscall of preview 1 in `linker`.
pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    macro_rules! calls {
        ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
            linker.func_wrap(
                "wasi_snapshot_preview1",
                stringify!($name),
                |mut caller: Caller<'_, Guest>, $($arg: $ty),*| -> wasmtime::Result<i32> {
                    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
                    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
                    match guest.$name(&mut Memory(bytes), $($arg),*) {
                        Ok(()) => Ok(0),
                        Err(Fault::Errno(errno)) => Ok(i32::from(errno)),
                        Err(Fault::Stop(stop)) => Err(wasmtime::Error::new(stop)),
                    }
                },
            )?;
        )*};
    }
    calls! {
        args_get(pointers: u32, text: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(pointers: u32, text: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(id: u32, result: u32);
        clock_time_get(id: u32, precision: u64, result: u32);
        fd_advise(fd: u32, offset: u64, length: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, length: u64);
        fd_close(fd: u32);
        fd_datasync(fd: u32);
        fd_fdstat_get(fd: u32, result: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fd_filestat_get(fd: u32, result: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
        fd_pread(fd: u32, buffers: u32, count: u32, offset: u64, result: u32);
        fd_prestat_get(fd: u32, result: u32);
        fd_prestat_dir_name(fd: u32, name: u32, length: u32);
        fd_pwrite(fd: u32, buffers: u32, count: u32, offset: u64, result: u32);
        fd_read(fd: u32, buffers: u32, count: u32, result: u32);
        fd_readdir(fd: u32, buffer: u32, length: u32, cookie: u64, result: u32);
        fd_renumber(fd: u32, to: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, result: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, result: u32);
        fd_write(fd: u32, buffers: u32, count: u32, result: u32);
        path_create_directory(fd: u32, path: u32, length: u32);
        path_filestat_get(fd: u32, flags: u32, path: u32, length: u32, result: u32);
        path_filestat_set_times(fd: u32, flags: u32, path: u32, length: u32, accessed: u64, modified: u64, which: u32);
        path_link(fd: u32, flags: u32, path: u32, length: u32, to_fd: u32, to: u32, to_length: u32);
        path_open(fd: u32, follow: u32, path: u32, length: u32, flags: u32, rights: u64, inherit: u64, fdflags: u32, result: u32);
        path_readlink(fd: u32, path: u32, length: u32, buffer: u32, size: u32, result: u32);
        path_remove_directory(fd: u32, path: u32, length: u32);
        path_rename(fd: u32, path: u32, length: u32, to_fd: u32, to: u32, to_length: u32);
        path_symlink(target: u32, target_length: u32, fd: u32, path: u32, length: u32);
        path_unlink_file(fd: u32, path: u32, length: u32);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, result: u32);
        proc_raise(signal: u32);
        random_get(buffer: u32, length: u32);
        sched_yield();
        sock_accept(fd: u32, flags: u32, result: u32);
        sock_recv(fd: u32, buffers: u32, count: u32, flags: u32, size: u32, result: u32);
        sock_send(fd: u32, buffers: u32, count: u32, flags: u32, size: u32);
        sock_shutdown(fd: u32, how: u32);
    }
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Stop::Exit(code)))
    })?;
    Ok(())
}

/// Writes strings in C's layout of `argv`: an array of pointers at `pointers`, and NUL-terminated strings at `text`.
fn put_strings(memory: &mut Memory, strings: &[String], pointers: u32, text: u32) -> Answer {
    let mut text = u64::from(text);
    for (i, string) in strings.iter().enumerate() {
        memory.put_u32(u64::from(pointers) + 4 * i as u64, text as u32)?;
        memory.put(text, string.as_bytes())?;
        memory.put(text + string.len() as u64, &[0])?;
        text += string.len() as u64 + 1;
    }
    Ok(())
}

fn put_sizes(memory: &mut Memory, strings: &[String], count: u32, size: u32) -> Answer {
    memory.put_u32(count, strings.len() as u32)?;
    Ok(memory.put_u32(size, strings.iter().map(|s| s.len() as u32 + 1).sum())?)
}

#[allow(clippy::too_many_arguments, reason = "the system calls have them")]
// An underscore marks arguments of the witx description that this sandbox ignores.
impl Guest {
    fn args_get(&mut self, memory: &mut Memory, pointers: u32, text: u32) -> Answer {
        put_strings(memory, &self.arguments, pointers, text)
    }

    fn args_sizes_get(&mut self, memory: &mut Memory, count: u32, size: u32) -> Answer {
        put_sizes(memory, &self.arguments, count, size)
    }

    fn environ_get(&mut self, memory: &mut Memory, pointers: u32, text: u32) -> Answer {
        put_strings(memory, &self.environment, pointers, text)
    }

    fn environ_sizes_get(&mut self, memory: &mut Memory, count: u32, size: u32) -> Answer {
        put_sizes(memory, &self.environment, count, size)
    }

    fn clock_res_get(&mut self, memory: &mut Memory, _id: u32, result: u32) -> Answer {
        Ok(memory.put_u64(result, 1000)?)
    }

    fn clock_time_get(&mut self, memory: &mut Memory, id: u32, _precision: u64, result: u32) -> Answer {
        let time = match id {
            0 => self.clock.date(),
            1 => self.clock.program_time() + Duration::from_secs(1000),
            2 | 3 => self.clock.cpu_time(),
            _ => return Err(errno::INVAL.into()),
        };
        Ok(memory.put_u64(result, time.as_nanos() as u64)?)
    }

    /// Waits for events. Every subscription except a clock is ready at once. If all subscriptions are clocks, the
    /// program's clock advances to the earliest one, and only that one is ready.
    fn poll_oneoff(&mut self, memory: &mut Memory, subscriptions: u32, events: u32, count: u32, result: u32) -> Answer {
        if count == 0 || count > 4096 {
            return Err(errno::INVAL.into());
        }
        let mut ready = Vec::new();
        let mut earliest: Option<(Duration, u64)> = None;
        for i in 0..count {
            let at = u64::from(subscriptions) + u64::from(i) * 48;
            let userdata = memory.u64(at)?;
            let kind = memory.slice(at + 8, 1)?[0];
            if kind != 0 {
                ready.push((userdata, kind));
                continue;
            }
            let timeout = Duration::from_nanos(memory.u64(at + 24)?);
            let is_absolute = memory.u32(at + 40)? & 1 != 0;
            let wait = if is_absolute {
                let now = match memory.u32(at + 16)? {
                    0 => self.clock.date(),
                    _ => self.clock.program_time() + Duration::from_secs(1000),
                };
                timeout.saturating_sub(now)
            } else {
                timeout
            };
            if earliest.is_none_or(|(time, _)| wait < time) {
                earliest = Some((wait, userdata));
            }
        }
        if ready.is_empty() {
            let (wait, userdata) = earliest.ok_or(errno::INVAL)?;
            self.clock.sleep(wait)?;
            ready.push((userdata, 0));
        }
        for (i, (userdata, kind)) in ready.iter().enumerate() {
            let at = u64::from(events) + i as u64 * 32;
            memory.put(at, &[0; 32])?;
            memory.put_u64(at, *userdata)?;
            memory.put(at + 10, &[*kind])?;
            memory.put_u64(at + 16, u64::from(*kind != 0))?;
        }
        Ok(memory.put_u32(result, ready.len() as u32)?)
    }

    fn proc_raise(&mut self, _: &mut Memory, _signal: u32) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn random_get(&mut self, memory: &mut Memory, buffer: u32, length: u32) -> Answer {
        self.fill_random(memory.slice_mut(buffer, length)?);
        Ok(())
    }

    fn sched_yield(&mut self, _: &mut Memory) -> Answer {
        Ok(())
    }

    fn sock_accept(&mut self, _: &mut Memory, _fd: u32, _flags: u32, _result: u32) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn sock_recv(
        &mut self,
        _: &mut Memory,
        _fd: u32,
        _list: u32,
        _count: u32,
        _flags: u32,
        _size: u32,
        _result: u32,
    ) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn sock_send(&mut self, _: &mut Memory, _fd: u32, _list: u32, _count: u32, _flags: u32, _size: u32) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn sock_shutdown(&mut self, _: &mut Memory, _fd: u32, _how: u32) -> Answer {
        Err(errno::NOTSUP.into())
    }
}
