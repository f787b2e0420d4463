//! The devices that a model can be put on, and the choice among them.

use super::{Backend, Result, cpu::CpuBackend};
use crate::Weights;
use std::{ops::ControlFlow, str::FromStr, sync::Arc};

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The best there is.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().map(Self::Cuda).map_err(|_| format!("{n:?} is not a device number"));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:") {
                Some(n) => number(n),
                None => Err(format!("{text:?} is not a device: expected auto, cpu, cuda or cuda:N")),
            },
        }
    }
}

/// What hears how far a copy to a device is: the bytes that are there, and those in all. It can end the loading.
pub type Progress<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// Where and how [`open`] puts a model.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The device.
    pub device: Device,
    /// Threads of the CPU; `None` takes one per core.
    pub threads: Option<usize>,
    /// Tokens that the KV cache will hold.
    pub n_cache: usize,
}

/// Puts `weights` on a device. `Device::Auto` takes CUDA device 0 if it can run the model, and the CPU else. `progress` is called
/// with the bytes that are on the device and those in all; where it breaks off, the loading ends.
pub fn open(
    weights: Arc<Weights>,
    options: OpenOptions,
    progress: &mut Progress,
) -> Result<Box<dyn Backend>> {
    let cpu = |weights| Box::new(CpuBackend::new(weights, options.threads));
    match options.device {
        Device::Cpu => Ok(cpu(weights)),
        Device::Cuda(ordinal) => open_cuda(ordinal, &weights, options.n_cache, progress),
        Device::Auto => match cuda_device(0) {
            Ok(_) => open_cuda(0, &weights, options.n_cache, progress),
            Err(_) => Ok(cpu(weights)),
        },
    }
}

/// CUDA device `ordinal`, for people, if it can be used; else why not.
pub fn cuda_device(ordinal: usize) -> Result<String, String> {
    #[cfg(feature = "cuda")]
    return super::cuda::probe(ordinal);
    #[cfg(not(feature = "cuda"))]
    Err(format!("device {ordinal} was asked for, and this build has no CUDA backend (cargo feature `cuda`)"))
}

#[cfg(feature = "cuda")]
fn open_cuda(
    ordinal: usize,
    weights: &Weights,
    n_cache: usize,
    progress: &mut Progress,
) -> Result<Box<dyn Backend>> {
    Ok(Box::new(super::cuda::CudaBackend::open(ordinal, weights, n_cache, progress)?))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(ordinal: usize, _: &Weights, _: usize, _: &mut Progress) -> Result<Box<dyn Backend>> {
    Err(super::BackendError::NoCuda { reason: cuda_device(ordinal).err().unwrap_or_default() })
}
