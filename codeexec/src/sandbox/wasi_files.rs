//! The syscalls of WASI preview 1 on files, folders and streams, answered from the in-memory file system.

use super::errno;
use super::files::{Device, Stat};
use super::guest::{Fault, Guest, Open};
use super::memory::Memory;
use super::wasi::Answer;

/// All WASI rights. Every descriptor reports them; what it really allows depends on what is open.
const RIGHTS: u64 = (1 << 30) - 1;
const FILETYPE_CHARACTER: u8 = 2;
const FILETYPE_FOLDER: u8 = 3;
const FILETYPE_FILE: u8 = 4;

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
// An underscore marks arguments of the witx description that this sandbox ignores.
impl Guest {
    pub(super) fn fd_advise(&mut self, _: &mut Memory, fd: u32, _offset: u64, _length: u64, _advice: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    pub(super) fn fd_allocate(&mut self, _: &mut Memory, fd: u32, offset: u64, length: u64) -> Answer {
        let Open::File { node, write: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let end = offset.checked_add(length).ok_or(errno::FBIG)?;
        if end > self.files.stat(node).size {
            self.files.resize(node, end)?;
        }
        Ok(())
    }

    pub(super) fn fd_close(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.close(fd).map(|_| ())?)
    }

    pub(super) fn fd_datasync(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    pub(super) fn fd_fdstat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let (kind, flags) = match self.open(fd)? {
            Open::Stdin | Open::Output(_) | Open::HostChannel => (FILETYPE_CHARACTER, 0),
            Open::File { append, .. } => (FILETYPE_FILE, u8::from(*append)),
            Open::Folder(..) => (FILETYPE_FOLDER, 0),
        };
        memory.put(result, &[kind, 0, flags, 0, 0, 0, 0, 0])?;
        // C libraries take a character device without the rights to seek and tell for a terminal. With all rights, the
        // streams look like pipes.
        memory.put_u64(u64::from(result) + 8, RIGHTS)?;
        Ok(memory.put_u64(u64::from(result) + 16, RIGHTS)?)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, _: &mut Memory, fd: u32, flags: u32) -> Answer {
        if let Open::File { append, .. } = self.open_mut(fd)? {
            *append = flags & 1 != 0;
        }
        Ok(())
    }

    pub(super) fn fd_fdstat_set_rights(&mut self, _: &mut Memory, fd: u32, _base: u64, _inheriting: u64) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    pub(super) fn fd_filestat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        match *self.open(fd)? {
            Open::File { node, .. } | Open::Folder(node, _) => {
                let stat = self.files.stat(node);
                put_stat(memory, result, filetype(stat), stat)
            }
            // Programs of contests read as many bytes from standard input as `fstat` says.
            Open::Stdin => {
                let size = self.stdin.len() as u64;
                put_stat(memory, result, FILETYPE_CHARACTER, Stat { node: 0, is_folder: false, size })
            }
            _ => put_stat(memory, result, FILETYPE_CHARACTER, Stat { node: 0, is_folder: false, size: 0 }),
        }
    }

    pub(super) fn fd_filestat_set_size(&mut self, _: &mut Memory, fd: u32, size: u64) -> Answer {
        match *self.open(fd)? {
            Open::File { node, write: true, .. } => Ok(self.files.resize(node, size)?),
            _ => Err(errno::BADF.into()),
        }
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        _: &mut Memory,
        fd: u32,
        _atime: u64,
        _mtime: u64,
        _flags: u32,
    ) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    pub(super) fn fd_prestat_get(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let Open::Folder(_, Some(name)) = self.open(fd)? else { return Err(errno::BADF.into()) };
        memory.put_u32(result, 0)?;
        Ok(memory.put_u32(u64::from(result) + 4, name.len() as u32)?)
    }

