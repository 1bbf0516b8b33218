//! Kinds of GPU, from their data sheets.

use anyhow::bail;
use serde::Serialize;

/// A kind of GPU in its usual machine. Rates are those of the data sheets; real programs reach less, which the efficiency of the
/// calculation accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gpu {
    /// The name in `--gpu`.
    pub name: &'static str,
    /// A description of the kind.
    pub about: &'static str,
    /// Peak rate in bfloat16 with float32 accumulation, without sparsity, in operations per second.
    pub peak: f64,
    /// Memory in bytes. The data sheet's GB are taken as 10^9; drivers report up to 7% more.
    pub memory: f64,
    /// Memory bandwidth in bytes per second.
    pub memory_rate: f64,
    /// Bandwidth to the other GPUs of the machine, in bytes per second and direction.
    pub link: f64,
    /// Bandwidth to other machines, in bytes per second and direction, for each GPU.
    pub network: f64,
    /// Number of GPUs in a machine.
    pub per_machine: u32,
}

const G: f64 = 1e9;
const T: f64 = 1e12;

/// The known kinds. The network is 400 Gb/s for each GPU of DGX-like machines (as in the paper's clusters), and 100 Gb/s shared by eight
/// for cards.
pub const GPUS: [Gpu; 8] = [
    Gpu {
        name: "h100",
        about: "H100 SXM5 80 GB, NVLink 4",
        peak: 989.4 * T,
        memory: 80.0 * G,
        memory_rate: 3.35 * T,
        link: 450.0 * G,
        network: 50.0 * G,
        per_machine: 8,
    },
    Gpu {
        name: "h200",
        about: "H200 SXM 141 GB, NVLink 4",
        peak: 989.4 * T,
        memory: 141.0 * G,
        memory_rate: 4.8 * T,
        link: 450.0 * G,
        network: 50.0 * G,
        per_machine: 8,
    },
    Gpu {
        name: "b200",
        about: "B200 180 GB (DGX), NVLink 5",
        peak: 2_250.0 * T,
        memory: 180.0 * G,
        memory_rate: 8.0 * T,
        link: 900.0 * G,
        network: 50.0 * G,
        per_machine: 8,
    },
    Gpu {
        name: "a100-80",
        about: "A100 SXM4 80 GB, NVLink 3",
        peak: 312.0 * T,
        memory: 80.0 * G,
        memory_rate: 2.039 * T,
        link: 300.0 * G,
        network: 25.0 * G,
        per_machine: 8,
    },
    Gpu {
        name: "a100-40",
        about: "A100 SXM4 40 GB, NVLink 3",
        peak: 312.0 * T,
        memory: 40.0 * G,
        memory_rate: 1.555 * T,
        link: 300.0 * G,
        network: 25.0 * G,
        per_machine: 8,
    },
    Gpu {
        name: "h100-pcie",
        about: "H100 PCIe 80 GB, PCIe 5.0 x16",
        peak: 756.0 * T,
        memory: 80.0 * G,
        memory_rate: 2.0 * T,
        link: 64.0 * G,
        network: 1.6 * G,
        per_machine: 8,
    },
    Gpu {
        name: "l40s",
        about: "L40S 48 GB, PCIe 4.0 x16",
        peak: 362.0 * T,
        memory: 48.0 * G,
        memory_rate: 0.864 * T,
        link: 32.0 * G,
        network: 1.6 * G,
        per_machine: 8,
    },
    Gpu {
        name: "rtx4090",
        about: "GeForce RTX 4090 24 GB, PCIe 4.0 x16",
        peak: 165.2 * T,
        memory: 24.0 * G,
        memory_rate: 1.008 * T,
        link: 32.0 * G,
        network: 1.6 * G,
        per_machine: 8,
    },
];

impl Gpu {
    /// Finds a kind by name.
    ///
    /// # Errors
    /// When the name is unknown; the error lists the known names.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        match GPUS.into_iter().find(|gpu| gpu.name == name) {
            Some(gpu) => Ok(gpu),
            None => {
                let names = GPUS.map(|gpu| gpu.name).join(", ");
                bail!("--gpu {name} is not known; known are {names}")
            }
        }
    }

    /// Bandwidth of each member of a group of `size` GPUs that are `stride` apart, in bytes per second and direction. A group within a
    /// machine uses its links. A group across machines uses the network of all its members in a machine.
    #[must_use]
    pub fn rate(&self, size: u32, stride: u32) -> f64 {
        if size.saturating_mul(stride) <= self.per_machine {
            return self.link;
        }
        let here = (self.per_machine / stride.max(1)).clamp(1, size.max(1));
        self.link.min(self.network * f64::from(here))
    }

    /// Seconds in which a group all-gathers or reduce-scatters `bytes` in total.
    #[must_use]
    pub fn gather(&self, bytes: f64, size: u32, stride: u32) -> f64 {
        if size <= 1 {
            return 0.0;
        }
        let others = f64::from(size - 1) / f64::from(size);
        bytes * others / self.rate(size, stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_within_a_machine_use_its_links() {
        let gpu = Gpu::find("h100").unwrap();
        assert_eq!(gpu.rate(8, 1), 450e9);
        assert_eq!(gpu.rate(16, 1), 400e9);
        // In the paper's data-parallel groups each member has its own network card.
        assert_eq!(gpu.rate(64, 128), 50e9);
        assert_eq!(gpu.rate(16, 8), 50e9);
        assert_eq!(gpu.gather(100e9, 1, 1), 0.0);
        assert_eq!(gpu.gather(100e9, 2, 8), 1.0);
    }
}
