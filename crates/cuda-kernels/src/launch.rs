//! A launch: a kernel's name, how many blocks of how many threads, and its arguments.

/// The type of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit
    F32,
    /// bfloat16
    Bf16,
}

impl Element {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// The name in a kernel's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of an element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Elements in 16 bytes, which a thread reads at once.
    pub(crate) fn widest(self) -> i64 {
        16 / self.bytes() as i64
    }
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer to the GPU's memory; 0 is null.
    Address(u64),
    /// A 64-bit integer.
    Long(i64),
    /// A 32-bit float.
    Float(f32),
}

impl Argument {
    /// Its bytes, the first ones of 8.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Address(address) => address,
            Self::Long(number) => number.cast_unsigned(),
            // The bytes of a float stand first on a little-endian machine, which every machine with CUDA is.
            Self::Float(number) => u64::from(number.to_bits()),
        }
    }
}

/// One launch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The kernel.
    pub kernel: String,
    /// Blocks, in two directions.
    pub grid: [u32; 2],
    /// Threads of a block, in two directions.
    pub block: [u32; 2],
    /// Arguments, in the kernel's order.
    pub arguments: Vec<Argument>,
}

/// What a launch may take of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blocks of a kernel whose blocks go on to further rows. Enough to keep every multiprocessor busy.
    pub blocks: u32,
}

impl Limits {
    /// For a GPU of so many multiprocessors: 16 blocks of 128 threads fill one.
    #[must_use]
    pub fn of(multiprocessors: u32) -> Self {
        Self { blocks: multiprocessors.max(1) * 16 }
    }

    /// Blocks for `count` pieces of work: one each up to the limit.
    pub(crate) fn blocks_for(self, count: i64) -> u32 {
        u32::try_from(count).unwrap_or(u32::MAX).min(self.blocks)
    }
}
