//! The emulator's libcuda as the tests of the driver use it: through cudarc's bindings of the C interface.

#![allow(dead_code, reason = "each test uses what it needs")]

use cudarc::driver::sys::{self, CUresult};
use libloading::Library;
use std::{
    ffi::{CString, c_void},
    path::PathBuf,
    ptr::null_mut,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

pub const VECTOR_ADD: &str = include_str!("../ptx/vector_add.ptx");
/// The kernels `add`, `copy`, `bounded`, `exact`, `shared40`, `touch`, `empty` and `stop`.
pub const KERNELS: &str = include_str!("../ptx/driver.ptx");

/// The stream 0.
pub const DEFAULT: sys::CUstream = null_mut();

/// The shared library that cargo builds beside the test.
pub fn path() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let folders = exe.ancestors().skip(1).take(2);
    let found = folders.map(|f| f.join("libcuda_emulator.so")).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no libcuda_emulator.so beside {}", exe.display()))
}

/// The library, loaded: its SONAME is `libcuda.so.1`, so that cudarc, which asks for that, finds it from now on.
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library has no constructors.
    LIBRARY.get_or_init(|| unsafe { Library::new(path()).expect("the emulator's library loads") })
}

/// The driver's state is one per process: tests take turns, each with a driver of its own.
pub fn fresh(options: &str) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(reset(options), 0, "reset with {options}");
    turn
}

/// Makes the driver forget everything, and gives it other options.
pub fn reset(options: &str) -> u32 {
    let options = CString::new(options).expect("options have no zero");
    // SAFETY: the symbol is the emulator's, of this type.
    unsafe {
        let reset = library().get::<extern "C" fn(*const std::ffi::c_char) -> u32>(b"cuda_emulator_reset");
        reset.expect("the library is the emulator")(options.as_ptr())
    }
}

/// The text that one of the emulator's own functions gives.
fn text(symbol: &[u8]) -> String {
    let mut bytes = vec![0; 1 << 16];
    // SAFETY: the symbol is the emulator's, of this type, and the buffer has the length given.
    let code = unsafe {
        let get = library().get::<extern "C" fn(*mut u8, usize) -> u32>(symbol);
        get.expect("the library is the emulator")(bytes.as_mut_ptr(), bytes.len())
    };
    assert_eq!(code, 0);
    let end = bytes.iter().position(|&b| b == 0).expect("the text ends with a zero");
    String::from_utf8(bytes[..end].to_vec()).expect("texts are UTF-8")
}

/// What was found since the last call.
pub fn findings() -> String {
    text(b"cuda_emulator_findings")
}

/// The last call that failed.
pub fn last_error() -> String {
    text(b"cuda_emulator_last_error")
}

/// The call succeeds.
#[track_caller]
pub fn ok(result: CUresult) {
    assert!(result == CUresult::CUDA_SUCCESS, "{result:?}: {}", last_error());
}

/// The call gives this code.
#[track_caller]
pub fn gives(result: CUresult, code: u32) {
    assert!(result as u32 == code, "expected {code}, got {result:?}: {}", last_error());
}

/// What a call that fills `value` gives.
#[track_caller]
pub fn get<T>(call: impl FnOnce(*mut T) -> CUresult) -> T {
    let mut value = std::mem::MaybeUninit::uninit();
    ok(call(value.as_mut_ptr()));
    // SAFETY: the call succeeded, and so filled it.
    unsafe { value.assume_init() }
}

/// The primary context, current in this thread.
pub fn context() -> sys::CUcontext {
    // SAFETY: all pointers are to locals of the types that the API names.
    unsafe {
        let context = get(|p| sys::cuDevicePrimaryCtxRetain(p, 0));
        ok(sys::cuCtxSetCurrent(context));
        context
    }
}

/// A module of PTX text.
pub fn load(text: &str) -> sys::CUmodule {
    let text = CString::new(text).expect("PTX has no zero");
    // SAFETY: the text ends with a zero.
    unsafe { get(|p| sys::cuModuleLoadData(p, text.as_ptr().cast())) }
}

