//! Memory: allocations of every kind, copies and fills of every form, and their misuse.

mod driver;

use cudarc::driver::sys::{self, CUpointer_attribute};
use driver::{
    DEFAULT, KERNELS, context, device, findings, fresh, get, gives, host, kernel, launch, load, ok, pinned,
    stream,
};
use std::{ffi::c_void, ptr::null_mut};

fn alloc(n: usize) -> u64 {
    // SAFETY: the pointer is to a local.
    unsafe { get(|p| sys::cuMemAlloc_v2(p, n)) }
}

fn free_bytes() -> usize {
    let (mut free, mut total) = (0, 0);
    // SAFETY: the pointers are to locals.
    ok(unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) });
    free
}

#[test]
fn misuse_of_allocations_gives_the_codes_of_cuda() {
    let _turn = fresh("{}");
    context();
    let before = free_bytes();
    // SAFETY: stale and foreign pointers are the point: none is followed.
    unsafe {
        gives(sys::cuMemAlloc_v2(&mut 0, 0), 1);
        gives(sys::cuMemAlloc_v2(null_mut(), 4), 1);
        gives(sys::cuMemAlloc_v2(&mut 0, 1 << 60), 2);
        gives(sys::cuMemAlloc_v2(&mut 0, usize::MAX), 2);
        gives(sys::cuMemHostAlloc(&mut null_mut(), usize::MAX, 0), 2);
        gives(sys::cuMemHostAlloc(&mut null_mut(), 4, 1 << 30), 1);
        let p = alloc(100);
        assert_eq!(free_bytes(), before - 100);
        gives(sys::cuMemFree_v2(p + 4), 1);
        gives(sys::cuMemFree_v2(0), 1);
        gives(sys::cuMemFreeHost(p as *mut c_void), 1);
        ok(sys::cuMemFree_v2(p));
        gives(sys::cuMemFree_v2(p), 1);
        gives(sys::cuMemsetD8_v2(p, 0, 1), 1);
        assert!(driver::last_error().contains("Freed"), "{}", driver::last_error());
        let h = pinned(4);
        gives(sys::cuMemFree_v2(h as u64), 1);
        ok(sys::cuMemFreeHost(h.cast()));
        gives(sys::cuMemFreeHost(h.cast()), 1);
    }
    assert_eq!(free_bytes(), before);
}

#[test]
fn after_the_kernel_that_the_options_name_every_call_fails() {
    let _turn = fresh(r#"{"launch_failure": 2}"#);
    context();
    let (x, module) = (driver::device(&[0; 64]), driver::load(driver::KERNELS));
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        for code in [0, 719] {
            ok(driver::launch(driver::kernel(module, "add"), 1, 32, driver::DEFAULT, &[x, 1, 32]));
            gives(sys::cuCtxSynchronize(), code);
        }
        gives(sys::cuMemAlloc_v2(&mut 0, 4), 719);
    }
    assert!(driver::last_error().contains("launch_failure"), "{}", driver::last_error());
}

