//! Launches: their forms, their limits, and what a launch that goes wrong leaves behind.

mod driver;

use cudarc::driver::sys::{self, CUfunction_attribute, CUlaunchAttributeID, CUresult};
use driver::{
    Arguments, DEFAULT, KERNELS, VECTOR_ADD, context, device, findings, fresh, get, gives, host, kernel,
    launch, launch_shared, load, ok, reset, stream,
};
use std::{ffi::c_void, ptr::null_mut};

fn set(f: sys::CUfunction, attribute: CUfunction_attribute, value: i32) -> CUresult {
    // SAFETY: the handle is live.
    unsafe { sys::cuFuncSetAttribute(f, attribute, value) }
}

fn attribute(f: sys::CUfunction, attribute: CUfunction_attribute) -> i32 {
    // SAFETY: the handle is live, the pointer is to a local.
    unsafe { get(|p| sys::cuFuncGetAttribute(p, attribute, f)) }
}

const DYNAMIC: CUfunction_attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;

/// A launch with this grid and block.
fn shaped(f: sys::CUfunction, grid: [u32; 3], block: [u32; 3]) -> CUresult {
    let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
    // SAFETY: the kernel takes no arguments.
    unsafe { sys::cuLaunchKernel(f, gx, gy, gz, bx, by, bz, 0, DEFAULT, null_mut(), null_mut()) }
}

#[test]
fn shapes_outside_the_limits_are_refused() {
    let _turn = fresh("{}");
    context();
    let module = load(KERNELS);
    let f = kernel(module, "empty");
    for (grid, block, code) in [
        ([1, 1, 1], [1024, 1, 1], 0),
        ([1, 1, 1], [1, 1, 64], 0),
        ([65536, 1, 1], [1, 1, 1], 0),
        ([0, 1, 1], [1, 1, 1], 1),
        ([1, 1, 1], [0, 1, 1], 1),
        ([1, 1, 1], [1025, 1, 1], 1),
        ([1, 1, 1], [1, 1, 65], 1),
        ([1, 1, 1], [64, 32, 1], 1),
        ([1, 65536, 1], [1, 1, 1], 1),
        ([1, 1, 65536], [1, 1, 1], 1),
        ([0x8000_0000, 1, 1], [1, 1, 1], 1),
        ([1, 1, 1], [u32::MAX, u32::MAX, u32::MAX], 1),
    ] {
        let result = shaped(f, grid, block);
        assert_eq!(result as u32, code, "grid {grid:?}, block {block:?}: {}", driver::last_error());
    }
    gives(shaped(kernel(module, "bounded"), [1; 3], [65, 1, 1]), 701);
    ok(shaped(kernel(module, "bounded"), [1; 3], [8, 8, 1]));
    gives(shaped(kernel(module, "exact"), [1; 3], [64, 1, 1]), 1);
    ok(shaped(kernel(module, "exact"), [1; 3], [32, 2, 1]));
    // SAFETY: there is a context.
    ok(unsafe { sys::cuCtxSynchronize() });
}

