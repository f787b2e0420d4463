//! What programs ask of the device, and of the driver itself.

mod driver;

use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use driver::{context, fresh, get, gives, library, ok, reset};
use std::{
    collections::HashSet,
    ffi::{CStr, CString, c_char, c_void},
};

fn attribute(which: CUdevice_attribute) -> i32 {
    // SAFETY: the pointer is to a local.
    unsafe { get(|p| sys::cuDeviceGetAttribute(p, which, 0)) }
}

/// Architecture, name, multiprocessors, GiB, KiB of shared memory a multiprocessor and at most a block, threads and blocks a
/// multiprocessor, MiB of L2, bits of the bus: from the data sheets and the programming guide.
type Sheet = (u32, &'static str, i32, usize, i32, i32, i32, i32, i32, i32);

const SHEETS: [Sheet; 7] = [
    (75, "Tesla T4", 40, 16, 64, 64, 1024, 16, 4, 256),
    (80, "NVIDIA A100-SXM4-80GB", 108, 80, 164, 163, 2048, 32, 40, 5120),
    (86, "NVIDIA GeForce RTX 3090", 82, 24, 100, 99, 1536, 16, 6, 384),
    (89, "NVIDIA GeForce RTX 4090", 128, 24, 100, 99, 1536, 24, 72, 384),
    (90, "NVIDIA H100 80GB HBM3", 132, 80, 228, 227, 2048, 32, 50, 5120),
    (100, "NVIDIA B200", 148, 180, 228, 227, 2048, 32, 126, 8192),
    (120, "NVIDIA GeForce RTX 5090", 170, 32, 100, 99, 1536, 24, 96, 512),
];

#[test]
fn each_device_is_as_its_data_sheet_says() {
    use CUdevice_attribute::*;
    let mut uuids = HashSet::new();
    for (arch, name, sms, gib, shared, optin, threads, blocks, l2, bus) in SHEETS {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        let mut text = [1_i8; 64];
        // SAFETY: the pointers are to locals of the lengths given.
        unsafe {
            ok(sys::cuDeviceGetName(text.as_mut_ptr(), 64, 0));
            assert_eq!(CStr::from_ptr(text.as_ptr()).to_str(), Ok(name));
            ok(sys::cuDeviceGetName(text.as_mut_ptr(), 5, 0));
            assert_eq!(CStr::from_ptr(text.as_ptr()).to_str(), Ok(&name[..4]), "cut to fit");
            assert_eq!(get::<usize>(|p| sys::cuDeviceTotalMem_v2(p, 0)), gib << 30);
            let uuid: sys::CUuuid = get(|p| sys::cuDeviceGetUuid(p, 0));
            assert!(uuids.insert(uuid.bytes), "{arch} has the number of another device");
        }
        for (which, value) in [
            (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, arch as i32 / 10),
            (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, arch as i32 % 10),
            (CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, sms),
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, shared << 10),
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, optin << 10),
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 << 10),
            (CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, (shared - optin) << 10),
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, threads),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, blocks),
            (CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, l2 << 20),
            (CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, bus),
            (CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536),
            (CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, i32::MAX),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535),
            (CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1),
            (CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1),
            (CU_DEVICE_ATTRIBUTE_INTEGRATED, 0),
        ] {
            assert_eq!(attribute(which), value, "{arch}: {which:?}");
        }
    }
}

#[test]
fn the_bandwidth_of_clock_and_bus_is_that_of_the_data_sheet() {
    // GB/s, to 3 %: two words a cycle over the bus.
    for (arch, expected) in
        [(75, 320.0), (80, 2039.0), (86, 936.0), (89, 1008.0), (90, 3352.0), (100, 8000.0), (120, 1792.0)]
    {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        let clock = f64::from(attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE));
        let bus = f64::from(attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH));
        let is = 2.0 * clock * 1e3 * bus / 8.0 / 1e9;
        assert!((is / expected - 1.0_f64).abs() < 0.03, "{arch}: {is} GB/s, expected {expected}");
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let _turn = fresh("{}");
    assert_eq!(reset("{\"arch\": 91}"), 100);
    assert_eq!(reset("{\"seed\": \"x\"}"), 1);
    assert_eq!(reset("no JSON"), 1);
    assert!(driver::last_error().contains("are not JSON"), "{}", driver::last_error());
    assert_eq!(reset("{\"pools\": 0}"), 0);
    assert_eq!(attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED), 0);
}

#[test]
fn misuse_of_the_device_gives_the_codes_of_cuda() {
    let _turn = fresh("{}");
    // SAFETY: the pointers are to locals or null, and null is the point.
    unsafe {
        gives(sys::cuInit(1), 1);
        ok(sys::cuInit(0));
        assert_eq!(get::<i32>(|p| sys::cuDeviceGetCount(p)), 1);
        gives(sys::cuDeviceGet(&mut 0, 1), 101);
        gives(sys::cuDeviceGet(&mut 0, -1), 101);
        gives(sys::cuDeviceGetCount(std::ptr::null_mut()), 1);
        gives(sys::cuDeviceTotalMem_v2(&mut 0, 7), 101);
        gives(sys::cuDeviceGetName([0; 4].as_mut_ptr(), 0, 0), 1);
        let raw = library().get::<unsafe extern "C" fn(*mut i32, u32, i32) -> u32>(b"cuDeviceGetAttribute");
        let raw = raw.expect("the library has it");
        assert_eq!(raw(&mut 0, 0, 0), 1);
        assert_eq!(raw(&mut 0, 10_000, 0), 1);
        assert!(get::<i32>(|p| sys::cuDriverGetVersion(p)) >= 13_000);
    }
}