#[test]
fn the_request_that_the_options_name_finds_no_memory() {
    let _turn = fresh(r#"{"out_of_memory": 2}"#);
    context();
    let first = alloc(100);
    let before = free_bytes();
    // SAFETY: the pointer is to a local.
    gives(unsafe { sys::cuMemAlloc_v2(&mut 0, 4) }, 2);
    assert!(driver::last_error().contains("out_of_memory"), "{}", driver::last_error());
    assert_eq!(free_bytes(), before);
    for p in [first, alloc(4)] {
        // SAFETY: both are allocations.
        ok(unsafe { sys::cuMemFree_v2(p) });
    }
}

#[test]
fn copies_outside_an_allocation_are_refused() {
    let _turn = fresh("{}");
    context();
    let (p, mut words) = (alloc(16), [0_u32; 8]);
    let host = words.as_mut_ptr().cast::<c_void>();
    // SAFETY: the refused copies follow no pointer, the others have the lengths of their ranges.
    unsafe {
        ok(sys::cuMemcpyHtoD_v2(p, host, 16));
        gives(sys::cuMemcpyHtoD_v2(p, host, 17), 1);
        gives(sys::cuMemcpyHtoD_v2(p + 1, host, 16), 1);
        gives(sys::cuMemcpyDtoH_v2(host, p + 16, 1), 1);
        gives(sys::cuMemcpyHtoD_v2(0x1234, host, 1), 1);
        gives(sys::cuMemcpyHtoD_v2(p, std::ptr::null(), 1), 1);
        gives(sys::cuMemcpyHtoD_v2(host as u64, p as *const c_void, 1), 1);
        gives(sys::cuMemcpyHtoD_v2(p, p as *const c_void, 1), 1);
        gives(sys::cuMemcpyDtoH_v2(p as *mut c_void, p, 1), 1);
        gives(sys::cuMemcpyDtoD_v2(p, host as u64, 1), 1);
        gives(sys::cuMemsetD32_v2(p + 1, 0, 1), 1);
        gives(sys::cuMemsetD32_v2(p, 0, 5), 1);
        gives(sys::cuMemsetD32_v2(p, 0, usize::MAX), 1);
        ok(sys::cuMemcpyHtoD_v2(p, host, 0));
        ok(sys::cuMemsetD8_v2(p, 0, 0));
    }
}

#[test]
fn bytes_and_words_are_filled_and_nothing_beside_them() {
    let _turn = fresh("{}");
    context();
    let p = device(&[0; 6]);
    // SAFETY: all ranges lie in the allocation.
    unsafe {
        ok(sys::cuMemsetD8_v2(p + 1, 0xAB, 2));
        ok(sys::cuMemsetD16_v2(p + 6, 0x1234, 2));
        ok(sys::cuMemsetD32Async(p + 12, 0xDEAD_BEEF, 2, DEFAULT));
    }
    assert_eq!(host(p, 6), [0x00AB_AB00, 0x1234_0000, 0x0000_1234, 0xDEAD_BEEF, 0xDEAD_BEEF, 0]);
    // SAFETY: three rows of 2 words, 3 words apart, lie in the allocation.
    unsafe {
        let q = device(&[0; 9]);
        ok(sys::cuMemsetD2D32_v2(q, 12, 5, 2, 3));
        assert_eq!(host(q, 9), [5, 5, 0, 5, 5, 0, 5, 5, 0]);
        gives(sys::cuMemsetD2D32_v2(q, 4, 5, 2, 3), 1);
        gives(sys::cuMemsetD2D32_v2(q, 12, 5, 3, 4), 1);
    }
}

#[test]
fn the_address_tells_which_side_a_copy_is_on() {
    let _turn = fresh("{}");
    context();
    let (a, b, mut word, pin) = (device(&[7]), device(&[0]), 0_u32, pinned(1));
    let at = (&raw mut word) as u64;
    // SAFETY: all ranges have a word.
    unsafe {
        ok(sys::cuMemcpy(b, a, 4));
        ok(sys::cuMemcpy(at, b, 4));
        assert_eq!(word, 7);
        (at as *mut u32).write_volatile(8);
        ok(sys::cuMemcpy(pin as u64, at, 4));
        assert_eq!(pin.read(), 8);
        ok(sys::cuMemcpyAsync(a, pin as u64, 4, DEFAULT));
        assert_eq!(host(a, 1), [8]);
    }
}

#[test]
fn rows_are_copied_with_their_pitches() {
    let _turn = fresh("{}");
    context();
    let from: Vec<u32> = (0..12).collect();
    let to = device(&[99; 10]);
    // SAFETY: all fields are set or may be zero; the rows lie in the source and the target.
    unsafe {
        // Columns 1 and 2 of rows 1 and 2 of a 3 x 4 matrix, to rows of 5 words, from column 1 on.
        let mut copy = std::mem::MaybeUninit::<sys::CUDA_MEMCPY2D>::zeroed();
        let c = copy.as_mut_ptr();
        (*c).srcMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_HOST;
        (*c).dstMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
        ((*c).srcHost, (*c).srcPitch, (*c).srcXInBytes, (*c).srcY) = (from.as_ptr().cast(), 16, 4, 1);
        ((*c).dstDevice, (*c).dstPitch, (*c).dstXInBytes) = (to, 20, 4);
        ((*c).WidthInBytes, (*c).Height) = (8, 2);
        let mut copy = copy.assume_init();
        ok(sys::cuMemcpy2D_v2(&copy));
        assert_eq!(host(to, 10), [99, 5, 6, 99, 99, 99, 9, 10, 99, 99]);
        copy.Height = 3;
        gives(sys::cuMemcpy2D_v2(&copy), 1);
        copy.Height = usize::MAX;
        gives(sys::cuMemcpy2D_v2(&copy), 1);
        let (mut p, mut pitch) = (0, 0);
        ok(sys::cuMemAllocPitch_v2(&mut p, &mut pitch, 100, 3, 4));
        assert_eq!(pitch, 512);
        ok(sys::cuMemsetD8_v2(p, 0, 3 * 512));
    }
}

#[test]
fn registered_memory_is_used_in_place_and_copied_late() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(KERNELS), "add");
    // Not at a multiple of 16 bytes, so that the words around it belong to somebody else.
    let mut words = vec![1_u32; 103];
    let at = words[1..].as_mut_ptr();
    // SAFETY: the memory has 102 words from there on, and nobody else touches it while the device does.
    unsafe {
        gives(sys::cuMemHostUnregister(at.cast()), 713);
        gives(sys::cuMemHostGetDevicePointer_v2(&mut 0, at.cast(), 0), 1);
        ok(sys::cuMemHostRegister_v2(at.cast(), 4 * 100, 0));
        gives(sys::cuMemHostRegister_v2(at.add(50).cast(), 4, 0), 712);
        gives(sys::cuMemHostRegister_v2(null_mut(), 4, 0), 1);
        let p: u64 = get(|p| sys::cuMemHostGetDevicePointer_v2(p, at.cast(), 0));
        assert_eq!(p, at as u64);
        let s = stream();
        ok(launch(add, 4, 32, s, &[p, 10, 100]));
        let x = device(&[77]);
        ok(sys::cuMemcpyDtoHAsync_v2(at.cast(), x, 4, s));
        assert_eq!(at.read_volatile(), 1, "neither has run");
        ok(sys::cuStreamSynchronize(s));
        assert_eq!(
            (at.read_volatile(), at.add(99).read_volatile(), at.add(100).read_volatile()),
            (77, 11, 1)
        );
        ok(sys::cuMemHostUnregister(at.cast()));
        gives(sys::cuMemHostUnregister(at.cast()), 713);
    }
    assert_eq!((words[0], words[102]), (1, 1));
}

