//! All processes of a run, with checked collectives.

use std::cell::Cell;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::alive::{self, Failure, Pulse, explain, tell_end};
use crate::error::Error;
use crate::group::{Group, Work};
use crate::place::{Address, Place};
use crate::store::Store;

/// All processes of a run, from the view of one. Every collective has a name, and every rank must call the same ones in the same order.
/// If one does not, all ranks get an error with both names.
pub struct World {
    rank: usize,
    size: usize,
    local_rank: usize,
    members: Option<Members>,
}

struct Members {
    // The fields are dropped in this order.
    _pulse: Pulse,
    gloo: Group,
    nccl: Option<Group>,
    store: Store,
    /// A spare connection for the end, because connecting to a machine that is gone takes long.
    spare: Cell<Option<Store>>,
    /// The rank that holds the store.
    holder: Option<usize>,
    limit: Duration,
    /// Number of collectives so far.
    entered: Cell<i64>,
    /// The time spent in collectives.
    waited: Cell<Duration>,
    /// Whether the group has failed; it cannot be used any more.
    broken: Cell<bool>,
}

/// The values that ranks compare before a collective: sequence number, operation, name, type, length, root.
struct Entry {
    operation: &'static str,
    kind: Option<Kind>,
    /// The number of elements; not compared if `free` is set.
    length: i64,
    free: bool,
    root: usize,
}

const NUMBERS: usize = 6;
/// The index of the length.
const LENGTH: usize = 4;
/// Bytes of a collective's description, for the message when two differ.
const DESCRIPTION: usize = 160;

impl World {
    /// A single process: collectives change nothing.
    #[must_use]
    pub fn single() -> Self {
        Self { rank: 0, size: 1, local_rank: 0, members: None }
    }

    /// Joins the processes of the environment ([`Place::from_env`]), or makes a single process. Waits for all of them.
    ///
    /// # Errors
    /// When variables are invalid, or when ranks do not arrive within `limit`, which is also the maximum time of a collective.
    pub fn from_env(limit: Duration) -> Result<Self, Error> {
        Place::from_env()?.map_or_else(|| Ok(Self::single()), |place| Self::join(place, limit))
    }

