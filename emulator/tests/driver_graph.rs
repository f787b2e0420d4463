//! Stream capture and graphs.

mod driver;

use cudarc::driver::sys::{self, CUstreamCaptureMode, CUstreamCaptureStatus};
use driver::{
    Arguments, DEFAULT, KERNELS, context, device, event, fresh, get, gives, host, kernel, launch, load, ok,
    pinned, stream,
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

fn instantiate(graph: sys::CUgraph) -> sys::CUgraphExec {
    // SAFETY: the handle is live, the pointer is to a local.
    unsafe { get(|p| sys::cuGraphInstantiateWithFlags(p, graph, 0)) }
}

/// Launches a graph and waits for it.
fn run(exec: sys::CUgraphExec, s: sys::CUstream) {
    // SAFETY: the handles are live.
    unsafe {
        ok(sys::cuGraphLaunch(exec, s));
        ok(sys::cuStreamSynchronize(s));
    }
}

fn nodes(graph: sys::CUgraph) -> Vec<sys::CUgraphNode> {
    // SAFETY: the handle is live; the array has the length that the first call gave.
    unsafe {
        let mut n: usize = get(|p| sys::cuGraphGetNodes(graph, null_mut(), p));
        let mut nodes = vec![null_mut(); n];
        ok(sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut n));
        nodes
    }
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
    run(exec, s);
    run(exec, s);
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
            run(exec, s);
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
        run(instantiate(graph), a);
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

/// What a kernel node is made with.
fn params(f: sys::CUfunction, grid: u32, arguments: &mut Arguments) -> sys::CUDA_KERNEL_NODE_PARAMS {
    // SAFETY: all bits zero are valid parameters.
    let mut params: sys::CUDA_KERNEL_NODE_PARAMS = unsafe { std::mem::zeroed() };
    (params.func, params.kernelParams) = (f, arguments.pointers());
    (params.gridDimX, params.gridDimY, params.gridDimZ) = (grid, 1, 1);
    (params.blockDimX, params.blockDimY, params.blockDimZ) = (32, 1, 1);
    params
}

/// A copy of `len` bytes from the device to the host.
fn linear(from: u64, to: *mut u32, len: usize) -> sys::CUDA_MEMCPY3D {
    let mut copy = std::mem::MaybeUninit::<sys::CUDA_MEMCPY3D>::zeroed();
    let fields = copy.as_mut_ptr();
    // SAFETY: all bits zero are valid in all fields but the memory types, and these are set.
    unsafe {
        (*fields).srcMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
        (*fields).dstMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_HOST;
        ((*fields).srcDevice, (*fields).dstHost) = (from, to.cast());
        ((*fields).WidthInBytes, (*fields).Height, (*fields).Depth) = (len, 1, 1);
        copy.assume_init()
    }
}

/// A graph of a fill, a kernel and a copy back to pinned memory, one after the other.
struct Chain {
    graph: sys::CUgraph,
    nodes: [sys::CUgraphNode; 3],
    x: u64,
    back: *mut u32,
    add: sys::CUfunction,
    fill: sys::CUDA_MEMSET_NODE_PARAMS,
    copy: sys::CUDA_MEMCPY3D,
}

fn chain(context: sys::CUcontext) -> Chain {
    let (x, back, add) = (device(&[0; 64]), pinned(64), kernel(load(KERNELS), "add"));
    // SAFETY: all bits zero are valid structures; the pointers are to locals, the handles live.
    unsafe {
        let graph: sys::CUgraph = get(|p| sys::cuGraphCreate(p, 0));
        let fill =
            sys::CUDA_MEMSET_NODE_PARAMS { dst: x, pitch: 0, value: 3, elementSize: 4, width: 64, height: 1 };
        let copy = linear(x, back, 256);
        let first = get(|p| sys::cuGraphAddMemsetNode(p, graph, null_mut(), 0, &fill, context));
        // The arguments are copied when the node is made.
        let mut arguments = Arguments::new(&[x, 4, 64]);
        let launch = params(add, 2, &mut arguments);
        let second = get(|p| sys::cuGraphAddKernelNode_v2(p, graph, &first, 1, &launch));
        let third = get(|p| sys::cuGraphAddMemcpyNode(p, graph, null_mut(), 0, &copy, context));
        ok(sys::cuGraphAddDependencies(graph, &second, &third, 1));
        gives(sys::cuGraphAddDependencies(graph, &second, &third, 1), 1);
        Chain { graph, nodes: [first, second, third], x, back, add, fill, copy }
    }
}

#[test]
fn a_graph_built_node_by_node_runs_in_the_order_of_its_edges() {
    for seed in 0..10 {
        let _turn = fresh(&format!("{{\"seed\": {seed}}}"));
        let c = chain(context());
        run(instantiate(c.graph), stream());
        // SAFETY: the memory has 64 words, and the stream is done.
        unsafe { assert_eq!((c.back.read(), c.back.add(63).read()), (7, 7), "seed {seed}") };
    }
}

#[test]
fn nodes_of_an_executable_graph_take_other_parameters() {
    let _turn = fresh("{}");
    let context = context();
    let c = chain(context);
    let s = stream();
    // SAFETY: the handles are live, the pointers are to locals, and the memory has 64 words.
    unsafe {
        let exec = instantiate(c.graph);
        let mut arguments = Arguments::new(&[c.x, 10, 32]);
        let other = params(c.add, 1, &mut arguments);
        ok(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[1], &other));
        let fill = sys::CUDA_MEMSET_NODE_PARAMS { value: 100, ..c.fill };
        ok(sys::cuGraphExecMemsetNodeSetParams(exec, c.nodes[0], &fill, context));
        run(exec, s);
        assert_eq!((c.back.read(), c.back.add(31).read(), c.back.add(32).read()), (110, 110, 100));
        let elsewhere = pinned(64);
        let copy = sys::CUDA_MEMCPY3D { dstHost: elsewhere.cast(), ..c.copy };
        ok(sys::cuGraphExecMemcpyNodeSetParams(exec, c.nodes[2], &copy, context));
        run(exec, s);
        assert_eq!(elsewhere.read(), 110);
        gives(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[0], &other), 1);
        let bad = sys::CUDA_KERNEL_NODE_PARAMS { blockDimX: 2000, ..other };
        gives(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[1], &bad), 1);
        // The graph itself has kept its parameters.
        let shown: sys::CUDA_KERNEL_NODE_PARAMS = get(|p| sys::cuGraphKernelNodeGetParams_v2(c.nodes[1], p));
        assert_eq!((shown.gridDimX, shown.func), (2, c.add));
        assert_eq!((*shown.kernelParams.add(1)).cast::<u32>().read(), 4);
        ok(sys::cuGraphKernelNodeSetParams_v2(c.nodes[1], &other));
        run(instantiate(c.graph), s);
        assert_eq!((c.back.read(), c.back.add(32).read()), (13, 3));
    }
}