#[test]
fn managed_memory_is_one_for_host_and_device() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(KERNELS), "add");
    // SAFETY: the memory has 32 words, and the host waits before it reads.
    unsafe {
        let p: u64 = get(|p| sys::cuMemAllocManaged(p, 128, 1));
        let words = std::slice::from_raw_parts_mut(p as *mut u32, 32);
        words.fill(5);
        ok(sys::cuMemPrefetchAsync(p, 128, 0, DEFAULT));
        ok(launch(add, 1, 32, DEFAULT, &[p, 1, 32]));
        ok(sys::cuCtxSynchronize());
        assert_eq!(words, [6; 32]);
        gives(sys::cuMemAllocManaged(&mut 0, 4, 0), 1);
        gives(sys::cuMemPrefetchAsync(alloc(4), 4, 0, DEFAULT), 1);
        ok(sys::cuMemFree_v2(p));
    }
}

/// A 4-byte or 8-byte attribute of an address.
fn attribute<T: Default>(which: CUpointer_attribute, p: u64) -> Result<T, u32> {
    let mut value = T::default();
    // SAFETY: the tests ask for attributes of the size of `T`.
    match unsafe { sys::cuPointerGetAttribute((&raw mut value).cast(), which, p) } {
        sys::CUresult::CUDA_SUCCESS => Ok(value),
        error => Err(error as u32),
    }
}