#[test]
fn shared_memory_above_the_default_must_be_opted_in() {
    // Bytes that a block can opt in to: of compute capability 7.5, 8.0, 8.6 and 9.0.
    for (arch, most) in [(75, 64 << 10), (80, 163 << 10), (86, 99 << 10), (90, 227 << 10)] {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        context();
        let module = load(KERNELS);
        let touch = kernel(module, "touch");
        assert_eq!(attribute(touch, DYNAMIC), 48 << 10);
        ok(launch_shared(touch, 1, 1, 48 << 10, DEFAULT, &[(48 << 10) - 1]));
        gives(launch_shared(touch, 1, 1, (48 << 10) + 1, DEFAULT, &[0]), 1);
        gives(set(touch, DYNAMIC, most + 1), 1);
        gives(set(touch, DYNAMIC, -1), 1);
        ok(set(touch, DYNAMIC, most));
        assert_eq!(attribute(touch, DYNAMIC), most);
        ok(launch_shared(touch, 1, 1, most as u32, DEFAULT, &[most as u64 - 1]));
        gives(launch_shared(touch, 1, 1, most as u32 + 1, DEFAULT, &[0]), 1);
        let shared40 = kernel(module, "shared40");
        assert_eq!(attribute(shared40, CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 40 << 10);
        ok(launch_shared(shared40, 1, 1, 8 << 10, DEFAULT, &[]));
        gives(launch_shared(shared40, 1, 1, (8 << 10) + 1, DEFAULT, &[]), 1);
        gives(set(shared40, DYNAMIC, most - (40 << 10) + 1), 1);
        // SAFETY: there is a context.
        ok(unsafe { sys::cuCtxSynchronize() });
    }
}

#[test]
fn shared_memory_past_what_the_launch_asked_for_is_a_fault() {
    let _turn = fresh("{\"quiet\": 1}");
    context();
    let touch = kernel(load(KERNELS), "touch");
    ok(launch_shared(touch, 1, 1, 1024, DEFAULT, &[1024]));
    // SAFETY: there is a context.
    gives(unsafe { sys::cuCtxSynchronize() }, 700);
}

#[test]
fn arguments_come_by_pointers_or_in_one_buffer() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(KERNELS), "add");
    let x = device(&[1, 1]);
    let mut buffer = [0_u8; 16];
    buffer[..8].copy_from_slice(&x.to_le_bytes());
    buffer[8..12].copy_from_slice(&5_u32.to_le_bytes());
    buffer[12..].copy_from_slice(&2_u32.to_le_bytes());
    let with = |mut size: usize, pointers: *mut *mut c_void| {
        // Keys: 1 the buffer, 2 its size, 0 the end.
        let mut extra: [*mut c_void; 5] = [
            std::ptr::without_provenance_mut(1),
            buffer.as_ptr().cast_mut().cast(),
            std::ptr::without_provenance_mut(2),
            (&raw mut size).cast(),
            null_mut(),
        ];
        // SAFETY: the list and the buffer outlive the call.
        unsafe { sys::cuLaunchKernel(add, 1, 1, 1, 2, 1, 1, 0, DEFAULT, pointers, extra.as_mut_ptr()) }
    };
    ok(with(16, null_mut()));
    gives(with(15, null_mut()), 1);
    let mut both = Arguments::new(&[x, 5, 2]);
    gives(with(16, both.pointers()), 1);
    // SAFETY: the kernel takes arguments and gets none, or one that is null: that is the point.
    unsafe {
        gives(sys::cuLaunchKernel(add, 1, 1, 1, 2, 1, 1, 0, DEFAULT, null_mut(), null_mut()), 1);
        let mut holes = [null_mut(); 3];
        gives(sys::cuLaunchKernel(add, 1, 1, 1, 2, 1, 1, 0, DEFAULT, holes.as_mut_ptr(), null_mut()), 1);
    }
    assert_eq!(host(x, 2), [6, 6]);
}

/// A launch of 2 x 32 threads with one attribute.
fn with_attribute(
    f: sys::CUfunction,
    grid: u32,
    id: CUlaunchAttributeID,
    set: impl FnOnce(&mut sys::CUlaunchAttributeValue),
    values: &[u64],
) -> CUresult {
    // SAFETY: all bits zero are valid structures; the attributes and arguments outlive the call.
    unsafe {
        let mut attribute: sys::CUlaunchAttribute = std::mem::zeroed();
        attribute.id = id;
        set(&mut attribute.value);
        let config = sys::CUlaunchConfig {
            gridDimX: grid,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: DEFAULT,
            attrs: &mut attribute,
            numAttrs: 1,
        };
        sys::cuLaunchKernelEx(&config, f, Arguments::new(values).pointers(), null_mut())
    }
}