    pub(super) fn fd_prestat_dir_name(&mut self, memory: &mut Memory, fd: u32, name: u32, length: u32) -> Answer {
        let Open::Folder(_, Some(path)) = self.open(fd)? else { return Err(errno::BADF.into()) };
        if path.len() > length as usize {
            return Err(errno::NAMETOOLONG.into());
        }
        Ok(memory.put(name, path.as_bytes())?)
    }

    /// Reads from a file at byte position `at` into the buffers of `list`; returns the number of bytes read.
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

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Answer {
        let Open::File { node, read: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let total = self.read_file(memory, node, offset, list, count)?;
        Ok(memory.put_u32(result, total)?)
    }

    pub(super) fn fd_read(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, result: u32) -> Answer {
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
            Open::HostChannel => {
                let mut total = 0;
                for (start, length) in memory.buffers(list, count)? {
                    let now = self.read_door(length as usize);
                    memory.put(start, now)?;
                    total += now.len() as u32;
                }
                total
            }
            Open::Folder(..) => return Err(errno::ISDIR.into()),
            _ => return Err(errno::BADF.into()),
        };
        Ok(memory.put_u32(result, total)?)
    }

    /// Writes the buffers of `list` to a file at byte position `at`; returns the number of bytes written. An error after
    /// the first bytes, such as a full disk, ends the write with a short count.
    fn write_file(&mut self, memory: &Memory, node: usize, mut at: u64, list: u32, count: u32) -> Result<u32, Fault> {
        let mut total = 0;
        for (start, length) in memory.buffers(list, count)? {
            match self.files.write_at(node, at, memory.slice(start, length)?) {
                Err(errno) if total == 0 => return Err(errno.into()),
                Err(_) => break,
                Ok(()) => {}
            }
            at += u64::from(length);
            total += length;
        }
        Ok(total)
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Answer {
        let Open::File { node, write: true, .. } = *self.open(fd)? else { return Err(errno::BADF.into()) };
        let total = self.write_file(memory, node, offset, list, count)?;
        Ok(memory.put_u32(result, total)?)
    }

    pub(super) fn fd_write(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, result: u32) -> Answer {
        let total = match *self.open(fd)? {
            Open::Output(stream) => {
                let mut total = 0;
                for (start, length) in memory.buffers(list, count)? {
                    self.write_output(stream, memory.slice(start, length)?)?;
                    total += length;
                }
                total
            }
            Open::HostChannel => {
                let mut total = 0;
                for (start, length) in memory.buffers(list, count)? {
                    self.write_door(memory.slice(start, length)?)?;
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

    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        at: u32,
        length: u32,
        cookie: u64,
        result: u32,
    ) -> Answer {
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

    pub(super) fn fd_renumber(&mut self, _: &mut Memory, fd: u32, to: u32) -> Answer {
        self.open(to)?;
        if fd == to {
            return Ok(());
        }
        let moved = self.close(fd)?;
        *self.open_mut(to)? = moved;
        Ok(())
    }

    pub(super) fn fd_seek(&mut self, memory: &mut Memory, fd: u32, offset: i64, whence: u32, result: u32) -> Answer {
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

    pub(super) fn fd_sync(&mut self, _: &mut Memory, fd: u32) -> Answer {
        Ok(self.open(fd).map(|_| ())?)
    }

    pub(super) fn fd_tell(&mut self, memory: &mut Memory, fd: u32, result: u32) -> Answer {
        let Open::File { position, .. } = *self.open(fd)? else { return Err(errno::SPIPE.into()) };
        Ok(memory.put_u64(result, position)?)
    }

    pub(super) fn path_create_directory(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.make_folder(at, &path)?)
    }

    pub(super) fn path_filestat_get(
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

    pub(super) fn path_filestat_set_times(
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

    pub(super) fn path_link(
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

    pub(super) fn path_open(
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
        } else if let Some(device) = self.files.device(node) {
            match device {
                Device::HostChannel => Open::HostChannel,
                Device::Stdin => Open::Stdin,
                Device::Output(stream) => Open::Output(stream),
            }
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

    pub(super) fn path_readlink(
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
        // The file system has no links.
        Err(errno::INVAL.into())
    }

    pub(super) fn path_remove_directory(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.remove(at, &path, true)?)
    }

    pub(super) fn path_rename(
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

    pub(super) fn path_symlink(
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

    pub(super) fn path_unlink_file(&mut self, memory: &mut Memory, fd: u32, path: u32, length: u32) -> Answer {
        let (at, path) = (self.folder(fd)?, memory.text(path, length)?);
        Ok(self.files.remove(at, &path, false)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::sandbox::files::{Files, ROOT};
    use crate::sandbox::{Clock, Setup};

    /// A guest with an empty root folder as descriptor 3 and a disk of `disk` bytes.
    fn guest(disk: u64) -> Guest {
        let limits = Limits::default();
        let setup = Setup {
            files: Files::new(disk),
            preopened: vec!["/".into()],
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: Vec::new(),
            seed: 0,
        };
        Guest::new(setup, &limits, Clock::start(&limits))
    }

    /// Creates a file and returns its descriptor.
    fn create(guest: &mut Guest, name: &str) -> u32 {
        let (node, _) = guest.files.create(ROOT, name).unwrap();
        let opened = Open::File { node, position: 0, read: true, write: true, append: false };
        guest.add_open(opened).unwrap()
    }

    /// The error number of a syscall, 0 for success.
    fn errno_of(answer: Answer) -> errno::Errno {
        match answer {
            Ok(()) => 0,
            Err(Fault::Errno(errno)) => errno,
            Err(Fault::Stop(stop)) => panic!("{stop}"),
        }
    }

    #[test]
    fn a_descriptor_is_renumbered() {
        let mut guest = guest(1 << 20);
        let memory = &mut Memory(&mut []);
        let (one, two) = (create(&mut guest, "one"), create(&mut guest, "two"));
        // Like dup2(fd, fd), a move to its own number changes nothing.
        assert_eq!(errno_of(guest.fd_renumber(memory, one, one)), 0);
        assert!(matches!(guest.open(one), Ok(Open::File { .. })));
        assert_eq!(errno_of(guest.fd_renumber(memory, 99, 99)), errno::BADF);
        assert_eq!(errno_of(guest.fd_renumber(memory, one, 99)), errno::BADF);
        assert_eq!(errno_of(guest.fd_renumber(memory, one, two)), 0);
        assert!(guest.open(one).is_err());
        let node = guest.files.resolve(ROOT, "one").unwrap();
        assert!(matches!(guest.open(two), Ok(Open::File { node: open, .. }) if *open == node));
    }

    #[test]
    fn a_full_disk_gives_a_short_count() {
        // Two buffers of 1000 bytes, at address 100; the disk has room for the file and one of them.
        let mut guest = guest(2000);
        let mut bytes = vec![7; 4096];
        let memory = &mut Memory(&mut bytes);
        for (at, word) in [(0u32, 100), (4, 1000), (8, 1100), (12, 1000)] {
            memory.put_u32(at, word).unwrap();
        }
        let fd = create(&mut guest, "f");
        assert_eq!(errno_of(guest.fd_write(memory, fd, 0, 2, 20)), 0);
        assert_eq!(memory.u32(20u32).unwrap(), 1000);
        assert_eq!(guest.file("f").unwrap(), [7; 1000]);
        // The next write goes on behind those bytes, and finds no room.
        assert!(matches!(guest.open(fd), Ok(Open::File { position: 1000, .. })));
        assert_eq!(errno_of(guest.fd_write(memory, fd, 8, 1, 20)), errno::NOSPC);
        assert_eq!(errno_of(guest.fd_pwrite(memory, fd, 0, 2, 0, 20)), 0);
        assert_eq!(memory.u32(20u32).unwrap(), 1000);
    }
}
