//! The CUDA driver: a device, its memory, its kernels and its graphs, as far as this backend needs them.
//!
//! Whatever uses a device is here, on top of cudarc; [`super::probe`] asks the driver what there is before. All work goes to one
//! stream, which orders it, so cudarc's tracking of events is off; those of [`Staging`] tell when pinned memory may change. Every
//! error says what was being done. Tested in `tests/cuda/`.

mod code;
mod mapped;
mod memory;
mod staging;

pub use code::{Kernel, Module};
pub use mapped::Mapped;
pub use memory::{Arg, Buffer};
pub use staging::Staging;

use super::images::{self, Image};
use crate::backend::{BackendError, Result};
use code::{Loaded, load_image};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use std::{ffi::c_void, marker::PhantomData, mem, ptr, sync::Arc};

/// A device with its one stream.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// 10 * major + minor.
    pub arch: u32,
    /// Streaming multiprocessors.
    pub n_sms: u32,
    /// Most shared memory of a block, in bytes.
    pub max_shared: u32,
    /// The driver captures launches that overlap.
    may_overlap: bool,
    /// The code that kernels are loaded from.
    images: &'static [Image],
}

/// The driver's error, with what was being done.
fn failed(what: impl Into<String>) -> impl FnOnce(DriverError) -> BackendError {
    // A text is made of it only if there is an error.
    move |error| {
        let what = what.into();
        // SAFETY: only reads; the driver is open, since it gave the error.
        let name = error.error_name().map_or("unknown error".into(), |n| n.to_string_lossy().into_owned());
        let text = error.error_string().map_or(String::new(), |t| t.to_string_lossy().into_owned());
        BackendError::Cuda {
            what,
            error: format!("{name} ({text})"),
            out_of_memory: error.0 == OUT_OF_MEMORY,
        }
    }
}

/// CUDA 12.3, whose driver captures launches that overlap.
const OVERLAPPING_GRAPHS: i32 = 12030;

const OUT_OF_MEMORY: sys::CUresult = sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;