#[test]
fn an_address_tells_what_it_is() {
    use CUpointer_attribute::*;
    let _turn = fresh("{}");
    let context = context();
    let (p, h, mut local) = (alloc(100), pinned(4) as u64, 0_u64);
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p + 50), Ok(2_u32));
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, h), Ok(1_u32));
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_CONTEXT, p), Ok(context as u64));
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 99), Ok(p));
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_RANGE_SIZE, p), Ok(100_u64));
    assert_eq!(attribute(CU_POINTER_ATTRIBUTE_HOST_POINTER, h + 4), Ok(h + 4));
    assert_eq!(attribute::<u64>(CU_POINTER_ATTRIBUTE_HOST_POINTER, p), Err(1));
    assert_eq!(attribute::<u32>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p + 100), Err(1));
    assert_eq!(attribute::<u32>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (&raw const local) as u64), Err(1));
    // SAFETY: the pointers are to locals.
    unsafe {
        let (mut base, mut len) = (0, 0);
        ok(sys::cuMemGetAddressRange_v2(&mut base, &mut len, p + 60));
        assert_eq!((base, len), (p, 100));
        gives(sys::cuMemGetAddressRange_v2(&mut base, &mut len, 4096), 500);
        let mut kind = 9_u32;
        let mut which = [CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_POINTER];
        let mut to = [(&raw mut kind).cast::<c_void>(), (&raw mut local).cast()];
        ok(sys::cuPointerGetAttributes(2, which.as_mut_ptr(), to.as_mut_ptr(), p));
        assert_eq!((kind, local), (2, p));
        ok(sys::cuPointerGetAttributes(2, which.as_mut_ptr(), to.as_mut_ptr(), 4096));
        assert_eq!((kind, local), (0, 0), "unknown addresses have zeros");
    }
}

#[test]
fn pools_allocate_and_free_in_the_order_of_a_stream() {
    let _turn = fresh("{\"quiet\": 1}");
    context();
    let (s, add) = (stream(), kernel(load(KERNELS), "add"));
    let before = free_bytes();
    // SAFETY: the pointers are to locals, the handles are live; a use after a free is the point of the last part.
    unsafe {
        let p: u64 = get(|p| sys::cuMemAllocAsync(p, 128, s));
        ok(sys::cuMemsetD32Async(p, 0, 32, s));
        ok(launch(add, 1, 32, s, &[p, 1, 32]));
        ok(sys::cuMemFreeAsync(p, s));
        gives(sys::cuMemFreeAsync(p, s), 1);
        ok(sys::cuStreamSynchronize(s));
        assert_eq!(free_bytes(), before);
        gives(sys::cuMemFreeAsync(p, s), 1);
        let pool: sys::CUmemoryPool = get(|p| sys::cuDeviceGetDefaultMemPool(p, 0));
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let mut value = u64::MAX;
        ok(sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut value).cast()));
        value = 0;
        ok(sys::cuMemPoolGetAttribute(pool, threshold, (&raw mut value).cast()));
        assert_eq!(value, u64::MAX);
        gives(sys::cuMemPoolDestroy(pool), 1);
        let q: u64 = get(|p| sys::cuMemAllocFromPoolAsync(p, 128, pool, s));
        ok(sys::cuMemFreeAsync(q, s));
        ok(launch(add, 1, 32, s, &[q, 1, 32]));
        gives(sys::cuStreamSynchronize(s), 700);
    }
    assert!(findings().contains("freed"), "{}", driver::last_error());
}

#[test]
fn freeing_waits_for_the_work_that_uses_the_memory() {
    let _turn = fresh("{}");
    context();
    let copy = kernel(load(KERNELS), "copy");
    let (x, y, s) = (device(&[3]), device(&[0]), stream());
    ok(launch(copy, 1, 1, s, &[y, x, 1]));
    // SAFETY: nothing uses the memory any more once it is free.
    ok(unsafe { sys::cuMemFree_v2(x) });
    assert_eq!(host(y, 1), [3]);
}

#[test]
fn leaks_are_findings_when_checks_are_on() {
    let _turn = fresh("{\"check\": 1, \"quiet\": 1}");
    context();
    let (kept, freed) = (alloc(123), alloc(456));
    // SAFETY: the handle is live.
    unsafe {
        ok(sys::cuMemFree_v2(freed));
        ok(sys::cuDevicePrimaryCtxReset_v2(0));
    }
    let text = findings();
    assert!(text.contains("leak") && text.contains("123 bytes") && !text.contains("456"), "{text}");
    context();
    // SAFETY: the memory went with its context, and that is the point.
    gives(unsafe { sys::cuMemFree_v2(kept) }, 1);
}