    /// Waits for the processes that meet at `place`.
    ///
    /// # Errors
    /// The same as [`World::from_env`].
    pub fn join(place: Place, limit: Duration) -> Result<Self, Error> {
        let Place { rank, size, local_rank, address, attempt } = place;
        if size == 1 {
            return Ok(Self::single());
        }
        // Writing to a process that is gone must return an error instead of killing this one.
        // SAFETY: changes how one signal is handled.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        let (store, listen, holder) = match address {
            Address::Tcp { host, port, serve } => {
                let (store, port) = Store::tcp(&host, port, serve, limit)?;
                let agent = std::env::var("TORCHELASTIC_USE_AGENT_STORE").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
                (store, own_address(&host, port), (!agent).then_some(0))
            }
            Address::File(path) => (Store::file(&path, size, limit)?, Some("127.0.0.1".to_owned()), None),
        };
        let store = store.prefix(&format!("herd/{attempt}"))?;
        store.set(&alive::host(rank), place_name().as_bytes())?;
        arrive(&store, size, limit)?;
        let pulse = Pulse::start(store.connection()?, rank)?;
        let group = store.prefix("gloo")?;
        let gloo = Group::gloo(&group, rank, size, listen.as_deref(), limit)
            .map_err(|error| Error::Join(format!("rank {rank} cannot connect to the other ranks: {error}")))?;
        let spare = Cell::new(Some(store.connection()?));
        let members = Members {
            _pulse: pulse,
            gloo,
            nccl: None,
            store,
            spare,
            holder,
            limit,
            entered: Cell::new(0),
            waited: Cell::new(Duration::ZERO),
            broken: Cell::new(false),
        };
        let world = Self { rank, size, local_rank, members: Some(members) };
        world.barrier("start")?;
        Ok(world)
    }

    /// Also makes a group for tensors on this process's GPU. This has not been run on a GPU yet.
    ///
    /// # Errors
    /// When NCCL reports an error.
    pub fn use_device(&mut self, device: Device) -> Result<(), Error> {
        if let (Some(members), Device::Cuda(index)) = (&mut self.members, device) {
            let store = members.store.prefix("nccl")?;
            members.nccl = Some(Group::nccl(&store, self.rank, self.size, index, members.limit)?);
        }
        Ok(())
    }

    /// The rank of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The rank of this process on its machine.
    #[must_use]
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Whether this process writes the files and the output.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Whether there is no other process.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.members.is_none()
    }

    /// The time that this process has spent in collectives so far: waiting for others, and exchanging.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.members.as_ref().map_or(Duration::ZERO, |members| members.waited.get())
    }

    /// The machine and process of each rank, for messages.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn places(&self) -> Result<Vec<String>, Error> {
        let places = self.gather_bytes("places", place_name().as_bytes())?;
        Ok(places.iter().map(|place| String::from_utf8_lossy(place).into_owned()).collect())
    }

    /// Waits until all ranks have called it.
    ///
    /// # Errors
    /// The errors of every collective: [`Error::Unequal`] when the ranks call different ones, [`Error::Lost`] when a process is gone,
    /// stopped or late.
    pub fn barrier(&self, name: &str) -> Result<(), Error> {
        self.enter(name, &Entry { operation: "barrier", kind: None, length: 0, free: false, root: 0 }).map(drop)
    }

    /// Sums a contiguous tensor over all ranks, in place and in the library's order.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn all_reduce(&self, name: &str, tensor: &mut Tensor) -> Result<(), Error> {
        let entry = entry("all_reduce", tensor, 0);
        self.with(name, &entry, tensor.device(), |group| group.all_reduce(tensor)?.wait())
    }

    /// Sums a contiguous tensor over all ranks in the library's order, in place on `root`; on the others its values are undefined
    /// afterwards.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn reduce(&self, name: &str, tensor: &mut Tensor, root: usize) -> Result<(), Error> {
        let entry = entry("reduce", tensor, root);
        self.with(name, &entry, tensor.device(), |group| group.reduce(tensor, root)?.wait())
    }

    /// Copies the contiguous tensor of `root` to all ranks.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn broadcast(&self, name: &str, tensor: &mut Tensor, root: usize) -> Result<(), Error> {
        let entry = entry("broadcast", tensor, root);
        self.with(name, &entry, tensor.device(), |group| group.broadcast(tensor, root)?.wait())
    }

    /// Copies each tensor from its rank to all ranks: `tensors[k]` from rank k. All copies run at once.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn broadcast_each(&self, name: &str, tensors: &mut [Tensor]) -> Result<(), Error> {
        let Some(first) = tensors.first() else { return Ok(()) };
        let lengths: Vec<i64> = tensors.iter().map(|tensor| tensor.numel() as i64).collect();
        let entry = Entry { length: digest(&lengths), ..entry("broadcast_each", first, 0) };
        let device = first.device();
        self.with(name, &entry, device, |group| {
            let some = tensors.iter_mut().enumerate().filter(|(_, tensor)| tensor.numel() > 0);
            let works: Vec<Work> =
                some.map(|(root, tensor)| group.broadcast(tensor, root)).collect::<Result<_, _>>()?;
            works.into_iter().try_for_each(Work::wait)
        })
    }

    /// The tensors `own` of all ranks, `[size, ...]`.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn all_gather(&self, name: &str, own: &Tensor) -> Result<Tensor, Error> {
        let own = own.contiguous();
        let mut shape = own.size();
        shape.insert(0, self.size as i64);
        let all = Tensor::zeros(&shape, (own.kind(), own.device()));
        if self.is_alone() {
            return Ok(own.unsqueeze(0));
        }
        let entry = entry("all_gather", &own, 0);
        self.with(name, &entry, own.device(), |group| group.all_gather(&mut all.view([-1]), &own.view([-1]))?.wait())?;
        Ok(all)
    }

    /// Every rank sends the first `lengths[0]` elements of `own` to rank 0, the next `lengths[1]` to rank 1, and so on. Returns the
    /// elements that this rank received, `[size, lengths[rank]]`, in the order of the ranks. `lengths` is the same on all ranks.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn exchange(&self, name: &str, own: &Tensor, lengths: &[i64]) -> Result<Tensor, Error> {
        let mine = lengths.get(self.rank).copied().unwrap_or_default();
        if self.is_alone() {
            return Ok(own.reshape([1, mine]));
        }
        let out = Tensor::empty([self.size as i64, mine], (own.kind(), own.device()));
        let entry = Entry { length: digest(lengths), ..entry("exchange", own, 0) };
        let from = vec![mine; self.size];
        self.with(name, &entry, own.device(), |group| {
            group.all_to_all(&mut out.view([-1]), own, &from, lengths)?.wait()
        })?;
        Ok(out)
    }

    /// Rank 0 gets `own` of all ranks, one after another in the order of the ranks; rank k has `lengths[k]` elements. The other
    /// ranks get an empty tensor.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn collect(&self, name: &str, own: &Tensor, lengths: &[i64]) -> Result<Tensor, Error> {
        if self.is_alone() {
            return Ok(own.shallow_clone());
        }
        let none = vec![0; self.size];
        let mut to = none.clone();
        to[0] = lengths.get(self.rank).copied().unwrap_or_default();
        let from = if self.is_first() { lengths.to_vec() } else { none };
        let mut out = Tensor::empty([from.iter().sum::<i64>()], (own.kind(), own.device()));
        let entry = Entry { length: digest(lengths), ..entry("collect", own, 0) };
        self.with(name, &entry, own.device(), |group| group.all_to_all(&mut out, own, &from, &to)?.wait())?;
        Ok(out)
    }

    /// The bytes of all ranks, whose lengths may differ.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn gather_bytes(&self, name: &str, own: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let Some(members) = &self.members else { return Ok(vec![own.to_vec()]) };
        let entry = Entry { operation: "gather_bytes", kind: None, length: own.len() as i64, free: true, root: 0 };
        let lengths = self.enter(name, &entry)?;
        let longest = lengths.iter().copied().max().unwrap_or_default();
        if longest == 0 {
            return Ok(vec![Vec::new(); self.size]);
        }
        let mut padded = own.to_vec();
        padded.resize(longest as usize, 0);
        let own = Tensor::from_slice(&padded);
        let _clock = Clock::start(&members.waited);
        let mut all = Tensor::zeros([longest * self.size as i64], (Kind::Uint8, Device::Cpu));
        let done = members.gloo.all_gather(&mut all, &own).and_then(Work::wait);
        done.map_err(|reason| self.lost(&entry, name, reason))?;
        let all = bytes_of(&all)?;
        let part = |(rank, length): (usize, &i64)| {
            let start = rank * longest as usize;
            all[start..start + *length as usize].to_vec()
        };
        Ok(lengths.iter().enumerate().map(part).collect())
    }

    /// The bytes of rank 0; those of the other ranks are ignored.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn share_bytes(&self, name: &str, own: &[u8]) -> Result<Vec<u8>, Error> {
        let own = if self.is_first() { own } else { &[] };
        Ok(self.gather_bytes(name, own)?.swap_remove(0))
    }

    /// The bitwise or of the flags of all ranks.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn any(&self, name: &str, flags: u32) -> Result<u32, Error> {
        if self.is_alone() {
            return Ok(flags);
        }
        let entry = Entry { operation: "any", kind: None, length: i64::from(flags), free: true, root: 0 };
        Ok(self.enter(name, &entry)?.into_iter().fold(0, |all, flags| all | flags as u32))
    }

    /// Fails if ranks were started with other values than rank 0. `own` has names and values, in the same order on all ranks.
    ///
    /// # Errors
    /// [`Error::Unequal`] on all ranks, with the rank, the name and both values.
    pub fn agree(&self, own: &[(String, String)]) -> Result<(), Error> {
        if self.is_alone() {
            return Ok(());
        }
        let text = serde_json::to_vec(own).map_err(|error| Error::Unequal(error.to_string()))?;
        let all = self.gather_bytes("configuration", &text)?;
        let read = |bytes: &Vec<u8>| serde_json::from_slice::<Vec<(String, String)>>(bytes);
        let first = read(&all[0]).map_err(|error| Error::Unequal(error.to_string()))?;
        for (rank, theirs) in all.iter().enumerate().skip(1) {
            let theirs = read(theirs).map_err(|error| Error::Unequal(error.to_string()))?;
            let other =
                first.iter().find(|pair| !theirs.contains(pair)).or(theirs.iter().find(|pair| !first.contains(pair)));
            let Some((name, _)) = other else { continue };
            let value = |all: &[(String, String)]| {
                all.iter().find(|(known, _)| known == name).map_or("nothing".to_owned(), |(_, value)| value.clone())
            };
            return Err(Error::Unequal(format!(
                "rank {rank} was started with another {name} than rank 0: {} instead of {}; start all ranks with the same \
                 command, files and version",
                value(&theirs),
                value(&first)
            )));
        }
        Ok(())
    }

    /// Tells the other ranks why this process fails. Must be called before it ends with an error.
    pub fn fail(&self, sentence: &str) {
        let Some(members) = &self.members else { return };
        members.broken.set(true);
        if let Some(store) = members.spare.take() {
            tell_end(store, (self.rank, self.size), members.holder == Some(self.rank), sentence);
        }
    }

    /// Must be called by all ranks when no collective follows; afterwards each may leave at any time.
    ///
    /// # Errors
    /// The same as [`World::barrier`].
    pub fn done(&self) -> Result<(), Error> {
        self.barrier("end")?;
        // If a connection closes while another rank still reads from it, that rank gets an error.
        self.count("done", true)
    }

    /// Must be called before this process ends successfully. The process that holds the store waits for the others.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn finish(self) -> Result<(), Error> {
        self.count("gone", self.members.as_ref().is_some_and(|members| members.holder == Some(self.rank)))
    }

    /// Counts this rank and, if required, waits until all are counted.
    fn count(&self, key: &str, waits: bool) -> Result<(), Error> {
        let Some(members) = &self.members else { return Ok(()) };
        let start = Instant::now();
        let mut count = members.store.add(key, 1)?;
        while waits && count < self.size as i64 && start.elapsed() < members.limit {
            std::thread::sleep(Duration::from_millis(2));
            count = members.store.add(key, 0)?;
        }
        Ok(())
    }

    /// Compares the collective across ranks, then runs it.
    fn with(
        &self,
        name: &str,
        entry: &Entry,
        device: Device,
        work: impl FnOnce(&Group) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(members) = &self.members else { return Ok(()) };
        self.enter(name, entry)?;
        let group = if device.is_cuda() { members.nccl.as_ref() } else { Some(&members.gloo) };
        let Some(group) = group else {
            return Err(Error::Refused(format!(
                "{} of a tensor on {device:?} without a group for it",
                entry.operation
            )));
        };
        let _no_grad = tch::no_grad_guard();
        let _clock = Clock::start(&members.waited);
        work(group).map_err(|reason| self.lost(entry, name, reason))
    }

    /// Compares the next collective across ranks; returns the lengths of all.
    fn enter(&self, name: &str, entry: &Entry) -> Result<Vec<i64>, Error> {
        let Some(members) = &self.members else { return Ok(vec![entry.length]) };
        if members.broken.get() {
            return Err(Error::Lost(format!("{} \"{name}\" after a collective that failed", entry.operation)));
        }
        let _clock = Clock::start(&members.waited);
        let number = members.entered.get() + 1;
        members.entered.set(number);
        let texts = |text: &str| digest(&text.bytes().map(i64::from).collect::<Vec<_>>());
        let kind = entry.kind.map_or(-1, |kind| kind as i64);
        let own: [i64; NUMBERS] = [number, texts(entry.operation), texts(name), kind, entry.length, entry.root as i64];
        let lost = |reason| self.lost(entry, name, reason);
        let all = gather(&members.gloo, self.size, &Tensor::from_slice(&own)).map_err(lost)?;
        let all = Vec::<i64>::try_from(&all).map_err(|error| Error::Refused(error.to_string()))?;
        // All ranks compare all rows with the first one, so that they reach the same result.
        let first = &all[..NUMBERS];
        let other =
            |row: &[i64], at: usize| row[at] != first[at] && !(at == LENGTH && entry.free && row[1] == first[1]);
        if all.chunks(NUMBERS).any(|row| (0..NUMBERS).any(|at| other(row, at))) {
            let mut description = self.place(entry, name).into_bytes();
            description.resize(DESCRIPTION, b' ');
            let all = gather(&members.gloo, self.size, &Tensor::from_slice(&description)).map_err(lost)?;
            members.broken.set(true);
            return Err(Error::Unequal(different(&bytes_of(&all)?)));
        }
        Ok(all.chunks(NUMBERS).map(|row| row[LENGTH]).collect())
    }

    /// Describes a collective for messages: `all_reduce 17 "loss" of 3 Float`.
    fn place(&self, entry: &Entry, name: &str) -> String {
        let number = self.members.as_ref().map_or(0, |members| members.entered.get());
        let of = match entry.kind {
            Some(kind) if entry.length >= 0 => format!(" of {} {kind:?}", entry.length),
            Some(kind) => format!(" of {kind:?}, layout {:x}", entry.length & 0xffff),
            None => String::new(),
        };
        let root = if entry.root > 0 { format!(", root {}", entry.root) } else { String::new() };
        format!("{} {number} \"{name}\"{of}{root}", entry.operation)
    }

    fn lost(&self, entry: &Entry, name: &str, reason: Error) -> Error {
        let Some(members) = &self.members else { return reason };
        members.broken.set(true);
        let failure = Failure {
            rank: self.rank,
            size: self.size,
            holder: members.holder,
            place: self.place(entry, name),
            limit: members.limit,
            reason,
        };
        let (error, store) = explain(members.spare.take(), failure);
        // The spare connection serves the last message.
        members.spare.set(store);
        error
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A rank that leaves early must not make the others wait; a failed one has told them already.
        if let Some(members) = &self.members
            && !members.broken.get()
            && std::thread::panicking()
            && let Some(store) = members.spare.take()
        {
            tell_end(store, (self.rank, self.size), members.holder == Some(self.rank), "it panicked");
        }
    }
}

