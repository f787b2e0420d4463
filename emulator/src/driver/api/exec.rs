//! Graphs made ready to launch: how programs make, change and launch them.

use super::{
    copy::{Copy3d, Fill},
    entries,
    graph::HostParams,
    launch::KernelParams,
    raw::{In, Out},
};
use crate::driver::{
    objects::{
        code::{Code, Error, Result},
        graph::{Exec, Graph, Node},
        handle::Id,
        stream::Stream,
        work::Work,
    },
    state::{Driver, Locked, exec::Outcome, run},
};
use bytemuck::{Pod, Zeroable};

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct UpdateInfo {
    result: u32,
    reserved: u32,
    node: Id<Node>,
    from_node: Id<Node>,
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct InstantiateParams {
    flags: u64,
    stream: u64,
    node: u64,
    result: u32,
    reserved: u32,
}

fn launch(d: &mut Locked, exec: Id<Exec>, stream: Id<Stream>) -> Result<()> {
    let stream = d.stream(stream)?;
    let nodes = d.execs.get(exec)?.nodes.clone();
    run::work(d, stream, Work::Graph(nodes)).map(|_| ())
}

fn update(d: &mut Driver, exec: Id<Exec>, graph: Id<Graph>, info: &Out<UpdateInfo>) -> Result<()> {
    let (outcome, node) = d.update_all(exec, graph)?;
    let result = UpdateInfo { result: outcome as u32, reserved: 0, node, from_node: Id::NULL };
    info.set_if_wanted(result);
    match outcome {
        Outcome::Success => Ok(()),
        other => Err(changed(other)),
    }
}

fn changed(outcome: Outcome) -> Error {
    Code::GRAPH_EXEC_UPDATE_FAILURE.because(format!("the graph differs from the one launched: {outcome:?}"))
}

entries! {
    fn cuGraphInstantiateWithFlags(exec: Out<Id<Exec>>, graph: Id<Graph>, flags: u64) |d| {
        exec.fill(|| d.instantiate(graph, flags))
    };
    fn cuGraphInstantiateWithParams(exec: Out<Id<Exec>>, graph: Id<Graph>, params: Out<InstantiateParams>) |d| {
        let given = params.get()?;
        let made = d.instantiate(graph, given.flags);
        // 0: success; 1: an error.
        params.set(InstantiateParams { node: 0, result: u32::from(made.is_err()), ..given })?;
        exec.fill(|| made)
    };
    /// The error node and the log stay empty: the result says what is wrong.
    fn cuGraphInstantiate_v2(exec: Out<Id<Exec>>, graph: Id<Graph>, node: Out<Id<Node>>, log: Out<u8>, len: usize) |d| {
        node.set_if_wanted(Id::NULL);
        if len > 0 {
            log.set_if_wanted(0);
        }
        exec.fill(|| d.instantiate(graph, 0))
    };
    fn cuGraphExecDestroy(exec: Id<Exec>) |d| d.execs.remove(exec).map(|_| ());
    fn cuGraphExecGetFlags(exec: Id<Exec>, flags: Out<u64>) |d| flags.fill(|| Ok(d.execs.get(exec)?.flags));
    fn cuGraphUpload(exec: Id<Exec>, stream: Id<Stream>) |d| {
        d.stream(stream)?;
        d.execs.get(exec).map(|_| ())
    };
    fn cuGraphLaunch(exec: Id<Exec>, stream: Id<Stream>) |d| launch(d, exec, stream);
    fn cuGraphExecKernelNodeSetParams_v2(exec: Id<Exec>, node: Id<Node>, params: In<KernelParams>) |d| {
        let work = d.kernel_work(&params.get()?)?;
        d.update_node(exec, node, work)
    };
    fn cuGraphExecMemcpyNodeSetParams(exec: Id<Exec>, node: Id<Node>, params: In<Copy3d>, _context: u64) |d| {
        let work = d.copy_work(&params.get()?)?;
        d.update_node(exec, node, Work::Copy(work))
    };
    fn cuGraphExecMemsetNodeSetParams(exec: Id<Exec>, node: Id<Node>, params: In<Fill>, _context: u64) |d| {
        let work = d.set_work(&params.get()?)?;
        d.update_node(exec, node, Work::Set(work))
    };
    fn cuGraphExecHostNodeSetParams(exec: Id<Exec>, node: Id<Node>, params: In<HostParams>) |d| {
        d.update_node(exec, node, params.get()?.call()?)
    };
    fn cuGraphExecUpdate_v2(exec: Id<Exec>, graph: Id<Graph>, info: Out<UpdateInfo>) |d| update(d, exec, graph, &info);
}
