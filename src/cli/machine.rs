//! What this machine offers: its CPU and a CUDA device or the reason that there is none.

use super::exit::Failure;
use halfwarp::backend::cpu::bandwidth;

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
    let rate = bandwidth::read_bandwidth(n_threads, 3);
    rate.map_err(|error| Failure::because("no memory to measure how fast it is", error))
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
