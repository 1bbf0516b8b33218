//! A set of 64-bit hashes: a sorted list with an index of the upper bits.

/// Hash of the empty text (FNV-1a).
pub(super) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Extends a hash by one byte. Hosts are hashed from their end, so that the hash of every suffix is an intermediate value.
#[inline]
pub(super) fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The hash of a host, from its last byte to its first.
pub(super) fn host(host: &str) -> u64 {
    host.bytes().rev().fold(START, step)
}

/// Mixes all bits of an FNV hash into the upper bits (the finaliser of MurmurHash3).
#[inline]
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A sorted set of hashes. `starts` holds the index of the first hash for each value of the upper bits. There are about four
/// hashes per value, so a look-up reads two places in memory.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    sorted: Vec<u64>,
    starts: Vec<u32>,
    shift: u32,
}

impl Hashes {
    /// Builds the set from hashes of [`host`] or [`Hashes::path`]. Also returns the number of duplicates.
    pub fn build(mut hashes: Vec<u64>) -> (Self, usize) {
        hashes.iter_mut().for_each(|hash| *hash = mix(*hash));
        hashes.sort_unstable();
        let given = hashes.len();
        hashes.dedup();
        hashes.shrink_to_fit();
        if hashes.is_empty() {
            return (Self::default(), given);
        }
        let bits = (hashes.len() as u64 / 4).next_power_of_two().trailing_zeros().clamp(1, 28);
        let shift = 64 - bits;
        let mut starts = vec![0u32; (1 << bits) + 1];
        for hash in &hashes {
            starts[(hash >> shift) as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let doubles = given - hashes.len();
        (Self { sorted: hashes, starts, shift }, doubles)
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.sorted.len() * 8 + self.starts.len() * 4
    }

    /// Whether the set contains this hash (before mixing).
    #[inline]
    pub fn contains(&self, hash: u64) -> bool {
        if self.sorted.is_empty() {
            return false;
        }
        let hash = mix(hash);
        let bucket = (hash >> self.shift) as usize;
        let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        self.sorted[from..to].contains(&hash)
    }

    /// The hash of a host with a path.
    pub fn path(host: &str, path: &str) -> u64 {
        path.bytes().fold(self::host(host), step)
    }

    /// The longest prefix of `path`, ending at a slash or at its end, that the set contains together with the host, with or
    /// without `www.`.
    pub fn find_path(&self, host: &str, path: &str) -> Option<String> {
        if self.sorted.is_empty() || path.is_empty() {
            return None;
        }
        [host, host.strip_prefix("www.").unwrap_or(host)].into_iter().find_map(|host| {
            let mut hash = self::host(host);
            let mut found = None;
            for (at, byte) in path.bytes().enumerate() {
                if byte == b'/' && at > 0 && self.contains(hash) {
                    found = Some(at);
                }
                hash = step(hash, byte);
            }
            if self.contains(hash) {
                found = Some(path.len());
            }
            found.map(|end| format!("{host}{}", &path[..end]))
        })
    }
}
