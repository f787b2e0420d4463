//! Graphs: made by capture or node by node, changed and launched.

mod driver;

use cudarc::driver::sys;
use driver::{
    Arguments, KERNELS, context, device, fresh, get, gives, instantiate, kernel, load, nodes, ok, pinned,
    run_graph, stream,
};
use std::{ffi::c_void, ptr::null_mut};

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
        run_graph(instantiate(c.graph), stream());
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
        run_graph(exec, s);
        assert_eq!((c.back.read(), c.back.add(31).read(), c.back.add(32).read()), (110, 110, 100));
        let elsewhere = pinned(64);
        let copy = sys::CUDA_MEMCPY3D { dstHost: elsewhere.cast(), ..c.copy };
        ok(sys::cuGraphExecMemcpyNodeSetParams(exec, c.nodes[2], &copy, context));
        run_graph(exec, s);
        assert_eq!(elsewhere.read(), 110);
        gives(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[0], &other), 1);
        let bad = sys::CUDA_KERNEL_NODE_PARAMS { blockDimX: 2000, ..other };
        gives(sys::cuGraphExecKernelNodeSetParams_v2(exec, c.nodes[1], &bad), 1);
        // The graph itself has kept its parameters.
        let shown: sys::CUDA_KERNEL_NODE_PARAMS = get(|p| sys::cuGraphKernelNodeGetParams_v2(c.nodes[1], p));
        assert_eq!((shown.gridDimX, shown.func), (2, c.add));
        assert_eq!((*shown.kernelParams.add(1)).cast::<u32>().read(), 4);
        ok(sys::cuGraphKernelNodeSetParams_v2(c.nodes[1], &other));
        run_graph(instantiate(c.graph), s);
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
        run_graph(exec, s);
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
        run_graph(instantiate(outer), s);
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
