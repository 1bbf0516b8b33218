//! The in-memory file system of a guest. It lives as long as its program, with a limit on its size: bytes plus a fixed
//! cost for each file or folder.
//!
//! No node gives access to the host's files. There are no links, so no path leads out of the tree; `..` at the root is
//! the root.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::errno::{self, Errno};

/// Bytes by which each folder, and each file that the program creates, counts against the limit, besides its name and
/// content.
const NODE_BYTES: u64 = 512;
/// Maximum length of the name of a file or folder, in bytes.
const NAME_MAX: usize = 255;

/// Index of a node (file, folder or device) in the tree.
pub type NodeId = usize;

/// The node of the root folder.
pub const ROOT: NodeId = 0;

/// Read-only bytes that several programs share, such as a memory-mapped library or a header file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A file, folder or device.
#[derive(Clone)]
enum Node {
    Folder {
        parent: NodeId,
        entries: BTreeMap<String, NodeId>,
    },
    Shared(SharedBytes),
    Own(Vec<u8>),
    /// A removed file; its bytes stay readable through open descriptors.
    Gone(Vec<u8>),
    Device(Device),
}

/// A file that represents a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The channel to the host ([`HostChannel`](super::guest::HostChannel)): the guest writes lines and reads replies.
    HostChannel,
    /// Standard input.
    Stdin,
    /// Standard output (1) or standard error (2).
    Output(u8),
}

/// The result of `stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The node, from which the inode number is made.
    pub node: NodeId,
    /// Whether the node is a folder.
    pub is_folder: bool,
    /// Size in bytes; 0 for a folder or a device.
    pub size: u64,
}

/// A file system in memory.
#[derive(Clone)]
pub struct Files {
    nodes: Vec<Node>,
    used: u64,
    limit: u64,
}