#[test]
fn launch_attributes_are_honoured_or_refused() {
    use CUlaunchAttributeID::*;
    let _turn = fresh("{}");
    context();
    let add = kernel(load(KERNELS), "add");
    let x = device(&[0; 64]);
    let a = [x, 1, 64];
    let dims = |v: &mut sys::CUlaunchAttributeValue, n: u32| {
        (v.clusterDim.x, v.clusterDim.y, v.clusterDim.z) = (n, 1, 1);
    };
    ok(with_attribute(
        add,
        2,
        CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        |v| v.programmaticStreamSerializationAllowed = 1,
        &a,
    ));
    ok(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_PRIORITY, |v| v.priority = -1, &a));
    ok(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, |v| v.cooperative = 1, &a));
    ok(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, |v| dims(v, 1), &a));
    gives(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, |v| dims(v, 2), &a), 801);
    gives(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT, |_| {}, &a), 801);
    gives(with_attribute(add, 100_000, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, |v| v.cooperative = 1, &a), 720);
    assert_eq!(host(x, 64), [4; 64]);
    reset("{\"arch\": 80}");
    context();
    let (add, x) = (kernel(load(KERNELS), "add"), device(&[0; 64]));
    let programmatic = |v: &mut sys::CUlaunchAttributeValue| v.programmaticStreamSerializationAllowed = 1;
    let id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    gives(with_attribute(add, 2, id, programmatic, &[x, 1, 64]), 801);
}

#[test]
fn a_cooperative_launch_must_fit_on_the_device() {
    // A block of 1024 threads: one a multiprocessor of compute capability 7.5 (40), two of 8.0 (108).
    for (arch, fit) in [(75, 40), (80, 216)] {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        context();
        let f = kernel(load(KERNELS), "empty");
        let cooperative = |blocks: u32| {
            // SAFETY: the kernel takes no arguments.
            unsafe { sys::cuLaunchCooperativeKernel(f, blocks, 1, 1, 1024, 1, 1, 0, DEFAULT, null_mut()) }
        };
        ok(cooperative(fit));
        gives(cooperative(fit + 1), 720);
    }
}

#[test]
fn a_trap_stops_everything_until_the_context_is_destroyed() {
    let _turn = fresh("{\"quiet\": 1}");
    let old = context();
    let (module, x, s) = (load(KERNELS), device(&[1]), stream());
    ok(launch(kernel(module, "stop"), 1, 1, s, &[]));
    // SAFETY: the handles are live as long as their context, and refused after it.
    unsafe {
        gives(sys::cuStreamSynchronize(s), 719);
        gives(sys::cuMemAlloc_v2(&mut 0, 4), 719);
        gives(sys::cuMemFree_v2(x), 719);
        gives(launch(kernel_anyway(module), 1, 1, DEFAULT, &[]), 719);
        gives(sys::cuStreamQuery(s), 719);
        gives(sys::cuCtxSynchronize(), 719);
        gives(sys::cuEventCreate(&mut null_mut(), 0), 719);
        ok(sys::cuDevicePrimaryCtxReset_v2(0));
        gives(sys::cuCtxSynchronize(), 709);
        gives(sys::cuCtxSetCurrent(old), 201);
    }
    let text = findings();
    assert!(text.contains("stop") && text.contains("trap"), "{text}");
    context();
    assert_eq!(host(device(&[3]), 1), [3]);
}

/// A handle that is refused before it is looked at.
fn kernel_anyway(module: sys::CUmodule) -> sys::CUfunction {
    module.cast()
}

#[test]
fn occupancy_follows_from_threads_and_shared_memory() {
    let occupancy = |f, threads, dynamic| -> i32 {
        // SAFETY: the handle is live, the pointer is to a local.
        unsafe { get(|p| sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(p, f, threads, dynamic)) }
    };
    // By hand from the tables of the programming guide. `empty` needs few registers; with 16 KiB of dynamic shared memory a block
    // takes 17 KiB from compute capability 8.0 on.
    for (arch, by_threads, small, by_shared) in [
        (75, 1, 16, 4),
        (80, 2, 32, 9),
        (86, 1, 16, 5),
        (89, 1, 24, 5),
        (90, 2, 32, 13),
        (100, 2, 32, 13),
        (120, 1, 24, 5),
    ] {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        context();
        let f = kernel(load(KERNELS), "empty");
        assert_eq!(occupancy(f, 1024, 0), by_threads, "{arch}: 1024 threads");
        assert_eq!(occupancy(f, 32, 0), small, "{arch}: blocks of one warp");
        assert_eq!(occupancy(f, 32, 16 << 10), by_shared, "{arch}: 16 KiB of shared memory");
        assert_eq!(occupancy(f, 1025, 0), 0);
        // SAFETY: the handle is live, the pointers are to locals.
        unsafe {
            gives(sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut 0, f, 0, 0), 1);
            let left: usize = get(|p| sys::cuOccupancyAvailableDynamicSMemPerBlock(p, f, 2, 256));
            assert_eq!(occupancy(f, 256, left), 2, "{arch}: {left} bytes");
            // A unit of shared memory more is too much.
            assert!(occupancy(f, 256, left + 256) < 2, "{arch}: {left} bytes");
            let (mut grid, mut block) = (0, 0);
            ok(sys::cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, f, None, 0, 0));
            let sms: i32 = get(|p| {
                sys::cuDeviceGetAttribute(
                    p,
                    sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                    0,
                )
            });
            // 1536 threads are two blocks of 768, not one of 1024.
            let best = if matches!(arch, 86 | 89 | 120) { (sms * 2, 768) } else { (sms * by_threads, 1024) };
            assert_eq!((grid, block), best, "{arch}");
        }
    }
}

