//! What this machine offers: its CPU, its memory bandwidth, and a CUDA device or the reason that there is none.

use std::time::Instant;

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

/// Bytes that each thread reads in a measurement: far more than its share of any cache.
const SPAN: usize = 128 << 20;

/// Bytes per second that `n_threads` can read from memory together: the best of three passes over fresh memory.
pub fn read_bandwidth(n_threads: usize) -> f64 {
    let spans: Vec<Vec<u64>> = (0..n_threads).map(|i| vec![i as u64 + 1; SPAN / 8]).collect();
    let pass = || {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for span in &spans {
                scope.spawn(move || {
                    std::hint::black_box(span.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)))
                });
            }
        });
        (n_threads * SPAN) as f64 / started.elapsed().as_secs_f64()
    };
    (0..3).map(|_| pass()).fold(0.0, f64::max)
}
