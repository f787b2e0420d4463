//! The order of work in streams: what must happen before what, and that nothing else does.

mod driver;

use cudarc::driver::sys;
use driver::{
    DEFAULT, context, device, event, fresh, get, gives, host, kernel, launch, load, ok, pinned, stream,
};
use std::{
    ffi::c_void,
    ptr::null_mut,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

/// A producer in one stream adds 1 to `x`; a consumer in another copies `x` to `y`. What `y` holds once both are done.
fn produce_and_consume(options: &str, wait: bool, flags: u32) -> u32 {
    let _turn = fresh(options);
    context();
    let module = load(driver::KERNELS);
    let (x, y) = (device(&[5]), device(&[0]));
    // SAFETY: the handles are live, the pointers are to locals.
    unsafe {
        let (a, b): (sys::CUstream, sys::CUstream) =
            (get(|p| sys::cuStreamCreate(p, flags)), get(|p| sys::cuStreamCreate(p, flags)));
        let done = event();
        ok(launch(kernel(module, "add"), 1, 1, a, &[x, 1, 1]));
        ok(sys::cuEventRecord(done, a));
        if wait {
            ok(sys::cuStreamWaitEvent(b, done, 0));
        }
        ok(launch(kernel(module, "copy"), 1, 1, b, &[y, x, 1]));
        ok(sys::cuCtxSynchronize());
    }
    host(y, 1)[0]
}

#[test]
fn a_missing_wait_for_an_event_is_noticed() {
    assert_eq!(produce_and_consume("{}", false, 1), 5, "the consumer ran after the producer by luck");
    let runs: Vec<u32> =
        (0..20).map(|s| produce_and_consume(&format!("{{\"seed\": {s}}}"), false, 1)).collect();
    assert!(runs.contains(&5) && runs.contains(&6), "both orders are legal: {runs:?}");
}

#[test]
fn a_wait_for_an_event_orders_streams_with_every_seed() {
    assert_eq!(produce_and_consume("{}", true, 1), 6);
    for seed in 0..20 {
        assert_eq!(produce_and_consume(&format!("{{\"seed\": {seed}}}"), true, 1), 6, "seed {seed}");
    }
}

/// Work in a blocking or non-blocking stream, then in stream 0, then in the other stream again.
fn around_stream_0(flags: u32) -> Vec<u32> {
    let _turn = fresh("{}");
    context();
    let module = load(driver::KERNELS);
    let (add, copy) = (kernel(module, "add"), kernel(module, "copy"));
    let (x, seen_by_0, seen_after) = (device(&[1]), device(&[0]), device(&[0]));
    // SAFETY: the handles are live, the pointers are to locals.
    unsafe {
        let s: sys::CUstream = get(|p| sys::cuStreamCreate(p, flags));
        let late: sys::CUstream = get(|p| sys::cuStreamCreate(p, flags));
        ok(launch(add, 1, 1, s, &[x, 10, 1]));
        ok(launch(copy, 1, 1, DEFAULT, &[seen_by_0, x, 1]));
        ok(launch(add, 1, 1, DEFAULT, &[x, 100, 1]));
        ok(launch(copy, 1, 1, late, &[seen_after, x, 1]));
        ok(sys::cuCtxSynchronize());
    }
    [host(seen_by_0, 1), host(seen_after, 1)].concat()
}

#[test]
fn stream_0_waits_for_blocking_streams_and_they_for_it() {
    assert_eq!(around_stream_0(0), [11, 111]);
}

#[test]
fn non_blocking_streams_do_not_wait_for_stream_0() {
    assert_eq!(around_stream_0(1), [1, 1], "what was submitted last ran first");
}

#[test]
fn a_copy_to_pinned_memory_lands_when_somebody_waits() {
    let _turn = fresh("{}");
    context();
    let (x, s) = (device(&[42]), stream());
    let to = pinned(1);
    // SAFETY: the pinned memory has one word, and nobody writes it while it is read.
    unsafe {
        ok(sys::cuMemcpyDtoHAsync_v2(to.cast(), x, 4, s));
        assert_eq!(to.read_volatile(), 0, "it was not waited for");
        ok(sys::cuStreamSynchronize(s));
        assert_eq!(to.read_volatile(), 42);
    }
}

#[test]
fn a_copy_to_pageable_memory_is_there_on_return() {
    let _turn = fresh("{}");
    context();
    let (x, s) = (device(&[42]), stream());
    let mut to = 0_u32;
    // SAFETY: the target is a local of the copy's length.
    ok(unsafe { sys::cuMemcpyDtoHAsync_v2((&raw mut to).cast(), x, 4, s) });
    assert_eq!(to, 42);
}

#[test]
fn pageable_sources_are_read_at_once_and_pinned_ones_late() {
    let _turn = fresh("{}");
    context();
    let (x, y, s) = (device(&[0]), device(&[0]), stream());
    let from = pinned(1);
    // SAFETY: the sources have one word each.
    unsafe {
        let mut pageable = 1_u32;
        from.write(1);
        ok(sys::cuMemcpyHtoDAsync_v2(x, (&raw const pageable).cast(), 4, s));
        ok(sys::cuMemcpyHtoDAsync_v2(y, from.cast(), 4, s));
        pageable += 1;
        from.write(pageable);
        ok(sys::cuStreamSynchronize(s));
    }
    assert_eq!((host(x, 1), host(y, 1)), (vec![1], vec![2]));
}

#[test]
fn asking_a_stream_or_event_gets_its_work_done_in_the_end() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(driver::KERNELS), "add");
    let (x, s, e) = (device(&[0]), stream(), event());
    // SAFETY: the handles are live.
    unsafe {
        ok(launch(add, 1, 1, s, &[x, 1, 1]));
        ok(launch(add, 1, 1, s, &[x, 1, 1]));
        ok(sys::cuEventRecord(e, s));
        gives(sys::cuStreamQuery(s), 600);
        gives(sys::cuEventQuery(e), 600);
        ok(sys::cuEventQuery(e));
        ok(sys::cuStreamQuery(s));
    }
    assert_eq!(host(x, 1), [2]);
}