impl Files {
    /// An empty file system in which the program can store at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { nodes: vec![Node::Folder { parent: ROOT, entries: BTreeMap::new() }], used: 0, limit }
    }

    /// Allows `limit` further bytes beyond what is stored now.
    pub fn set_limit(&mut self, limit: u64) {
        self.used = 0;
        self.limit = limit;
    }

    /// Creates a folder with its parents, for the host; `ENOTDIR` if a parent is a file.
    pub fn make_folders(&mut self, path: &str) -> Result<NodeId, Errno> {
        let mut at = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = match self.child(at, name)? {
                Some(id) => id,
                None => self.add(at, name, Node::Folder { parent: at, entries: BTreeMap::new() })?,
            };
        }
        Ok(at)
    }

    /// Adds a read-only file, for the host. Its bytes do not count against the limit.
    pub fn share(&mut self, path: &str, bytes: SharedBytes) -> Result<(), Errno> {
        self.place(path, Node::Shared(bytes))
    }

    /// Adds a writable file, for the host. Its bytes do not count against the limit.
    pub fn write(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), Errno> {
        self.place(path, Node::Own(bytes))
    }

    fn place(&mut self, path: &str, node: Node) -> Result<(), Errno> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.make_folders(folder)?;
        let id = self.nodes.len();
        self.nodes.push(node);
        self.entries_mut(folder)?.insert(name.to_owned(), id);
        Ok(())
    }

    /// Adds a device, for the host.
    pub fn place_device(&mut self, path: &str, device: Device) -> Result<(), Errno> {
        self.place(path, Node::Device(device))
    }

    /// The device at a node; `None` if the node is a file or folder.
    pub fn device(&self, node: NodeId) -> Option<Device> {
        match self.nodes[node] {
            Node::Device(device) => Some(device),
            _ => None,
        }
    }

    /// The content of a file at an absolute path, for the host.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        self.resolve(ROOT, path.trim_start_matches('/')).ok().and_then(|id| self.bytes(id).ok())
    }

    /// The node at `path`: absolute, or relative to the folder `at`.
    pub fn resolve(&self, at: NodeId, path: &str) -> Result<NodeId, Errno> {
        let mut here = if path.starts_with('/') { ROOT } else { at };
        for name in path.split('/') {
            here = self.step(here, name)?;
        }
        if path.ends_with('/') && !self.stat(here).is_folder {
            return Err(errno::NOTDIR);
        }
        Ok(here)
    }

    /// Splits `path` into its parent folder and its last name; `EINVAL` if the last name is `.`, `..` or empty.
    fn parent<'p>(&self, at: NodeId, path: &'p str) -> Result<(NodeId, &'p str), Errno> {
        let trimmed = path.trim_end_matches('/');
        let (folder, name) = match trimmed.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => ("", trimmed),
        };
        if name.is_empty() || name == "." || name == ".." {
            return Err(errno::INVAL);
        }
        if name.len() > NAME_MAX {
            return Err(errno::NAMETOOLONG);
        }
        Ok((self.resolve(at, folder)?, name))
    }

    fn step(&self, at: NodeId, name: &str) -> Result<NodeId, Errno> {
        let Node::Folder { parent, entries } = &self.nodes[at] else { return Err(errno::NOTDIR) };
        match name {
            "" | "." => Ok(at),
            ".." => Ok(*parent),
            _ => entries.get(name).copied().ok_or(errno::NOENT),
        }
    }

    fn child(&self, at: NodeId, name: &str) -> Result<Option<NodeId>, Errno> {
        match self.step(at, name) {
            Ok(id) => Ok(Some(id)),
            Err(errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn entries_mut(&mut self, at: NodeId) -> Result<&mut BTreeMap<String, NodeId>, Errno> {
        match &mut self.nodes[at] {
            Node::Folder { entries, .. } => Ok(entries),
            _ => Err(errno::NOTDIR),
        }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit).ok_or(errno::NOSPC)?;
        self.used = used;
        Ok(())
    }

    fn add(&mut self, at: NodeId, name: &str, node: Node) -> Result<NodeId, Errno> {
        // Nodes are never freed, so a removed node still counts against the limit.
        self.charge(NODE_BYTES + name.len() as u64)?;
        let id = self.nodes.len();
        self.entries_mut(at)?.insert(name.to_owned(), id);
        self.nodes.push(node);
        Ok(id)
    }

    /// Kind and size of a node.
    pub fn stat(&self, node: NodeId) -> Stat {
        let (is_folder, size) = match &self.nodes[node] {
            Node::Folder { .. } => (true, 0),
            Node::Shared(bytes) => (false, bytes.as_ref().as_ref().len()),
            Node::Own(bytes) | Node::Gone(bytes) => (false, bytes.len()),
            Node::Device(_) => (false, 0),
        };
        Stat { node, is_folder, size: size as u64 }
    }

    /// Finds the node at `path`, or creates an empty file there. The flag is true if the file is new.
    pub fn create(&mut self, at: NodeId, path: &str) -> Result<(NodeId, bool), Errno> {
        let (folder, name) = self.parent(at, path)?;
        match self.child(folder, name)? {
            Some(id) => Ok((id, false)),
            None if path.ends_with('/') => Err(errno::ISDIR),
            None => Ok((self.add(folder, name, Node::Own(Vec::new()))?, true)),
        }
    }

    /// Creates a folder; its parent must exist.
    pub fn make_folder(&mut self, at: NodeId, path: &str) -> Result<(), Errno> {
        let (folder, name) = self.parent(at, path)?;
        if self.child(folder, name)?.is_some() {
            return Err(errno::EXIST);
        }
        self.add(folder, name, Node::Folder { parent: folder, entries: BTreeMap::new() })?;
        Ok(())
    }

    /// Removes a file (`folder` false) or an empty folder.
    pub fn remove(&mut self, at: NodeId, path: &str, folder: bool) -> Result<(), Errno> {
        let (parent, name) = self.parent(at, path)?;
        let id = self.step(parent, name)?;
        match (&mut self.nodes[id], folder) {
            (Node::Folder { entries, .. }, true) if entries.is_empty() => {}
            (Node::Folder { .. }, true) => return Err(errno::NOTEMPTY),
            (Node::Folder { .. }, false) => return Err(errno::ISDIR),
            (_, true) => return Err(errno::NOTDIR),
            (Node::Shared(_) | Node::Device(_), false) => return Err(errno::ROFS),
            (Node::Own(bytes) | Node::Gone(bytes), false) => {
                let bytes = std::mem::take(bytes);
                self.nodes[id] = Node::Gone(bytes);
            }
        }
        self.entries_mut(parent)?.remove(name);
        Ok(())
    }

    /// Moves a file or folder. A file at the target is replaced by a file, an empty folder by a folder.
    pub fn rename(&mut self, at: NodeId, from: &str, to_at: NodeId, to: &str) -> Result<(), Errno> {
        let (from_folder, from_name) = self.parent(at, from)?;
        let (to_folder, to_name) = self.parent(to_at, to)?;
        let id = self.step(from_folder, from_name)?;
        let moved = self.stat(id);
        if matches!(self.nodes[id], Node::Shared(_) | Node::Device(_)) {
            return Err(errno::ROFS);
        }
        let there = self.child(to_folder, to_name)?;
        if there == Some(id) {
            return Ok(());
        }
        // A folder must not move into itself.
        let mut above = to_folder;
        while moved.is_folder && above != ROOT {
            if above == id {
                return Err(errno::INVAL);
            }
            above = self.step(above, "..")?;
        }
        if there.is_some() {
            self.remove(to_folder, to_name, moved.is_folder)?;
        }
        self.entries_mut(from_folder)?.remove(from_name);
        self.entries_mut(to_folder)?.insert(to_name.to_owned(), id);
        if let Node::Folder { parent, .. } = &mut self.nodes[id] {
            *parent = to_folder;
        }
        Ok(())
    }

    /// Names and kinds of a folder's entries: `.`, `..`, then the others in order of name.
    pub fn list(&self, at: NodeId) -> Result<Vec<(String, Stat)>, Errno> {
        let Node::Folder { parent, entries } = &self.nodes[at] else { return Err(errno::NOTDIR) };
        let dots = [(".".to_owned(), self.stat(at)), ("..".to_owned(), self.stat(*parent))];
        Ok(dots.into_iter().chain(entries.iter().map(|(name, id)| (name.clone(), self.stat(*id)))).collect())
    }

    /// The content of a file; an error for a folder or a device.
    pub fn bytes(&self, node: NodeId) -> Result<&[u8], Errno> {
        match &self.nodes[node] {
            Node::Folder { .. } => Err(errno::ISDIR),
            Node::Device(_) => Err(errno::SPIPE),
            Node::Shared(bytes) => Ok(bytes.as_ref().as_ref()),
            Node::Own(bytes) | Node::Gone(bytes) => Ok(bytes),
        }
    }

    /// Whether the program may write to a node.
    pub fn is_writable(&self, node: NodeId) -> bool {
        matches!(self.nodes[node], Node::Own(_) | Node::Gone(_))
    }

    /// Writes `data` at a byte position. A gap between the end of the file and the position is filled with zeros.
    pub fn write_at(&mut self, node: NodeId, position: u64, data: &[u8]) -> Result<(), Errno> {
        let end = position.checked_add(data.len() as u64).ok_or(errno::FBIG)?;
        if end > self.stat(node).size {
            self.resize(node, end)?;
        }
        let (Node::Own(bytes) | Node::Gone(bytes)) = &mut self.nodes[node] else { return Err(errno::ROFS) };
        // The file has at least `end` bytes, so both positions fit a usize.
        bytes[position as usize..end as usize].copy_from_slice(data);
        Ok(())
    }

    /// Truncates a file, or extends it with zeros, to `size` bytes.
    pub fn resize(&mut self, node: NodeId, size: u64) -> Result<(), Errno> {
        if !self.is_writable(node) {
            return Err(errno::ROFS);
        }
        let old = self.stat(node).size;
        if size > old {
            self.charge(size - old)?;
        } else {
            self.used = self.used.saturating_sub(old - size);
        }
        let (Node::Own(bytes) | Node::Gone(bytes)) = &mut self.nodes[node] else { return Err(errno::ROFS) };
        bytes.resize(usize::try_from(size).map_err(|_| errno::FBIG)?, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let mut files = Files::new(1 << 20);
        files.make_folders("/a/b").unwrap();
        files.write("/a/b/c", b"x".to_vec()).unwrap();
        for path in ["a/b/c", "/a/b/c", "../../../a/b/c", "a/./b/../b/c", "/../a//b/c"] {
            let id = files.resolve(ROOT, path).unwrap();
            assert_eq!(files.bytes(id).unwrap(), b"x", "{path}");
        }
        assert_eq!(files.resolve(ROOT, "a/b/c/"), Err(errno::NOTDIR));
        assert_eq!(files.resolve(ROOT, "a/b/c/.."), Err(errno::NOTDIR));
        assert_eq!(files.resolve(ROOT, "etc/passwd"), Err(errno::NOENT));
    }

    #[test]
    fn the_disk_is_full_at_its_limit() {
        let mut files = Files::new(10_000);
        let (id, made) = files.create(ROOT, "f").unwrap();
        assert!(made);
        files.write_at(id, 0, &[1; 8000]).unwrap();
        assert_eq!(files.write_at(id, 8000, &[1; 4000]), Err(errno::NOSPC));
        assert_eq!(files.write_at(id, u64::MAX, &[1]), Err(errno::FBIG));
        assert_eq!(files.resize(id, 1 << 40), Err(errno::NOSPC));
        files.resize(id, 0).unwrap();
        files.write_at(id, 4000, &[1; 4000]).unwrap();
        assert_eq!(files.bytes(id).unwrap()[..4000], [0; 4000]);
        let made = (0..1000).take_while(|i| files.make_folder(ROOT, &format!("d{i}")).is_ok()).count();
        assert!(made < 20, "{made} folders of {NODE_BYTES} bytes each");
    }

    #[test]
    fn rename_and_remove() {
        let mut files = Files::new(1 << 20);
        files.make_folders("/a/b").unwrap();
        files.write("/a/f", b"1".to_vec()).unwrap();
        files.write("/a/g", b"2".to_vec()).unwrap();
        assert_eq!(files.rename(ROOT, "a", ROOT, "a/b/a"), Err(errno::INVAL));
        // The refused move leaves the empty folder at its target.
        assert_eq!(files.rename(ROOT, "a", ROOT, "a/b"), Err(errno::INVAL));
        assert!(files.stat(files.resolve(ROOT, "a/b").unwrap()).is_folder);
        files.rename(ROOT, "a/f", ROOT, "a/b/g").unwrap();
        files.rename(ROOT, "a/g", ROOT, "a/b/g").unwrap();
        assert_eq!(files.read("/a/b/g").unwrap(), b"2");
        assert_eq!(files.remove(ROOT, "a/b", true), Err(errno::NOTEMPTY));
        assert_eq!(files.remove(ROOT, "a/b", false), Err(errno::ISDIR));
        files.rename(ROOT, "a/b", ROOT, "c").unwrap();
        files.remove(ROOT, "c/g", false).unwrap();
        files.remove(ROOT, "c/../c", true).unwrap();
        assert_eq!(files.list(ROOT).unwrap().len(), 3);
        files.share("/lib/z", Arc::new(b"zip".to_vec())).unwrap();
        assert_eq!(files.remove(ROOT, "lib/z", false), Err(errno::ROFS));
        let id = files.resolve(ROOT, "lib/z").unwrap();
        assert_eq!(files.write_at(id, 0, b"no"), Err(errno::ROFS));
    }
}