fn entry(operation: &'static str, tensor: &Tensor, root: usize) -> Entry {
    Entry { operation, kind: Some(tensor.kind()), length: tensor.numel() as i64, free: false, root }
}

fn gather(group: &Group, size: usize, own: &Tensor) -> Result<Tensor, Error> {
    let mut all = Tensor::zeros([own.numel() as i64 * size as i64], (own.kind(), Device::Cpu));
    group.all_gather(&mut all, own)?.wait()?;
    Ok(all)
}

fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    Vec::<u8>::try_from(tensor).map_err(|error| Error::Refused(error.to_string()))
}

/// Groups the ranks by the descriptions of their collectives.
fn different(all: &[u8]) -> String {
    let mut places: Vec<(String, Vec<usize>)> = Vec::new();
    for (rank, place) in all.chunks(DESCRIPTION).enumerate() {
        let place = String::from_utf8_lossy(place).trim_end().to_owned();
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, ranks)) => ranks.push(rank),
            None => places.push((place, vec![rank])),
        }
    }
    let each = places.iter().map(|(place, ranks)| {
        let several = if ranks.len() > 1 { "ranks" } else { "rank" };
        let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
        format!("{several} {} in {place}", ranks.join(", "))
    });
    format!("the ranks do different work: {}", each.collect::<Vec<_>>().join("; "))
}