#[test]
fn events_measure_time_forwards() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(driver::KERNELS), "add");
    let (x, s, a, b) = (device(&vec![0; 4096]), stream(), event(), event());
    // SAFETY: the handles are live, the pointers are to locals.
    unsafe {
        gives(sys::cuEventElapsedTime(&mut 0.0, a, b), 400);
        ok(sys::cuEventRecord(a, s));
        ok(launch(add, 32, 128, s, &[x, 1, 4096]));
        ok(sys::cuEventRecord(b, s));
        gives(sys::cuEventElapsedTime(&mut 0.0, a, b), 600);
        ok(sys::cuEventSynchronize(b));
        let forwards: f32 = get(|p| sys::cuEventElapsedTime(p, a, b));
        let backwards: f32 = get(|p| sys::cuEventElapsedTime(p, b, a));
        assert!(forwards > 0.0 && forwards == -backwards, "{forwards} ms, {backwards} ms");
        let silent: sys::CUevent = get(|p| sys::cuEventCreate(p, 2));
        ok(sys::cuEventRecord(silent, s));
        ok(sys::cuEventSynchronize(silent));
        gives(sys::cuEventElapsedTime(&mut 0.0, a, silent), 400);
    }
}

#[test]
fn a_destroyed_stream_has_done_its_work() {
    let _turn = fresh("{}");
    context();
    let add = kernel(load(driver::KERNELS), "add");
    let (x, s, other) = (device(&[0]), stream(), stream());
    // SAFETY: the handles are live; the last one is not, and that is the point.
    unsafe {
        ok(launch(add, 1, 1, s, &[x, 1, 1]));
        ok(sys::cuStreamDestroy_v2(s));
        let y = device(&[0]);
        ok(launch(kernel(load(driver::KERNELS), "copy"), 1, 1, other, &[y, x, 1]));
        ok(sys::cuStreamSynchronize(other));
        assert_eq!(host(y, 1), [1]);
        gives(sys::cuStreamSynchronize(s), 400);
    }
}

static CALLS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn count(data: *mut c_void) {
    CALLS.fetch_add(data as usize as u32, Ordering::Relaxed);
}

unsafe extern "C" fn count_callback(_stream: sys::CUstream, status: sys::CUresult, data: *mut c_void) {
    assert_eq!(status, sys::CUresult::CUDA_SUCCESS);
    CALLS.fetch_add(data as usize as u32, Ordering::Relaxed);
}

