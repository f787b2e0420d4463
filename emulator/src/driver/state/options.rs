//! What users can set: environment variables, or the JSON of `cuda_emulator_reset`. Nothing else in the driver reads the environment.

use crate::driver::objects::code::{Code, Result};
use crate::{
    device::Device,
    machine::{Order, Settings},
};

/// What users can set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The device: `CUDA_EMULATOR_ARCH` (75, 80, 86, 89, 90, 100, 120; 90 if not set).
    pub arch: u32,
    /// Seed of the order of warps, blocks, streams and graph nodes: `CUDA_EMULATOR_SEED`. Without it the order is fixed.
    pub seed: Option<u64>,
    /// Random orders that each launch runs under, from the seed on, with its results compared: `CUDA_EMULATOR_SCHEDULES`.
    pub schedules: Option<u64>,
    /// Stores that are not ordered may be seen late, as this seed says: `CUDA_EMULATOR_WEAK`.
    pub weak: Option<u64>,
    /// Checks: `CUDA_EMULATOR_CHECK` (1; the checks interpret other values).
    pub check: Option<String>,
    /// Counters: `CUDA_EMULATOR_COUNTERS` (the file to write; `-` for standard error).
    pub counters: Option<String>,
    /// Cores: `CUDA_EMULATOR_THREADS` (1 if not set).
    pub threads: usize,
    /// Seed of the errors of approximate instructions: `CUDA_EMULATOR_JITTER`.
    pub jitter: Option<u64>,
    /// Instructions without progress until a launch counts as stuck: `CUDA_EMULATOR_PATIENCE`.
    pub patience: Option<u64>,
    /// The request for device memory, an allocation or an executable graph, that finds none, counted from 1:
    /// `CUDA_EMULATOR_OUT_OF_MEMORY`. Others go on as if nothing had been.
    pub out_of_memory: Option<u64>,
    /// The kernel that fails, as on a device that is lost, counted from 1: `CUDA_EMULATOR_LAUNCH_FAILURE`. So does every later
    /// call of its context.
    pub launch_failure: Option<u64>,
    /// The device has memory pools: `CUDA_EMULATOR_POOLS` (1 if not set; 0 makes programs take their other way).
    pub pools: bool,
    /// Report the findings when the process ends, which then exits with 99 if there are any: `CUDA_EMULATOR_REPORT`, set by
    /// the tool.
    pub report: bool,
    /// Say nothing on standard error when a kernel stops: `CUDA_EMULATOR_QUIET`.
    pub quiet: bool,
}

impl Options {
    /// From the environment.
    pub fn from_environment() -> Result<Options> {
        Options::from(|name| std::env::var(format!("CUDA_EMULATOR_{}", name.to_uppercase())).ok())
    }

    /// From a JSON object whose keys are the names above in lower case, without `CUDA_EMULATOR_`.
    pub fn from_json(text: &str) -> Result<Options> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|e| Code::INVALID_VALUE.because(format!("options {text:?} are not JSON: {e}")))?;
        Options::from(|name| match value.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Null => None,
            other => Some(other.to_string()),
        })
    }

    fn from(get: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let number = |name: &str| match get(name).filter(|v| !v.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Code::INVALID_VALUE.because(format!("option {name} is {text:?}, expected a number"))
            }),
        };
        let switch = |name: &str| get(name).filter(|v| !matches!(v.as_str(), "" | "0" | "false"));
        Ok(Options {
            arch: number("arch")?.unwrap_or(90) as u32,
            seed: number("seed")?,
            schedules: number("schedules")?.filter(|&k| k > 0),
            weak: number("weak")?,
            check: switch("check"),
            counters: switch("counters"),
            threads: number("threads")?.unwrap_or(1).clamp(1, 1024) as usize,
            jitter: number("jitter")?,
            patience: number("patience")?,
            out_of_memory: number("out_of_memory")?,
            launch_failure: number("launch_failure")?,
            pools: number("pools")? != Some(0),
            report: switch("report").is_some(),
            quiet: switch("quiet").is_some(),
        })
    }

    /// The device.
    pub fn device(&self) -> Result<Device> {
        Device::for_arch(self.arch).ok_or_else(|| {
            let known: Vec<u32> = Device::all().iter().map(Device::compute_capability).collect();
            Code::NO_DEVICE
                .because(format!("no device of architecture {}, expected one of {known:?}", self.arch))
        })
    }

    /// How the machine runs.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::new(self.device()?);
        settings.order = self.seed.map_or(Order::InOrder, Order::Random);
        settings.threads = self.threads;
        settings.jitter = self.jitter;
        settings.weak = self.weak;
        settings.patience = self.patience.unwrap_or(settings.patience);
        Ok(settings)
    }
}