/// FNV-1a over numbers; the highest bit is set, so that it is never mistaken for a length.
fn digest(numbers: &[i64]) -> i64 {
    let step = |hash: u64, number: &i64| (hash ^ *number as u64).wrapping_mul(0x0000_0100_0000_01b3);
    (numbers.iter().fold(0xcbf2_9ce4_8422_2325, step) | 1 << 63) as i64
}

/// Waits until all ranks have arrived.
fn arrive(store: &Store, size: usize, limit: Duration) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let mut missing = Vec::new();
        for rank in 0..size {
            if !store.has(&alive::host(rank))? {
                missing.push(rank.to_string());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(Error::Join(format!(
                "of {size} ranks these have not come within {:.0} s: {}",
                limit.as_secs_f64(),
                missing.join(", ")
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The local address on the route to `host`; the host name may resolve to 127.0.1.1. `None` if the user names an interface.
fn own_address(host: &str, port: u16) -> Option<String> {
    if std::env::var_os("GLOO_SOCKET_IFNAME").is_some() {
        return None;
    }
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a UDP socket sends nothing; it only selects the route.
    socket.connect((host, port)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// The name of this machine and process.
fn place_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.map_or_else(|_| "unknown host".into(), |name| name.trim().to_owned());
    format!("{host}, process {}", std::process::id())
}

/// Measures the time until it is dropped.
struct Clock<'a> {
    sum: &'a Cell<Duration>,
    start: Instant,
}

impl<'a> Clock<'a> {
    fn start(sum: &'a Cell<Duration>) -> Self {
        Self { sum, start: Instant::now() }
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        self.sum.set(self.sum.get() + self.start.elapsed());
    }
}