unsafe extern "C" fn call_the_driver(data: *mut c_void) {
    let mut free = (0, 0);
    // SAFETY: `data` is the address of the test's code.
    unsafe { *data.cast::<u32>() = sys::cuMemGetInfo_v2(&mut free.0, &mut free.1) as u32 };
}

#[test]
fn functions_of_the_host_run_in_order_and_may_not_call_the_driver() {
    let _turn = fresh("{}");
    context();
    let s = stream();
    let mut code = 0_u32;
    // SAFETY: the functions have the types that the API asks for, and their data lives until the stream is done.
    unsafe {
        CALLS.store(0, Ordering::Relaxed);
        ok(sys::cuLaunchHostFunc(s, Some(count), 3 as *mut c_void));
        ok(sys::cuStreamAddCallback(s, Some(count_callback), 4 as *mut c_void, 0));
        ok(sys::cuLaunchHostFunc(s, Some(call_the_driver), (&raw mut code).cast()));
        ok(sys::cuStreamSynchronize(s));
        gives(sys::cuLaunchHostFunc(s, None, null_mut()), 1);
    }
    assert_eq!((CALLS.load(Ordering::Relaxed), code), (7, 800));
}

unsafe extern "C" fn hold_up(data: *mut c_void) {
    // SAFETY: `data` is the test's channel ends, which outlive the call.
    let (started, go) = unsafe { &*data.cast::<(mpsc::Sender<()>, mpsc::Receiver<()>)>() };
    started.send(()).expect("the test listens");
    go.recv().expect("the test sends");
}

#[test]
fn while_a_function_of_the_host_runs_other_threads_can_call_the_driver() {
    let _turn = fresh("{}");
    let context = context() as usize;
    let s = stream() as usize;
    let ((started, has_started), (go, may_go)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    std::thread::scope(|scope| {
        let ends = (started, may_go);
        scope.spawn(move || {
            // SAFETY: the handles are live; the channel ends live until the function has run, which is before the call returns.
            unsafe {
                ok(sys::cuCtxSetCurrent(context as sys::CUcontext));
                ok(sys::cuLaunchHostFunc(
                    s as sys::CUstream,
                    Some(hold_up),
                    (&raw const ends).cast_mut().cast(),
                ));
            }
        });
        has_started.recv().expect("the function runs");
        let x = device_without_waiting();
        go.send(()).expect("the function waits");
        // SAFETY: the handles are live.
        unsafe { ok(sys::cuStreamSynchronize(s as sys::CUstream)) };
        assert_eq!(host(x, 1), [0]);
    });
}

fn device_without_waiting() -> u64 {
    // SAFETY: the pointer is to a local.
    unsafe {
        let x = get(|p| sys::cuMemAlloc_v2(p, 4));
        ok(sys::cuMemsetD32Async(x, 0, 1, stream()));
        x
    }
}

#[test]
fn many_threads_launch_into_streams_of_their_own() {
    let _turn = fresh("{\"seed\": 3}");
    let context = context() as usize;
    let add = kernel(load(driver::KERNELS), "add") as usize;
    std::thread::scope(|scope| {
        for t in 0..8_u64 {
            scope.spawn(move || {
                // SAFETY: the handles are live.
                unsafe { ok(sys::cuCtxSetCurrent(context as sys::CUcontext)) };
                let (x, s) = (device(&[0; 64]), stream());
                for _ in 0..50 {
                    ok(launch(add as sys::CUfunction, 2, 32, s, &[x, t, 64]));
                }
                // SAFETY: the handle is live.
                unsafe { ok(sys::cuStreamSynchronize(s)) };
                assert_eq!(host(x, 64), vec![50 * t as u32; 64]);
            });
        }
    });
}

#[test]
fn priorities_and_flags_are_kept() {
    let _turn = fresh("{}");
    context();
    // SAFETY: the pointers are to locals, the handles are live.
    unsafe {
        let (mut least, mut greatest) = (1, 1);
        ok(sys::cuCtxGetStreamPriorityRange(&mut least, &mut greatest));
        assert_eq!((least, greatest), (0, -5));
        let s: sys::CUstream = get(|p| sys::cuStreamCreateWithPriority(p, 1, -99));
        let priority: i32 = get(|p| sys::cuStreamGetPriority(s, p));
        let flags: u32 = get(|p| sys::cuStreamGetFlags(s, p));
        assert_eq!((priority, flags), (-5, 1), "priorities are clamped");
    }
}
