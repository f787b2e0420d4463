//! Stream capture.

mod driver;

use cudarc::driver::sys::{self, CUstreamCaptureMode, CUstreamCaptureStatus};
use driver::{
    DEFAULT, KERNELS, context, device, event, fresh, get, gives, host, instantiate, kernel, launch, load,
    nodes, ok, pinned, run_graph, stream,
};
use std::{ffi::c_void, ptr::null_mut};

const GLOBAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const THREAD_LOCAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
const RELAXED: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;

fn begin(s: sys::CUstream, mode: CUstreamCaptureMode) {
    // SAFETY: the handle is live.
    ok(unsafe { sys::cuStreamBeginCapture_v2(s, mode) });
}

fn end(s: sys::CUstream) -> sys::CUgraph {
    // SAFETY: the handle is live, the pointer is to a local.
    unsafe { get(|p| sys::cuStreamEndCapture(s, p)) }
}

fn status(s: sys::CUstream) -> CUstreamCaptureStatus {
    // SAFETY: the handle is live, the pointer is to a local.
    unsafe { get(|p| sys::cuStreamIsCapturing(s, p)) }
}

#[test]
fn captured_work_runs_at_each_launch_and_not_before() {
    let _turn = fresh("{}");
    context();
    let module = load(KERNELS);
    let (x, y, s) = (device(&[1; 100]), device(&[0; 100]), stream());
    begin(s, GLOBAL);
    assert_eq!(status(s), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
    ok(launch(kernel(module, "add"), 4, 32, s, &[x, 5, 100]));
    // SAFETY: both ranges lie in allocations.
    unsafe {
        ok(sys::cuMemcpyDtoDAsync_v2(y, x, 400, s));
        ok(sys::cuMemsetD32Async(x + 4, 9, 1, s));
    }
    let graph = end(s);
    assert_eq!(status(s), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);
    let types: Vec<u32> = nodes(graph)
        .into_iter()
        // SAFETY: the nodes are the graph's, the pointer is to a local.
        .map(|n| unsafe { get(|p| sys::cuGraphNodeGetType(n, p)) as u32 })
        .collect();
    assert_eq!(types, [0, 1, 2], "kernel, copy, fill");
    assert_eq!(host(x, 2), [1, 1], "captured, not run");
    let exec = instantiate(graph);
    // SAFETY: the handle is live; launches do not need the graph any more.
    ok(unsafe { sys::cuGraphDestroy(graph) });
    run_graph(exec, s);
    run_graph(exec, s);
    assert_eq!(host(x, 3), [11, 9, 11]);
    assert_eq!(host(y, 3), [11, 14, 11]);
    // SAFETY: the handle is live.
    ok(unsafe { sys::cuGraphExecDestroy(exec) });
    // SAFETY: the handle is not live any more, and that is the point.
    gives(unsafe { sys::cuGraphLaunch(exec, s) }, 400);
}

#[test]
fn a_captured_copy_reads_the_host_at_each_launch() {
    let _turn = fresh("{}");
    context();
    let (x, s, from) = (device(&[0]), stream(), pinned(1));
    begin(s, GLOBAL);
    // SAFETY: the source has one word, and nothing reads it while it is written.
    unsafe {
        ok(sys::cuMemcpyHtoDAsync_v2(x, from.cast(), 4, s));
        let exec = instantiate(end(s));
        for value in [7, 8] {
            from.write(value);
            run_graph(exec, s);
            assert_eq!(host(x, 1), [value]);
        }
    }
}

/// Forks a second stream off a captured one, and joins it back or not.
fn fork(join: bool) -> (sys::CUstream, sys::CUstream, u64) {
    let module = load(KERNELS);
    let (x, a, b, forked, joined) = (device(&[0; 2]), stream(), stream(), event(), event());
    begin(a, GLOBAL);
    // SAFETY: the handles are live.
    unsafe {
        ok(launch(kernel(module, "add"), 1, 1, a, &[x, 1, 1]));
        ok(sys::cuEventRecord(forked, a));
        ok(sys::cuStreamWaitEvent(b, forked, 0));
        assert_eq!(
            status(b),
            CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE,
            "it joined the capture"
        );
        ok(launch(kernel(module, "copy"), 1, 1, b, &[x + 4, x, 1]));
        gives(sys::cuEventSynchronize(forked), 907);
        if join {
            ok(sys::cuEventRecord(joined, b));
            ok(sys::cuStreamWaitEvent(a, joined, 0));
            ok(launch(kernel(module, "add"), 1, 1, a, &[x + 4, 10, 1]));
        }
    }
    (a, b, x)
}

#[test]
fn a_capture_follows_events_into_other_streams() {
    for seed in 0..10 {
        let _turn = fresh(&format!("{{\"seed\": {seed}}}"));
        context();
        let (a, b, x) = fork(true);
        let graph = end(a);
        assert_eq!(status(b), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);
        // SAFETY: the handle is live, the pointers are to locals.
        unsafe {
            let edges: usize = get(|p| sys::cuGraphGetEdges(graph, null_mut(), null_mut(), p));
            // The last kernel depends on both streams.
            assert_eq!((nodes(graph).len(), edges), (3, 3));
        }
        run_graph(instantiate(graph), a);
        assert_eq!(host(x, 2), [1, 11], "seed {seed}");
    }
}

#[test]
fn a_fork_that_is_not_joined_gives_no_graph() {
    let _turn = fresh("{}");
    context();
    let (a, b, _) = fork(false);
    // SAFETY: the handles are live, the pointer is to a local.
    unsafe {
        let mut graph = null_mut();
        gives(sys::cuStreamEndCapture(b, &mut graph), 903);
        gives(sys::cuStreamEndCapture(a, &mut graph), 904);
        assert!(graph.is_null());
        gives(sys::cuStreamEndCapture(a, &mut graph), 401);
    }
}

/// What an illegal call during a capture gives, and what the end of the capture gives then.
/// The call gets a captured stream that waits for stream 0, and a word of device memory.
fn during(mode: CUstreamCaptureMode, call: impl FnOnce(sys::CUstream, u64) -> sys::CUresult) -> (u32, u32) {
    let _turn = fresh("{}");
    context();
    let x = device(&[0]);
    // SAFETY: the pointers are to locals, the handles are live.
    unsafe {
        let s: sys::CUstream = get(|p| sys::cuStreamCreate(p, 0));
        begin(s, mode);
        let code = call(s, x) as u32;
        let mut graph = null_mut();
        (code, sys::cuStreamEndCapture(s, &mut graph) as u32)
    }
}

#[test]
fn illegal_calls_break_a_capture() {
    let (mut p, mut word) = (0_u64, 0_u32);
    let to = (&raw mut word).cast::<c_void>();
    // SAFETY: the pointers are to locals, the handles are live.
    unsafe {
        assert_eq!(during(GLOBAL, |s, _| sys::cuStreamSynchronize(s)), (900, 901));
        assert_eq!(during(RELAXED, |s, _| sys::cuStreamQuery(s)), (900, 901));
        assert_eq!(during(RELAXED, |_, _| sys::cuCtxSynchronize()), (900, 901));
        assert_eq!(during(GLOBAL, |_, _| sys::cuMemAlloc_v2(&mut p, 4)), (900, 901));
        assert_eq!(during(THREAD_LOCAL, |_, _| sys::cuMemAlloc_v2(&mut p, 4)), (900, 901));
        assert_eq!(during(RELAXED, |_, _| sys::cuMemAlloc_v2(&mut p, 4)), (0, 0));
        assert_eq!(during(GLOBAL, |_, _| sys::cuEventQuery(event())), (900, 901));
        assert_eq!(during(RELAXED, |_, _| sys::cuStreamSynchronize(DEFAULT)), (906, 901));
        assert_eq!(during(RELAXED, |_, x| sys::cuMemsetD8Async(x, 0, 1, DEFAULT)), (906, 901));
        assert_eq!(during(GLOBAL, |s, _| sys::cuMemAllocAsync(&mut p, 4, s)), (801, 0));
        assert_eq!(during(GLOBAL, |s, _| sys::cuStreamBeginCapture_v2(s, GLOBAL)), (401, 0));
        assert_eq!(during(RELAXED, |s, x| sys::cuMemcpyDtoHAsync_v2(to, x, 4, s)), (0, 0));
    }
}

#[test]
fn after_an_illegal_call_the_stream_takes_no_more() {
    let add = || kernel(load(KERNELS), "empty");
    let outcome = during(RELAXED, |s, _| {
        let f = add();
        // SAFETY: the handle is live.
        gives(unsafe { sys::cuStreamSynchronize(s) }, 900);
        assert_eq!(status(s), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
        launch(f, 1, 1, s, &[])
    });
    assert_eq!(outcome, (901, 901));
}

#[test]
fn events_do_not_cross_the_border_of_a_capture() {
    let outside = during(GLOBAL, |s, _| {
        let (e, other) = (event(), stream());
        // SAFETY: the handles are live.
        unsafe {
            ok(sys::cuEventRecord(e, other));
            sys::cuStreamWaitEvent(s, e, 0)
        }
    });
    assert_eq!(outside, (905, 901));
    let two = during(GLOBAL, |s, _| {
        let (e, other) = (event(), stream());
        begin(other, GLOBAL);
        // SAFETY: the handles are live.
        unsafe {
            ok(sys::cuEventRecord(e, other));
            sys::cuStreamWaitEvent(s, e, 0)
        }
    });
    assert_eq!(two, (902, 901));
}

#[test]
fn captures_of_other_threads_forbid_what_their_mode_says() {
    let _turn = fresh("{}");
    let context = context() as usize;
    // SAFETY: the handles are live, the pointers are to locals.
    unsafe {
        for (mode, code) in [(GLOBAL, 900), (THREAD_LOCAL, 0), (RELAXED, 0)] {
            let s = stream();
            begin(s, mode);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    ok(sys::cuCtxSetCurrent(context as sys::CUcontext));
                    gives(sys::cuMemAlloc_v2(&mut 0, 4), code);
                });
            });
            gives(sys::cuStreamEndCapture(s, &mut null_mut()), if code == 0 { 0 } else { 901 });
        }
        let s = stream();
        begin(s, GLOBAL);
        let at = s as usize;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ok(sys::cuCtxSetCurrent(context as sys::CUcontext));
                gives(sys::cuStreamEndCapture(at as sys::CUstream, &mut null_mut()), 908);
                let mut mode = RELAXED;
                ok(sys::cuThreadExchangeStreamCaptureMode(&mut mode));
                assert_eq!(mode, GLOBAL, "what it was");
                ok(sys::cuMemAlloc_v2(&mut 0, 4));
            });
        });
        ok(sys::cuStreamEndCapture(s, &mut null_mut()));
        gives(sys::cuStreamBeginCapture_v2(DEFAULT, GLOBAL), 900);
    }
}
