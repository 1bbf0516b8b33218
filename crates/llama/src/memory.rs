//! Memory limit of the KV cache.

use tch::{Device, Kind};

use crate::config::LlamaConfig;

/// Assumed limit in bytes if the system does not report the free memory.
const OTHERWISE: u64 = 4 << 30;

/// Bytes of the keys and values of one token, over all layers.
pub(crate) fn token_bytes(config: &LlamaConfig, kind: Kind) -> u64 {
    let numbers = 2 * config.num_hidden_layers as u64 * (config.num_key_value_heads * config.head_dim) as u64;
    numbers * kind.elt_size_in_bytes() as u64
}

/// Maximal size of a KV cache in bytes: half of the host memory that is free now, or four fifths of a GPU's free memory.
pub(crate) fn for_cache(device: Device) -> u64 {
    if let Device::Cuda(index) = device {
        let free = torch_ext::gpu_memory_free(i32::try_from(index).unwrap_or(0));
        return free.map_or(OTHERWISE, |free| free / 5 * 4);
    }
    if device != Device::Cpu {
        return OTHERWISE;
    }
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = available.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or(OTHERWISE, |kilobytes| kilobytes * 1024 / 2)
}
