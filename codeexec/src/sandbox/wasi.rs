//! The system calls of WASI preview 1, answered from memory: no call reaches the host's files, network, processes or
//! environment, and none blocks.
//!
//! The layout of structures and the numbers are those of the `wasi_snapshot_preview1` witx description.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker};

use super::errno;
use super::files::Stat;
use super::guest::{Fault, Guest, Open, Stop};
use super::memory::Memory;

/// All rights: what a descriptor may do is decided by what it is.
const RIGHTS: u64 = (1 << 30) - 1;
const FILETYPE_CHARACTER: u8 = 2;
const FILETYPE_FOLDER: u8 = 3;
const FILETYPE_FILE: u8 = 4;

type Answer = Result<(), Fault>;

/// Defines every call of preview 1 in `linker`.
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

/// Writes a list of strings as C has it: pointers, and the strings with their zeros.
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

fn put_stat(memory: &mut Memory, at: u32, filetype: u8, stat: Stat) -> Answer {
    let at = u64::from(at);
    memory.put(at, &[0; 64])?;
    memory.put_u64(at + 8, stat.node as u64 + 1)?;
    memory.put(at + 16, &[filetype])?;
    memory.put_u64(at + 24, 1)?;
    Ok(memory.put_u64(at + 32, stat.size)?)
}

fn filetype(stat: Stat) -> u8 {
    if stat.is_folder { FILETYPE_FOLDER } else { FILETYPE_FILE }
}