#[test]
fn contexts_stack_and_end() {
    let _turn = fresh("{}");
    std::thread::spawn(|| {
        // SAFETY: the pointers are to locals; stale handles are the point.
        unsafe {
            gives(sys::cuCtxSynchronize(), 201);
            gives(sys::cuMemAlloc_v2(&mut 0, 4), 201);
            gives(sys::cuCtxPopCurrent_v2(&mut std::ptr::null_mut()), 201);
            gives(sys::cuDevicePrimaryCtxRelease_v2(0), 201);
            let primary = context();
            let own: sys::CUcontext = get(|p| sys::cuCtxCreate_v2(p, 0, 0));
            assert_eq!(get::<sys::CUcontext>(|p| sys::cuCtxGetCurrent(p)), own);
            assert_eq!(get::<i32>(|p| sys::cuCtxGetDevice(p)), 0);
            let popped: sys::CUcontext = get(|p| sys::cuCtxPopCurrent_v2(p));
            assert_eq!((popped, get(|p| sys::cuCtxGetCurrent(p))), (own, primary));
            ok(sys::cuCtxPushCurrent_v2(own));
            ok(sys::cuCtxDestroy_v2(own));
            assert_eq!(get::<sys::CUcontext>(|p| sys::cuCtxGetCurrent(p)), primary);
            gives(sys::cuCtxDestroy_v2(own), 201);
            gives(sys::cuCtxSetCurrent(own), 201);
            gives(sys::cuCtxDestroy_v2(primary), 201);
            gives(sys::cuCtxCreate_v2(&mut std::ptr::null_mut(), 3, 0), 1);
            let mut state = (9, 9);
            ok(sys::cuDevicePrimaryCtxGetState(0, &mut state.0, &mut state.1));
            assert_eq!(state, (0, 1));
            ok(sys::cuDevicePrimaryCtxRelease_v2(0));
            gives(sys::cuCtxSynchronize(), 709);
            ok(sys::cuDevicePrimaryCtxSetFlags_v2(0, 4));
            context();
            assert_eq!(get::<u32>(|p| sys::cuCtxGetFlags(p)), 4);
        }
    })
    .join()
    .expect("the thread ends well");
}

#[test]
fn limits_are_kept_by_context() {
    let _turn = fresh("{}");
    context();
    // SAFETY: the pointers are to locals.
    unsafe {
        let limit = sys::CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE;
        assert_eq!(get::<usize>(|p| sys::cuCtxGetLimit(p, limit)), 1 << 20);
        ok(sys::cuCtxSetLimit(limit, 1 << 16));
        assert_eq!(get::<usize>(|p| sys::cuCtxGetLimit(p, limit)), 1 << 16);
    }
}

#[test]
fn errors_have_names_and_texts() {
    let _turn = fresh("{}");
    // SAFETY: the pointers are to locals, and the texts end with a zero.
    unsafe {
        for (code, name) in [
            (CUresult::CUDA_SUCCESS, "CUDA_SUCCESS"),
            (CUresult::CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"),
            (CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE"),
            (CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"),
            (CUresult::CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN"),
        ] {
            let found: *const c_char = get(|p| sys::cuGetErrorName(code, p));
            assert_eq!(CStr::from_ptr(found).to_str(), Ok(name));
            let text: *const c_char = get(|p| sys::cuGetErrorString(code, p));
            assert!(CStr::from_ptr(text).count_bytes() > 3, "{name}");
        }
        let raw = library().get::<unsafe extern "C" fn(u32, *mut *const c_char) -> u32>(b"cuGetErrorName");
        let mut text = c"".as_ptr();
        assert_eq!(raw.expect("the library has it")(12345, &mut text), 1);
        assert!(text.is_null());
    }
}

/// Names that programs look up, and the entry points that they must get.
#[test]
fn entry_points_are_found_by_name_in_their_newest_version() {
    let _turn = fresh("{}");
    let look_up = |name: &str, version: i32| -> (*mut c_void, u32) {
        let name = CString::new(name).expect("names have no zero");
        let (mut found, mut status) =
            (std::ptr::null_mut(), sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS);
        // SAFETY: the pointers are to locals, the name ends with a zero.
        ok(unsafe { sys::cuGetProcAddress_v2(name.as_ptr(), &mut found, version, 0, &mut status) });
        (found, status as u32)
    };
    let symbol = |name: &str| -> *mut c_void {
        // SAFETY: the address is only compared.
        unsafe { *library().get::<*mut c_void>(name.as_bytes()).expect(name) }
    };
    for (name, version, is) in [
        ("cuMemAlloc", 12_000, "cuMemAlloc_v2"),
        ("cuLaunchKernel", 12_000, "cuLaunchKernel"),
        ("cuStreamBeginCapture", 12_000, "cuStreamBeginCapture_v2"),
        ("cuCtxCreate", 12_000, "cuCtxCreate_v2"),
        ("cuCtxCreate", 13_000, "cuCtxCreate_v4"),
        ("cuMemAdvise", 12_000, "cuMemAdvise"),
        ("cuMemAdvise", 13_000, "cuMemAdvise_v2"),
        ("cuGraphInstantiate", 12_000, "cuGraphInstantiateWithFlags"),
        ("cuGetProcAddress", 12_000, "cuGetProcAddress_v2"),
    ] {
        assert_eq!(look_up(name, version), (symbol(is), 0), "{name} for {version}");
    }
    let (found, status) = look_up("cuTexRefCreate", 12_000);
    assert_eq!((found.is_null(), status), (true, 1));
}

/// Every function that programs on cudarc's safe layer need, and those that they add.
#[test]
fn the_library_has_every_entry_point_of_the_list() {
    let missing: Vec<&str> = include_str!("driver/symbols.txt")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        // SAFETY: the address is only looked for.
        .filter(|name| unsafe { library().get::<*mut c_void>(name.as_bytes()).is_err() })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