unsafe extern "C" fn four_bytes_a_thread(threads: i32) -> usize {
    4 * threads as usize
}

#[test]
fn a_function_of_the_block_size_gives_the_shared_memory() {
    let _turn = fresh("{}");
    context();
    let f = kernel(load(KERNELS), "empty");
    let (mut grid, mut block) = (0, 0);
    // SAFETY: the handle is live, the pointers are to locals, and the function has the type asked for.
    unsafe {
        ok(sys::cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, f, Some(four_bytes_a_thread), 0, 96));
    }
    assert_eq!((grid, block), (132 * 32, 64), "blocks of 96 would leave 32 of 2048 threads unused");
}

#[test]
fn attributes_of_a_kernel() {
    let _turn = fresh("{\"arch\": 86}");
    context();
    let module = load(VECTOR_ADD);
    let f = kernel(module, "vector_add");
    for (which, value) in [
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024),
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 0),
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 0),
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION, 90),
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION, 86),
        (CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, -1),
    ] {
        assert_eq!(attribute(f, which), value, "{which:?}");
    }
    let registers = attribute(f, CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS);
    assert!((8..=32).contains(&registers), "{registers} registers");
    ok(set(f, CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100));
    gives(set(f, CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 101), 1);
    gives(set(f, CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS, 1), 1);
    // SAFETY: the handles are live, the pointers are to locals.
    unsafe {
        let name: *const std::ffi::c_char = get(|p| sys::cuFuncGetName(p, f));
        assert_eq!(std::ffi::CStr::from_ptr(name).to_str(), Ok("vector_add"));
        assert_eq!(get::<sys::CUmodule>(|p| sys::cuFuncGetModule(p, f)), module);
        let (mut offset, mut size) = (0, 0);
        ok(sys::cuFuncGetParamInfo(f, 3, &mut offset, &mut size));
        assert_eq!((offset, size), (24, 4));
        gives(sys::cuFuncGetParamInfo(f, 4, &mut offset, &mut size), 1);
        gives(
            sys::cuFuncGetAttribute(&mut 0, CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS, module.cast()),
            400,
        );
    }
}

#[test]
fn launches_overlap_only_where_nobody_waited_between() {
    use CUlaunchAttributeID::*;
    let _turn = fresh("{}");
    for waits in [false, true] {
        reset(r#"{"check": true, "quiet": true}"#);
        context();
        let (add, x) = (kernel(load(KERNELS), "add"), device(&[0; 64]));
        let a = [x, 1, 64];
        ok(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_PRIORITY, |v| v.priority = 0, &a));
        if waits {
            // SAFETY: the default stream is there.
            ok(unsafe { sys::cuStreamSynchronize(DEFAULT) });
        }
        let overlaps = |v: &mut sys::CUlaunchAttributeValue| v.programmaticStreamSerializationAllowed = 1;
        ok(with_attribute(add, 2, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, overlaps, &a));
        // SAFETY: as above.
        let code = unsafe { sys::cuStreamSynchronize(DEFAULT) };
        assert_eq!(code == sys::CUresult::CUDA_SUCCESS, waits, "{code:?}");
        assert_eq!(findings().contains("missing griddepcontrol.wait"), !waits);
    }
}