impl Gpu {
    /// The device with number `ordinal`, which [`super::probe`] has found.
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = CudaContext::new(ordinal).map_err(failed(format!("opening device {ordinal}")))?;
        // SAFETY: nothing was allocated yet, and all work goes to the one stream below.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let attribute =
            |which| context.attribute(which).map_err(failed("asking for the device's attributes"));
        use sys::CUdevice_attribute as A;
        let arch = 10 * attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?
            + attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let n_sms = attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let max_shared = attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let mut version = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }
            .result()
            .map_err(|error| failed("asking for the driver's version")(error))?;
        Ok(Self {
            context,
            stream,
            arch: arch as u32,
            n_sms: n_sms as u32,
            max_shared: max_shared as u32,
            may_overlap: version >= OVERLAPPING_GRAPHS,
            images: images::IMAGES,
        })
    }

    /// The same device, with kernels from other code than that which is embedded.
    pub fn with_images(self, images: &'static [Image]) -> Self {
        Self { images, ..self }
    }

    /// The device's name.
    pub fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "CUDA device".into())
    }

    /// Free and total memory, in bytes.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.context.mem_get_info().map_err(failed("asking for free memory"))
    }

    /// Bytes a second of the memory, by its clock and width: two transfers a cycle. `None` where the driver does not say.
    pub fn peak_bandwidth(&self) -> Option<f64> {
        use sys::CUdevice_attribute as A;
        let kilohertz = self.context.attribute(A::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE).ok()?;
        let bits = self.context.attribute(A::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH).ok()?;
        let rate = 2.0 * f64::from(kilohertz) * 1e3 * f64::from(bits) / 8.0;
        (rate > 0.0).then_some(rate)
    }

    /// Makes the calling thread use this device; every call of [`super::CudaBackend`] begins with it.
    pub fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed("binding the context"))
    }

    /// Waits for everything that was asked of the device.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("waiting for the device"))
    }

    /// Memory for `len` elements, which holds anything.
    pub fn alloc<T: bytemuck::Pod>(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        let n_bytes = len.max(1) * size_of::<T>();
        // SAFETY: plain memory; the buffer owns it and is given out only with its length.
        let address = unsafe { result::malloc_sync(n_bytes) }.map_err(|error| match error.0 {
            OUT_OF_MEMORY => {
                let free = self.memory().map_or(0, |(free, _)| free);
                BackendError::DeviceMemory { what: what.into(), needed: n_bytes, free }
            }
            _ => failed(format!("allocating {n_bytes} bytes for {what}"))(error),
        })?;
        Ok(Buffer { address, len, context: self.context.clone(), element: PhantomData })
    }

    /// Memory for `len` elements, all zero.
    pub fn zeros<T: bytemuck::Pod>(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        let buffer = self.alloc(len, what)?;
        // SAFETY: the buffer holds as many bytes, and lives until the stream is done: it is dropped with a wait.
        unsafe { result::memset_d8_async(buffer.address, 0, buffer.n_bytes(), self.stream.cu_stream()) }
            .map_err(failed(format!("clearing {what}")))?;
        Ok(buffer)
    }

    /// A copy of `values` on the device.
    pub fn upload<T: bytemuck::Pod>(&self, values: &[T], what: &str) -> Result<Buffer<T>> {
        let mut buffer = self.alloc(values.len(), what)?;
        self.write(&mut buffer, 0, values)?;
        Ok(buffer)
    }

    /// Copies `values` to `buffer`, from element `at` on. They may be changed when this returns.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &mut Buffer<T>, at: usize, values: &[T]) -> Result<()> {
        assert!(at + values.len() <= buffer.len, "a copy of {} to {at} of {}", values.len(), buffer.len);
        let address = buffer.address + (at * size_of::<T>()) as u64;
        // SAFETY: the range is the buffer's, as asserted; a copy from pageable memory has read it when it returns.
        unsafe { result::memcpy_htod_async(address, values, self.stream.cu_stream()) }
            .map_err(failed("copying to the device"))
    }

    /// Slots for large copies to the device, of `len` bytes each.
    pub fn staging(&self, len: usize) -> Result<Staging> {
        Staging::new(self, len)
    }

    /// Copies pinned memory, which must not change before [`record_event`](Self::record_event)'s event is over.
    pub(super) fn write_pinned(&self, buffer: &mut Buffer<u8>, pinned: &[u8]) -> Result<()> {
        self.write(buffer, 0, pinned)
    }

    pub(super) fn record_event(&self, event: sys::CUevent) -> Result<()> {
        // SAFETY: event and stream live.
        unsafe { result::event::record(event, self.stream.cu_stream()) }.map_err(failed("recording an event"))
    }

    /// Copies elements `at ..` of `buffer` to `values`, and waits.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &Buffer<T>, at: usize, values: &mut [T]) -> Result<()> {
        assert!(at + values.len() <= buffer.len, "a copy of {} from {at} of {}", values.len(), buffer.len);
        let address = buffer.address + (at * size_of::<T>()) as u64;
        // SAFETY: the range is the buffer's, as asserted, and nothing else uses `values` until the wait below is over.
        unsafe { result::memcpy_dtoh_async(values, address, self.stream.cu_stream()) }
            .map_err(failed("copying from the device"))?;
        self.synchronize()
    }

    /// The code of `kernels/{file}.cu` for this device: the best image that its driver takes.
    pub fn load(&self, file: &'static str) -> Result<Module> {
        let mut last = None;
        for image in images::candidates(self.images, file, self.arch) {
            match load_image(image) {
                Ok(handle) => {
                    return Ok(Module(Arc::new(Loaded { handle, image, context: self.context.clone() })));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| BackendError::NoCuda {
            reason: format!("the device is sm_{}, and the kernels are {}", self.arch, images::built_for()),
        }))
    }

    /// Puts a kernel into the stream.
    ///
    /// # Safety
    /// `args` are those of the kernel, in order and type, and what it reads and writes under this launch lies within the
    /// buffers that they point to, which live until the stream is done.
    pub unsafe fn launch(&self, kernel: &Kernel, shape: Shape, args: &[Arg]) -> Result<()> {
        use sys::CUlaunchAttributeID as Id;
        let overlaps = shape.overlaps && kernel.may_overlap() && self.may_overlap;
        let attribute = overlaps.then_some(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
        // SAFETY: the caller vouches for the arguments.
        unsafe { self.launch_as(kernel, shape, args, attribute) }
    }

    /// [`launch`](Self::launch) of a kernel whose blocks wait for one another: all of them run at the same time, or it fails.
    ///
    /// # Safety
    /// As for [`launch`](Self::launch).
    pub unsafe fn launch_together(&self, kernel: &Kernel, shape: Shape, args: &[Arg]) -> Result<()> {
        let attribute = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
        // SAFETY: the caller vouches for the arguments.
        unsafe { self.launch_as(kernel, shape, args, Some(attribute)) }
    }

    unsafe fn launch_as(
        &self,
        kernel: &Kernel,
        shape: Shape,
        args: &[Arg],
        attribute_id: Option<sys::CUlaunchAttributeID>,
    ) -> Result<()> {
        let mut slots = [0u64; MAX_ARGS];
        let mut pointers = [ptr::null_mut::<c_void>(); MAX_ARGS];
        for ((slot, pointer), arg) in slots.iter_mut().zip(&mut pointers).zip(args) {
            *slot = arg.0;
            *pointer = ptr::from_mut(slot).cast();
        }
        assert!(args.len() <= MAX_ARGS, "{}: {} arguments", kernel.name, args.len());
        // SAFETY: a plain C structure, for which zeros are a valid value.
        let mut attribute: sys::CUlaunchAttribute = unsafe { mem::zeroed() };
        attribute.id = attribute_id.unwrap_or(attribute.id);
        // Both that are used are an integer that switches them on, at the same place of the union.
        attribute.value.cooperative = 1;
        let config = sys::CUlaunchConfig {
            gridDimX: shape.grid[0],
            gridDimY: shape.grid[1],
            gridDimZ: shape.grid[2],
            blockDimX: shape.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shape.shared,
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(attribute_id.is_some()),
        };
        // SAFETY: the caller vouches for the arguments; `config` and the slots outlive the call, which copies them.
        unsafe { sys::cuLaunchKernelEx(&config, kernel.handle, pointers.as_mut_ptr(), ptr::null_mut()) }
            .result()
            .map_err(|error| failed(format!("launching {}", kernel.name))(error))
    }

    /// Records what `work` puts into the stream, instead of running it.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let stream = self.stream.cu_stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is ours and lives.
        unsafe { result::stream::begin_capture(stream, mode) }.map_err(failed("beginning a capture"))?;
        let worked = work();
        // SAFETY: the capture began above; it is ended even if the work failed.
        let graph = unsafe { result::stream::end_capture(stream) }.map_err(failed("ending a capture"));
        worked?;
        let graph = graph?;
        let mut exec = ptr::null_mut();
        // SAFETY: `graph` was just captured.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0) };
        let mut n_nodes = 0;
        // SAFETY: a null list asks for the number alone.
        let counted = unsafe { sys::cuGraphGetNodes(graph, ptr::null_mut(), &raw mut n_nodes) };
        // SAFETY: the executable graph does not need its source any more.
        let destroyed = unsafe { sys::cuGraphDestroy(graph) };
        for code in [made, counted, destroyed] {
            code.result().map_err(|error| failed("making a graph")(error))?;
        }
        Ok(Graph { exec, n_nodes, context: self.context.clone() })
    }

    /// Runs a recorded graph.
    ///
    /// # Safety
    /// The buffers that were used when it was recorded still live.
    pub unsafe fn run(&self, graph: &Graph) -> Result<()> {
        // SAFETY: the graph lives, and the caller vouches for its buffers.
        unsafe { sys::cuGraphLaunch(graph.exec, self.stream.cu_stream()) }
            .result()
            .map_err(|error| failed("launching a graph")(error))
    }
}

/// Most arguments of a kernel.
const MAX_ARGS: usize = 20;

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared: u32,
    /// Whether it may start before the kernel in front of it has ended: it waits for it by itself.
    pub overlaps: bool,
}

/// A recorded sequence of launches.
#[derive(Debug)]
pub struct Graph {
    exec: sys::CUgraphExec,
    /// Launches in it.
    pub n_nodes: usize,
    context: Arc<CudaContext>,
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: the handle is this graph's own.
        let _ = unsafe { result::graph::exec_destroy(self.exec) };
    }
}

// SAFETY: a graph may be used from any thread that the context is bound to, by one at a time: the backend is behind `&mut`.
unsafe impl Send for Graph {}
