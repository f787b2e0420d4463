//! Graphs made ready to launch: copies of a graph, whose parameters can be changed as long as the shape stays.

use super::{
    code::{Code, Error, Result},
    copy::{Copy3d, Fill},
    entries,
    graph::{Graph, HostParams, Node, other_kind, same_kind},
    handle::Id,
    launch::KernelParams,
    raw::{In, Out},
    run,
    state::{Driver, Locked},
    stream::Stream,
    work::{CopyWork, Place, Work},
};
use bytemuck::{Pod, Zeroable};
use std::{mem::discriminant, sync::Arc};

/// A graph that can be launched.
#[derive(Debug)]
pub struct Exec {
    /// What launches run: launches that are in streams already keep the nodes that they were submitted with.
    nodes: Arc<Vec<ExecNode>>,
    /// The nodes of the graph that it was made from, in the same order.
    origins: Vec<Id<Node>>,
    flags: u64,
}

/// A node: what it does, and the positions of the nodes that come before it.
#[derive(Debug, Clone)]
pub struct ExecNode {
    pub work: Work,
    pub dependencies: Vec<usize>,
}

/// Flags of `cuGraphInstantiate`: free on launch, upload, on the device, with node priorities.
const FLAGS: u64 = 0b1111;
/// `CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH`.
const DEVICE_LAUNCH: u64 = 4;

/// `CUgraphExecUpdateResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Outcome {
    Success = 0,
    TopologyChanged = 2,
    TypeChanged = 3,
    ParametersChanged = 5,
}

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

impl Driver {
    fn instantiate(&mut self, graph: Id<Graph>, flags: u64) -> Result<Id<Exec>> {
        self.current()?;
        if flags & !FLAGS != 0 {
            return Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected bits of {FLAGS:#x}")));
        }
        if flags & DEVICE_LAUNCH != 0 {
            return Err(Code::NOT_SUPPORTED.because("launching graphs from the device"));
        }
        let (origins, nodes) = self.ordered(graph)?;
        self.request("an executable graph")?;
        Ok(self.execs.insert(Exec { nodes: Arc::new(nodes), origins, flags }))
    }

    /// Gives the node made from `node` other parameters.
    fn update_node(&mut self, exec: Id<Exec>, node: Id<Node>, work: Work) -> Result<()> {
        let exec = self.execs.get_mut(exec)?;
        let at = exec.origins.iter().position(|&o| o == node);
        let at = at.ok_or_else(|| Code::INVALID_VALUE.because("the graph was not made with this node"))?;
        let old = &exec.nodes[at].work;
        if !same_kind(old, &work) {
            return Err(other_kind(old));
        }
        if !compatible(old, &work) {
            return Err(
                Code::INVALID_VALUE.because("an update may not change the kinds of memory of a copy or fill")
            );
        }
        Arc::make_mut(&mut exec.nodes)[at].work = work;
        Ok(())
    }

    /// Takes over all parameters of a graph of the same shape.
    fn update_all(&mut self, exec: Id<Exec>, graph: Id<Graph>) -> Result<(Outcome, Id<Node>)> {
        let (origins, nodes) = self.ordered(graph)?;
        let exec = self.execs.get_mut(exec)?;
        if nodes.len() != exec.nodes.len() {
            return Ok((Outcome::TopologyChanged, Id::NULL));
        }
        for ((new, old), &node) in nodes.iter().zip(&*exec.nodes).zip(&origins) {
            let outcome = match () {
                () if !same_kind(&new.work, &old.work) => Outcome::TypeChanged,
                () if new.dependencies != old.dependencies => Outcome::TopologyChanged,
                () if !compatible(&new.work, &old.work) => Outcome::ParametersChanged,
                () => continue,
            };
            return Ok((outcome, node));
        }
        (exec.nodes, exec.origins) = (Arc::new(nodes), origins);
        Ok((Outcome::Success, Id::NULL))
    }
}

/// Whether an update may turn one piece of work into another of the same kind.
fn compatible(a: &Work, b: &Work) -> bool {
    let sides = |c: &CopyWork| (kind_of(&c.to.place), kind_of(&c.from.place), c.rows, c.slices);
    match (a, b) {
        (Work::Copy(a), Work::Copy(b)) => sides(a) == sides(b),
        (Work::Set(a), Work::Set(b)) => a.rows == b.rows,
        (Work::Graph(a), Work::Graph(b)) => a.len() == b.len(),
        _ => true,
    }
}

fn kind_of(place: &Place) -> std::mem::Discriminant<Place> {
    discriminant(place)
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