#[allow(clippy::too_many_arguments, reason = "the system calls have them")]
// Arguments that the witx description has and a sandbox in memory has no use for keep an underscore.
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
        let passed = self.clock.wall_time();
        let time = match id {
            0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.clock.slept(),
            1 => passed + Duration::from_secs(1000),
            2 | 3 => self.clock.cpu_time(),
            _ => return Err(errno::INVAL.into()),
        };
        Ok(memory.put_u64(result, time.as_nanos() as u64)?)
    }

    fn fd_advise(&mut self, _: &mut Memory, fd: u32, _offset: u64, _length: u64, _advice: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    fn fd_allocate(&mut self, _: &mut Memory, fd: u32, offset: u64, length: u64) -> Answer {
        let Open::File { node, write: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let end = offset.checked_add(length).ok_or(errno::FBIG)?;
        if end > self.files.stat(node).size {
            self.files.resize(node, end)?;
        }
        Ok(())
    }

    fn fd_close(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.close(fd).map(|_| ())?)
    }

    fn fd_datasync(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    fn fd_fdstat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let (kind, flags) = match self.open(fd)? {
            Open::Stdin | Open::Output(_) => (FILETYPE_CHARACTER, 0),
            Open::File { append, .. } => (FILETYPE_FILE, u8::from(*append)),
            Open::Folder(..) => (FILETYPE_FOLDER, 0),
        };
        memory.put(result, &[kind, 0, flags, 0, 0, 0, 0, 0])?;
        // Without the rights to seek and tell, a character device is a terminal to C libraries; ours are pipes.
        memory.put_u64(u64::from(result) + 8, RIGHTS)?;
        Ok(memory.put_u64(u64::from(result) + 16, RIGHTS)?)
    }

    fn fd_fdstat_set_flags(&mut self, _: &mut Memory, fd: u32, flags: u32) -> Answer {
        if let Open::File { append, .. } = self.open_mut(fd)? {
            *append = flags & 1 != 0;
        }
        Ok(())
    }

    fn fd_fdstat_set_rights(&mut self, _: &mut Memory, fd: u32, _base: u64, _inheriting: u64) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    fn fd_filestat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        match *self.open(fd)? {
            Open::File { node, .. } | Open::Folder(node, _) => {
                let stat = self.files.stat(node);
                put_stat(memory, result, filetype(stat), stat)
            }
            _ => put_stat(memory, result, FILETYPE_CHARACTER, Stat { node: 0, is_folder: false, size: 0 }),
        }
    }

    fn fd_filestat_set_size(&mut self, _: &mut Memory, fd: u32, size: u64) -> Answer {
        match *self.open(fd)? {
            Open::File { node, write: true, .. } => Ok(self.files.resize(node, size)?),
            _ => Err(errno::BADF.into()),
        }
    }

    fn fd_filestat_set_times(&mut self, _: &mut Memory, fd: u32, _atime: u64, _mtime: u64, _flags: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    fn fd_prestat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let Open::Folder(_, Some(name)) = self.open(fd)? else { return Err(errno::BADF.into()) };
        memory.put_u32(result, 0)?;
        Ok(memory.put_u32(u64::from(result) + 4, name.len() as u32)?)
    }

    fn fd_prestat_dir_name(&mut self, memory: &mut Memory, fd: u32, name: u32, length: u32) -> Answer {
        let Open::Folder(_, Some(path)) = self.open(fd)? else { return Err(errno::BADF.into()) };
        if path.len() > length as usize {
            return Err(errno::NAMETOOLONG.into());
        }
        Ok(memory.put(name, path.as_bytes())?)
    }

    /// Reads from a file at a position; the bytes read.
    fn read_file(&self, memory: &mut Memory, node: usize, at: u64, list: u32, count: u32) -> Result<u32, Fault> {
        let bytes = self.files.bytes(node)?;
        let mut rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let mut total = 0;
        for (start, length) in memory.buffers(list, count)? {
            let (now, later) = rest.split_at(rest.len().min(length as usize));
            memory.put(start, now)?;
            total += now.len() as u32;
            rest = later;
        }
        Ok(total)
    }

    fn fd_pread(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, offset: u64, result: u32) -> Answer {
        let Open::File { node, read: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let total = self.read_file(memory, node, offset, list, count)?;
        Ok(memory.put_u32(result, total)?)
    }

    fn fd_read(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, result: u32) -> Answer {
        let total = match *self.open(fd)? {
            Open::Stdin => {
                let mut total = 0;
                for (start, length) in memory.buffers(list, count)? {
                    let rest = &self.stdin[self.stdin_position..];
                    let now = &rest[..rest.len().min(length as usize)];
                    memory.put(start, now)?;
                    self.stdin_position += now.len();
                    total += now.len() as u32;
                }
                total
            }
            Open::File { node, position, read: true, .. } => {
                let total = self.read_file(memory, node, position, list, count)?;
                if let Open::File { position, .. } = self.open_mut(fd)? {
                    *position += u64::from(total);
                }
                total
            }
            Open::Folder(..) => return Err(errno::ISDIR.into()),
            _ => return Err(errno::BADF.into()),
        };
        Ok(memory.put_u32(result, total)?)
    }

    /// Writes to a file at a position; the bytes written.
    fn write_file(&mut self, memory: &Memory, node: usize, mut at: u64, list: u32, count: u32) -> Result<u32, Fault> {
        let mut total = 0;
        for (start, length) in memory.buffers(list, count)? {
            self.files.write_at(node, at, memory.slice(start, length)?)?;
            at += u64::from(length);
            total += length;
        }
        Ok(total)
    }

    fn fd_pwrite(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, offset: u64, result: u32) -> Answer {
        let Open::File { node, write: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let total = self.write_file(memory, node, offset, list, count)?;
        Ok(memory.put_u32(result, total)?)
    }

    fn fd_write(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, result: u32) -> Answer {
        let total = match *self.open(fd)? {
            Open::Output(stream) => {
                let mut total = 0;
                for (start, length) in memory.buffers(list, count)? {
                    self.write_output(stream, memory.slice(start, length)?)?;
                    total += length;
                }
                total
            }
            Open::File { node, position, write: true, append, .. } => {
                let at = if append { self.files.stat(node).size } else { position };
                let total = self.write_file(memory, node, at, list, count)?;
                if let Open::File { position, .. } = self.open_mut(fd)? {
                    *position = at + u64::from(total);
                }
                total
            }
            _ => return Err(errno::BADF.into()),
        };
        Ok(memory.put_u32(result, total)?)
    }

    fn fd_readdir(&mut self, memory: &mut Memory, fd: u32, at: u32, length: u32, cookie: u64, result: u32) -> Answer {
        let list = self.files.list(self.folder(fd)?)?;
        let mut out = Vec::new();
        for (i, (name, stat)) in list.iter().enumerate().skip(usize::try_from(cookie).unwrap_or(usize::MAX)) {
            out.extend_from_slice(&(i as u64 + 1).to_le_bytes());
            out.extend_from_slice(&(stat.node as u64 + 1).to_le_bytes());
            out.extend_from_slice(&(name.len() as u32).to_le_bytes());
            out.extend_from_slice(&[filetype(*stat), 0, 0, 0]);
            out.extend_from_slice(name.as_bytes());
            if out.len() >= length as usize {
                break;
            }
        }
        out.truncate(length as usize);
        memory.put(at, &out)?;
        Ok(memory.put_u32(result, out.len() as u32)?)
    }

    fn fd_renumber(&mut self, _: &mut Memory, fd: u32, to: u32) -> Answer {
        self.open(to)?;
        let moved = self.close(fd)?;
        *self.open_mut(to)? = moved;
        Ok(())
    }

    fn fd_seek(&mut self, memory: &mut Memory, fd: u32, offset: i64, whence: u32, result: u32) -> Answer {
        let Open::File { node, position, .. } = *self.open(fd)? else { return Err(errno::SPIPE.into()) };
        let base = match whence {
            0 => 0,
            1 => position,
            2 => self.files.stat(node).size,
            _ => return Err(errno::INVAL.into()),
        };
        let to = base.checked_add_signed(offset).filter(|to| i64::try_from(*to).is_ok()).ok_or(errno::INVAL)?;
        if let Open::File { position, .. } = self.open_mut(fd)? {
            *position = to;
        }
        Ok(memory.put_u64(result, to)?)
    }

    fn fd_sync(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    fn fd_tell(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let Open::File { position, .. } = *self.open(fd)? else { return Err(errno::SPIPE.into()) };
        Ok(memory.put_u64(result, position)?)
    }

    fn path_create_directory(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.make_folder(at, &path)?)
    }

    fn path_filestat_get(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        _flags: u32,
        path: u32,
        length: u32,
        result: u32,
    ) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        let stat = self.files.stat(self.files.resolve(at, &path)?);
        put_stat(memory, result, filetype(stat), stat)
    }

    fn path_filestat_set_times(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        _flags: u32,
        path: u32,
        length: u32,
        _atime: u64,
        _mtime: u64,
        _which: u32,
    ) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.resolve(at, &path).map(|_| ())?)
    }

    fn path_link(
        &mut self,
        _: &mut Memory,
        _fd: u32,
        _flags: u32,
        _path: u32,
        _length: u32,
        _to_fd: u32,
        _to: u32,
        _to_length: u32,
    ) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn path_open(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        _follow: u32,
        path: u32,
        length: u32,
        flags: u32,
        rights: u64,
        _inherit: u64,
        fdflags: u32,
        result: u32,
    ) -> Answer {
        const CREATE: u32 = 1;
        const FOLDER: u32 = 2;
        const EXCLUSIVE: u32 = 4;
        const TRUNCATE: u32 = 8;
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        let (read, write) = (rights & (1 << 1) != 0, rights & (1 << 6) != 0);
        let node = match self.files.resolve(at, &path) {
            Err(errno::NOENT) if flags & CREATE != 0 => self.files.create(at, &path)?.0,
            Ok(_) if flags & CREATE != 0 && flags & EXCLUSIVE != 0 => return Err(errno::EXIST.into()),
            found => found?,
        };
        let stat = self.files.stat(node);
        let opened = if stat.is_folder {
            if flags & (TRUNCATE | CREATE) != 0 {
                return Err(errno::ISDIR.into());
            }
            Open::Folder(node, None)
        } else {
            if flags & FOLDER != 0 {
                return Err(errno::NOTDIR.into());
            }
            if (write || flags & TRUNCATE != 0) && !self.files.is_writable(node) {
                return Err(errno::ROFS.into());
            }
            if flags & TRUNCATE != 0 {
                self.files.resize(node, 0)?;
            }
            Open::File { node, position: 0, read, write, append: fdflags & 1 != 0 }
        };
        let new = self.add_open(opened)?;
        Ok(memory.put_u32(result, new)?)
    }

    fn path_readlink(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        path: u32,
        length: u32,
        _buffer: u32,
        _size: u32,
        _result: u32,
    ) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        self.files.resolve(at, &path)?;
        // There are no links to read.
        Err(errno::INVAL.into())
    }

    fn path_remove_directory(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.remove(at, &path, true)?)
    }

    fn path_rename(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        path: u32,
        length: u32,
        to_fd: u32,
        to: u32,
        to_length: u32,
    ) -> Answer {
        let (from_at, from) = (self.folder(fd)?, memory.text(path, length)?);
        let (to_at, to) = (self.folder(to_fd)?, memory.text(to, to_length)?);
        Ok(self.files.rename(from_at, &from, to_at, &to)?)
    }

    fn path_symlink(
        &mut self,
        _: &mut Memory,
        _target: u32,
        _tlength: u32,
        _fd: u32,
        _path: u32,
        _length: u32,
    ) -> Answer {
        Err(errno::NOTSUP.into())
    }

    fn path_unlink_file(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.remove(at, &path, false)?)
    }

    /// Everything but a clock is ready at once; where only clocks are asked for, the earliest passes.
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
                    0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.clock.slept(),
                    _ => self.clock.wall_time() + Duration::from_secs(1000),
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
