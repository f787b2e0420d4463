//! Whether there is a CUDA device: every way in which there is none gets a sentence, and nothing panics.

use super::images;
use cudarc::driver::{CudaContext, sys};

/// The oldest driver that loads the kernels: CUDA 12.0, the 525 line.
const MIN_DRIVER: i32 = 12000;

/// The least architecture that the kernels are for.
const MIN_ARCH: i32 = 75;

/// What this backend calls; a library that lacks one of them is not a driver, or too old.
const FUNCTIONS: [&str; 8] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDevicePrimaryCtxRetain",
    "cuModuleLoadDataEx",
    "cuLaunchKernelEx",
    "cuStreamBeginCapture_v2",
    "cuGraphInstantiateWithFlags",
];

/// The device with number `ordinal`, for people, if it can run the kernels; else why not.
pub fn probe(ordinal: usize) -> Result<String, String> {
    // SAFETY: opens the driver's library and closes it again; libcuda allows that.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver is installed (libcuda.so.1 was not found)".into());
    }
    for name in FUNCTIONS {
        // SAFETY: the symbol is only looked up, not called.
        if unsafe { sys::culib().get::<unsafe extern "C" fn()>(name) }.is_err() {
            return Err(format!("libcuda lacks {name}: expected an NVIDIA driver, 525 or newer"));
        }
    }
    ask(ordinal)
}

fn ask(ordinal: usize) -> Result<String, String> {
    // SAFETY: the first call to the driver, as it wants it.
    let code = unsafe { sys::cuInit(0) };
    if code != sys::CUresult::CUDA_SUCCESS {
        return Err(initialisation(code));
    }
    let mut version = 0;
    // SAFETY: writes one integer.
    let code = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    if code != sys::CUresult::CUDA_SUCCESS || version < MIN_DRIVER {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(format!("the driver supports CUDA {major}.{minor}, expected 12.0 or newer (driver 525)"));
    }
    let n_devices = CudaContext::device_count().unwrap_or(0);
    if ordinal >= n_devices as usize {
        return Err(match n_devices {
            0 => "the driver lists no device (CUDA_VISIBLE_DEVICES may hide it)".into(),
            1 => format!("there is no device {ordinal}: the only one is 0"),
            n => format!("there is no device {ordinal}: they are 0 to {}", n - 1),
        });
    }
    let (name, arch) =
        describe(ordinal).ok_or_else(|| format!("device {ordinal} does not say what it is"))?;
    let capability = format!("{}.{}", arch / 10, arch % 10);
    if arch < MIN_ARCH {
        return Err(format!(
            "device {ordinal}, {name}, has compute capability {capability}, expected 7.5 or newer: the kernels are {}",
            images::built_for()
        ));
    }
    let (major, minor) = (version / 1000, version % 1000 / 10);
    Ok(format!("{name}, compute capability {capability}, driver for CUDA {major}.{minor}"))
}

/// Name and architecture, as 10 * major + minor.
fn describe(ordinal: usize) -> Option<(String, i32)> {
    use cudarc::driver::result::device;
    use sys::CUdevice_attribute as A;
    let handle = device::get(ordinal as i32).ok()?;
    // SAFETY: the handle is that of a device.
    let of = |which| unsafe { device::get_attribute(handle, which) }.ok();
    let major = of(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let arch = 10 * major + of(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Some((device::get_name(handle).ok()?, arch))
}

fn initialisation(code: sys::CUresult) -> String {
    use sys::CUresult as R;
    match code {
        R::CUDA_ERROR_NO_DEVICE => "the driver finds no device".into(),
        R::CUDA_ERROR_STUB_LIBRARY => {
            "libcuda is the toolkit's stub, not the driver: take its `stubs` folder out of LD_LIBRARY_PATH"
                .into()
        }
        R::CUDA_ERROR_OPERATING_SYSTEM => {
            "the driver cannot reach its kernel module (is /dev/nvidia0 there?)".into()
        }
        R::CUDA_ERROR_SYSTEM_NOT_READY => "the driver is not ready (is the fabric manager running?)".into(),
        R::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "libcuda and the kernel module are of different versions: restart after a driver update".into()
        }
        R::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "the forward-compatibility libcuda does not support this device".into()
        }
        other => format!("the driver cannot be initialised: {other:?}"),
    }
}
