//! What this machine offers: its CPU and a CUDA device or the reason that there is none.

use super::{exit::Failure, output::note};
use halfwarp::backend::cpu::bandwidth;

/// Caches are faster than memory by more than this; two measurements of memory differ by less.
const FASTER: f64 = 1.25;

/// The CPU's name, where the system tells it.
pub fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Cores that this process may use.
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes a second that so many threads read from memory.
pub fn read_bandwidth(n_threads: usize) -> Result<f64, Failure> {
    measure(n_threads, bandwidth::MEMORY_BYTES)
}

/// Whether threads that read `memory_rate` bytes a second from memory find `n_bytes` in the caches: what they read again and again is
/// there faster then.
pub fn fits_in_cache(n_threads: usize, n_bytes: u64, memory_rate: f64) -> Result<bool, Failure> {
    match usize::try_from(n_bytes) {
        Ok(n_bytes) if n_bytes < bandwidth::MEMORY_BYTES => {
            Ok(measure(n_threads, n_bytes)? > FASTER * memory_rate)
        }
        _ => Ok(false),
    }
}

fn measure(n_threads: usize, n_bytes: usize) -> Result<f64, Failure> {
    // At least three walks, and as many as a fiftieth of a second allows.
    let n_times = (bandwidth::MEMORY_BYTES / n_bytes.max(1)).clamp(3, 50);
    let rate = bandwidth::read_bandwidth(n_threads, n_bytes, n_times);
    rate.map_err(|error| Failure::because("no memory to measure how fast it is", error))
}

/// Says so where there are more threads than cores.
pub fn note_threads(n_threads: usize) {
    let n_cores = n_cores();
    if n_threads > n_cores {
        note(format_args!("warning: {n_threads} threads on {n_cores} cores are no faster than {n_cores}"));
    }
}

/// Vector instructions that the CPU has, of those that matter to inference.
pub fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    macro_rules! detect {
        ($detected:ident: $($name:tt)*) => {
            $(if std::arch::$detected!($name) { features.push($name) })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    detect!(is_x86_feature_detected: "sse4.1" "avx" "f16c" "fma" "avx2" "avx512f" "avx512bw" "avx512fp16" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    detect!(is_aarch64_feature_detected: "neon" "fp16" "fhm" "dotprod" "bf16" "sve");
    features
}
