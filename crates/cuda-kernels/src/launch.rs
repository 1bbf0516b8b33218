//! A kernel launch: the kernel's name, grid and block sizes, and arguments.

/// The element type of the tensors of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// float32
    F32,
    /// bfloat16
    Bf16,
}

impl Element {
    /// Both types.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// The suffix in a kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Size of an element in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Elements in 16 bytes, the widest access of a thread.
    pub(crate) fn widest(self) -> i64 {
        16 / self.bytes() as i64
    }
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer to memory of the GPU (or of the emulation); 0 is null.
    Address(u64),
    /// A 64-bit integer.
    Long(i64),
    /// A 32-bit float.
    Float(f32),
}

impl Argument {
    /// The argument's bytes: the first 8 or 4 bytes of the result in memory.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Address(address) => address,
            Self::Long(number) => number.cast_unsigned(),
            // On a little-endian machine, as every machine with CUDA is, the 4 bytes of the float come first.
            Self::Float(number) => u64::from(number.to_bits()),
        }
    }
}

/// One launch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Name of the kernel, with the suffix of the element type.
    pub kernel: String,
    /// Number of blocks, x and y.
    pub grid: [u32; 2],
    /// Threads per block, x and y.
    pub block: [u32; 2],
    /// Arguments, in the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
}

/// Limits of the launches on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most blocks of a launch whose blocks loop over rows. Enough to keep every multiprocessor busy.
    pub blocks: u32,
}

impl Limits {
    /// Limits for a GPU with this number of multiprocessors: 16 blocks each, because 16 blocks of 128 threads fill one.
    #[must_use]
    pub fn of(multiprocessors: u32) -> Self {
        Self { blocks: multiprocessors.max(1) * 16 }
    }

    /// Number of blocks for `count` units of work: one per unit, up to the limit.
    pub(crate) fn blocks_for(self, count: i64) -> u32 {
        u32::try_from(count).unwrap_or(u32::MAX).min(self.blocks)
    }
}