#[test]
fn an_update_takes_over_a_graph_of_the_same_shape_and_no_other() {
    let _turn = fresh("{}");
    let context = context();
    let (c, s) = (chain(context), stream());
    // SAFETY: the handles are live, the pointers are to locals, and the memory has 64 words.
    unsafe {
        let exec = instantiate(c.graph);
        let other: sys::CUgraph = get(|p| sys::cuGraphClone(p, c.graph));
        let node = get(|p| sys::cuGraphNodeFindInClone(p, c.nodes[1], other));
        let mut arguments = Arguments::new(&[c.x, 50, 64]);
        ok(sys::cuGraphKernelNodeSetParams_v2(node, &params(c.add, 2, &mut arguments)));
        let mut info: sys::CUgraphExecUpdateResultInfo = std::mem::zeroed();
        ok(sys::cuGraphExecUpdate_v2(exec, other, &mut info));
        run(exec, s);
        assert_eq!(c.back.read(), 53);
        let _: sys::CUgraphNode = get(|p| sys::cuGraphAddEmptyNode(p, other, null_mut(), 0));
        gives(sys::cuGraphExecUpdate_v2(exec, other, &mut info), 910);
        assert_eq!(info.result as u32, 2, "the topology changed");
    }
}

#[test]
fn a_launch_keeps_the_parameters_that_it_was_submitted_with() {
    let _turn = fresh("{}");
    let c = chain(context());
    let s = stream();
    // SAFETY: the handles are live, and the memory has 64 words.
    unsafe {
        let exec = instantiate(c.graph);
        ok(sys::cuGraphLaunch(exec, s));
        let mut arguments = Arguments::new(&[c.x, 1000, 64]);
        ok(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[1], &params(c.add, 2, &mut arguments)));
        ok(sys::cuStreamSynchronize(s));
        assert_eq!(c.back.read(), 7);
    }
}

static mut CALLED: u32 = 0;

unsafe extern "C" fn called(_: *mut c_void) {
    // SAFETY: tests take turns, and this one waits for the graph before it reads.
    unsafe { CALLED += 1 };
}

#[test]
fn graphs_hold_functions_of_the_host_and_other_graphs() {
    let _turn = fresh("{}");
    let c = chain(context());
    let s = stream();
    // SAFETY: the handles are live, the pointers are to locals; tests take turns.
    unsafe {
        CALLED = 0;
        let outer: sys::CUgraph = get(|p| sys::cuGraphCreate(p, 0));
        let child = get(|p| sys::cuGraphAddChildGraphNode(p, outer, null_mut(), 0, c.graph));
        let call = sys::CUDA_HOST_NODE_PARAMS { fn_: Some(called), userData: null_mut() };
        let _: sys::CUgraphNode = get(|p| sys::cuGraphAddHostNode(p, outer, &child, 1, &call));
        run(instantiate(outer), s);
        assert_eq!((CALLED, c.back.read()), (1, 7));
    }
}

#[test]
fn cycles_and_strangers_are_refused() {
    let _turn = fresh("{}");
    context();
    // SAFETY: the handles are live, the pointers are to locals; the last handles are not live, and that is the point.
    unsafe {
        let (g, h): (sys::CUgraph, sys::CUgraph) =
            (get(|p| sys::cuGraphCreate(p, 0)), get(|p| sys::cuGraphCreate(p, 0)));
        let a = get(|p| sys::cuGraphAddEmptyNode(p, g, null_mut(), 0));
        let b = get(|p| sys::cuGraphAddEmptyNode(p, g, &a, 1));
        gives(sys::cuGraphAddEmptyNode(&mut null_mut(), h, &a, 1), 1);
        gives(sys::cuGraphAddEmptyNode(&mut null_mut(), g, [a, a].as_ptr(), 2), 1);
        ok(sys::cuGraphAddDependencies(g, &b, &a, 1));
        gives(sys::cuGraphInstantiateWithFlags(&mut null_mut(), g, 0), 1);
        ok(sys::cuGraphRemoveDependencies(g, &b, &a, 1));
        let exec = instantiate(g);
        ok(sys::cuGraphUpload(exec, stream()));
        ok(sys::cuGraphDestroyNode(a));
        assert_eq!(nodes(g), [b]);
        ok(sys::cuGraphDestroy(g));
        gives(sys::cuGraphDestroy(g), 400);
        gives(sys::cuGraphNodeGetType(b, &mut sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL), 400);
    }
}
