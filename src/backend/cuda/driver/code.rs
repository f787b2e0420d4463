//! [`Module`] and [`Kernel`]: loaded code.

use super::failed;
use crate::{backend::Result, backend::cuda::images::Image};
use cudarc::driver::{CudaContext, result, sys};
use std::{
    ffi::{CString, c_char, c_void},
    ptr,
    sync::Arc,
};

/// Loaded code; it stays loaded as long as one of its kernels lives.
#[derive(Clone, Debug)]
pub struct Module(pub(super) Arc<Loaded>);

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) handle: sys::CUmodule,
    pub(super) image: &'static Image,
    pub(super) context: Arc<CudaContext>,
}

impl Module {
    /// Which code it is.
    pub fn image(&self) -> &'static Image {
        self.0.image
    }

    /// The kernel `name`, allowed `shared` bytes of dynamic shared memory.
    pub fn kernel(&self, name: &'static str, shared: u32) -> Result<Kernel> {
        let c_name = CString::new(name).expect("names of kernels have no NUL");
        // SAFETY: the module is loaded.
        let handle = unsafe { result::module::get_function(self.0.handle, c_name) }
            .map_err(failed(format!("finding kernel {name} in {}", self.0.image.file)))?;
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // Above 48 KiB a kernel has to ask.
        if shared > 48 * 1024 {
            // SAFETY: the function was just found.
            unsafe { result::function::set_function_attribute(handle, attribute, shared as i32) }
                .map_err(failed(format!("giving {name} {shared} bytes of shared memory")))?;
        }
        Ok(Kernel { handle, name, module: self.clone() })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: every kernel of this module holds it, so that none is left.
        let _ = unsafe { result::module::unload(self.handle) };
    }
}

/// A kernel of a [`Module`].
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(super) handle: sys::CUfunction,
    pub(super) name: &'static str,
    module: Module,
}

impl Kernel {
    /// Compiled for sm_90 or newer: it waits for the kernel before it by an instruction.
    pub(super) fn may_overlap(&self) -> bool {
        self.module.0.image.arch >= 90
    }
}

// SAFETY: the driver's handles may be used from any thread that the context is bound to, which `Gpu::bind` does; neither of
// these has state of its own that a call through `&self` would change.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}
// SAFETY: as above.
unsafe impl Send for Kernel {}

/// Loads an image; the error carries the log of the driver's compiler.
pub(super) fn load_image(image: &Image) -> Result<sys::CUmodule> {
    use sys::CUjit_option_enum as Option;
    let mut log = [0u8; 2048];
    let mut options = [Option::CU_JIT_ERROR_LOG_BUFFER, Option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(log.len())];
    let mut handle = ptr::null_mut();
    // SAFETY: the image is whole and, being PTX, ends in a NUL; the log and its length are described by the options.
    let code = unsafe {
        let bytes = image.bytes.as_ptr().cast();
        sys::cuModuleLoadDataEx(&raw mut handle, bytes, 2, options.as_mut_ptr(), values.as_mut_ptr())
    };
    code.result().map_err(|error| {
        let kind = if image.is_ptx { "PTX" } else { "machine code" };
        let log: Vec<u8> = log.into_iter().take_while(|&b| b as c_char != 0).collect();
        let log = String::from_utf8_lossy(&log);
        failed(format!("loading {} ({kind} for sm_{}) {log}", image.file, image.arch))(error)
    })?;
    Ok(handle)
}