/// A kernel of a module.
pub fn kernel(module: sys::CUmodule, name: &str) -> sys::CUfunction {
    let name = CString::new(name).expect("names have no zero");
    // SAFETY: the name ends with a zero.
    unsafe { get(|p| sys::cuModuleGetFunction(p, module, name.as_ptr())) }
}

/// Device memory that holds these words.
pub fn device(words: &[u32]) -> u64 {
    // SAFETY: the memory has the length of the copy.
    unsafe {
        let p = get(|p| sys::cuMemAlloc_v2(p, size_of_val(words)));
        ok(sys::cuMemcpyHtoD_v2(p, words.as_ptr().cast(), size_of_val(words)));
        p
    }
}

/// The first `n` words at a device address.
#[track_caller]
pub fn host(p: u64, n: usize) -> Vec<u32> {
    let mut words = vec![0_u32; n];
    // SAFETY: the vector has the length of the copy.
    ok(unsafe { sys::cuMemcpyDtoH_v2(words.as_mut_ptr().cast(), p, 4 * n) });
    words
}

/// Pinned memory of the host with `n` zero words.
pub fn pinned(n: usize) -> *mut u32 {
    // SAFETY: the pointer is to a local.
    unsafe { get(|p| sys::cuMemHostAlloc(p, 4 * n, 0)).cast() }
}

/// A stream that does not wait for stream 0.
pub fn stream() -> sys::CUstream {
    // SAFETY: the pointer is to a local.
    unsafe { get(|p| sys::cuStreamCreate(p, 1)) }
}

/// An event.
pub fn event() -> sys::CUevent {
    // SAFETY: the pointer is to a local.
    unsafe { get(|p| sys::cuEventCreate(p, 0)) }
}

/// The arguments of a kernel: 8 bytes for each, of which it takes what it needs.
pub struct Arguments {
    values: Box<[u64]>,
    pointers: Vec<*mut c_void>,
}

impl Arguments {
    pub fn new(values: &[u64]) -> Arguments {
        let mut values: Box<[u64]> = values.into();
        let pointers = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
        Arguments { values, pointers }
    }

    pub fn pointers(&mut self) -> *mut *mut c_void {
        self.pointers.as_mut_ptr()
    }
}

/// Launches a kernel over one dimension.
pub fn launch(f: sys::CUfunction, grid: u32, block: u32, stream: sys::CUstream, values: &[u64]) -> CUresult {
    launch_shared(f, grid, block, 0, stream, values)
}

/// The same with dynamic shared memory.
pub fn launch_shared(
    f: sys::CUfunction,
    grid: u32,
    block: u32,
    shared: u32,
    stream: sys::CUstream,
    values: &[u64],
) -> CUresult {
    let mut arguments = Arguments::new(values);
    // SAFETY: the tests pass as many arguments as the kernel takes, or none where that is the point.
    unsafe {
        sys::cuLaunchKernel(f, grid, 1, 1, block, 1, 1, shared, stream, arguments.pointers(), null_mut())
    }
}

/// Makes a graph ready to launch.
pub fn instantiate(graph: sys::CUgraph) -> sys::CUgraphExec {
    // SAFETY: the handle is live, the pointer is to a local.
    unsafe { get(|p| sys::cuGraphInstantiateWithFlags(p, graph, 0)) }
}

/// Launches a graph and waits for it.
pub fn run_graph(exec: sys::CUgraphExec, s: sys::CUstream) {
    // SAFETY: the handles are live.
    unsafe {
        ok(sys::cuGraphLaunch(exec, s));
        ok(sys::cuStreamSynchronize(s));
    }
}

/// The nodes of a graph, in the order of their making.
pub fn nodes(graph: sys::CUgraph) -> Vec<sys::CUgraphNode> {
    // SAFETY: the handle is live; the array has the length that the first call gave.
    unsafe {
        let mut n: usize = get(|p| sys::cuGraphGetNodes(graph, null_mut(), p));
        let mut nodes = vec![null_mut(); n];
        ok(sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut n));
        nodes
    }
}
