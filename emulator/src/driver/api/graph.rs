//! Graphs: how programs build and ask for them.

use super::{
    copy::{Copy3d, Fill},
    entries,
    launch::KernelParams,
    raw::{In, Out, Text, list},
};
use crate::driver::{
    objects::{
        code::{Code, Result},
        graph::{Graph, Node},
        handle::Id,
        host::{Host, HostFunction},
        work::{HostCall, Work},
    },
    state::Driver,
};
use bytemuck::{Pod, Zeroable};
use std::sync::Arc;

impl Driver {
    fn kernel_params(&mut self, id: Id<Node>) -> Result<KernelParams> {
        let node = self.nodes.get_mut(id)?;
        let Work::Kernel(kernel) = &node.work else { return Err(node.work.other_kind()) };
        let function = &kernel.program.functions[kernel.launch.kernel];
        let base = kernel.launch.params.as_ptr() as u64;
        node.pointers = function.params.iter().map(|p| base + u64::from(p.offset)).collect();
        Ok(KernelParams::new(kernel, node.pointers.as_ptr() as u64))
    }
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct HostParams {
    function: HostFunction,
    data: Host,
}

impl HostParams {
    /// The call that they ask for.
    pub fn call(self) -> Result<Work> {
        self.function.check()?;
        Ok(Work::Call(HostCall::Plain(self.function, self.data)))
    }
}

/// Where a new node goes: `cuGraphAdd...Node`.
struct Place {
    node: Out<Id<Node>>,
    graph: Id<Graph>,
    dependencies: In<Id<Node>>,
    count: usize,
}

impl Place {
    fn add(&self, d: &mut Driver, work: Work) -> Result<()> {
        let dependencies = self.dependencies.take(self.count)?;
        self.node.fill(|| d.add_node(self.graph, work, dependencies))
    }
}

entries! {
    fn cuGraphCreate(graph: Out<Id<Graph>>, flags: u32) |d| match flags {
        0 => graph.fill(|| Ok(d.graphs.insert(Graph::default()))),
        _ => Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0"))),
    };
    fn cuGraphDestroy(graph: Id<Graph>) |d| d.destroy_graph(graph);
    fn cuGraphClone(clone: Out<Id<Graph>>, original: Id<Graph>) |d| clone.fill(|| d.clone_graph(original));
    fn cuGraphNodeFindInClone(node: Out<Id<Node>>, original: Id<Node>, clone: Id<Graph>) |d| {
        node.fill(|| d.find_in_clone(original, clone))
    };
    fn cuGraphAddKernelNode_v2(
        node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize, params: In<KernelParams>
    ) |d| {
        let work = d.kernel_work(&params.get()?)?;
        Place { node, graph, dependencies, count }.add(d, work)
    };
    fn cuGraphAddMemcpyNode(
        node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize, params: In<Copy3d>, _context: u64
    ) |d| {
        let work = Work::Copy(d.copy_work(&params.get()?)?);
        Place { node, graph, dependencies, count }.add(d, work)
    };
    fn cuGraphAddMemsetNode(
        node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize, params: In<Fill>, _context: u64
    ) |d| {
        let work = Work::Set(d.set_work(&params.get()?)?);
        Place { node, graph, dependencies, count }.add(d, work)
    };
    fn cuGraphAddHostNode(
        node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize, params: In<HostParams>
    ) |d| {
        let work = params.get()?.call()?;
        Place { node, graph, dependencies, count }.add(d, work)
    };
    fn cuGraphAddEmptyNode(node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize) |d| {
        Place { node, graph, dependencies, count }.add(d, Work::Empty)
    };
    fn cuGraphAddChildGraphNode(
        node: Out<Id<Node>>, graph: Id<Graph>, dependencies: In<Id<Node>>, count: usize, child: Id<Graph>
    ) |d| {
        let work = Work::Graph(Arc::new(d.ordered(child)?.1));
        Place { node, graph, dependencies, count }.add(d, work)
    };
    fn cuGraphAddDependencies(graph: Id<Graph>, from: In<Id<Node>>, to: In<Id<Node>>, count: usize) |d| {
        (0..count).try_for_each(|i| d.connect(graph, from.at(i)?, to.at(i)?))
    };
    fn cuGraphRemoveDependencies(graph: Id<Graph>, from: In<Id<Node>>, to: In<Id<Node>>, count: usize) |d| {
        (0..count).try_for_each(|i| d.disconnect(graph, from.at(i)?, to.at(i)?))
    };
    fn cuGraphDestroyNode(node: Id<Node>) |d| d.destroy_node(node);
    fn cuGraphGetNodes(graph: Id<Graph>, nodes: Out<Id<Node>>, count: Out<usize>) |d| {
        list(&d.graphs.get(graph)?.nodes, &nodes, &count)
    };
    fn cuGraphGetRootNodes(graph: Id<Graph>, nodes: Out<Id<Node>>, count: Out<usize>) |d| {
        let all = d.graphs.get(graph)?.nodes.iter().copied();
        let roots: Vec<_> = all.filter(|&n| d.nodes.get(n).is_ok_and(|n| n.dependencies.is_empty())).collect();
        list(&roots, &nodes, &count)
    };
    fn cuGraphGetEdges(graph: Id<Graph>, from: Out<Id<Node>>, to: Out<Id<Node>>, count: Out<usize>) |d| {
        let (starts, ends): (Vec<_>, Vec<_>) = d.edges(graph)?.into_iter().unzip();
        let room = count.get()?;
        list(&starts, &from, &count)?;
        if !from.is_null() {
            count.set(room)?;
        }
        list(&ends, &to, &count)
    };
    fn cuGraphNodeGetDependencies(node: Id<Node>, dependencies: Out<Id<Node>>, count: Out<usize>) |d| {
        list(&d.nodes.get(node)?.dependencies, &dependencies, &count)
    };
    fn cuGraphNodeGetDependentNodes(node: Id<Node>, dependents: Out<Id<Node>>, count: Out<usize>) |d| {
        let edges = d.edges(d.nodes.get(node)?.graph)?;
        let found: Vec<_> = edges.into_iter().filter(|&(from, _)| from == node).map(|(_, to)| to).collect();
        list(&found, &dependents, &count)
    };
    fn cuGraphNodeGetType(node: Id<Node>, to: Out<u32>) |d| to.fill(|| Ok(d.nodes.get(node)?.work.kind()));
    fn cuGraphKernelNodeGetParams_v2(node: Id<Node>, params: Out<KernelParams>) |d| params.fill(|| d.kernel_params(node));
    fn cuGraphKernelNodeSetParams_v2(node: Id<Node>, params: In<KernelParams>) |d| {
        let work = d.kernel_work(&params.get()?)?;
        d.set_node_work(node, work)
    };
    fn cuGraphMemcpyNodeSetParams(node: Id<Node>, params: In<Copy3d>) |d| {
        let work = d.copy_work(&params.get()?)?;
        d.set_node_work(node, Work::Copy(work))
    };
    fn cuGraphMemsetNodeSetParams(node: Id<Node>, params: In<Fill>) |d| {
        let work = d.set_work(&params.get()?)?;
        d.set_node_work(node, Work::Set(work))
    };
    fn cuGraphHostNodeSetParams(node: Id<Node>, params: In<HostParams>) |d| d.set_node_work(node, params.get()?.call()?);
    fn cuGraphDebugDotPrint(graph: Id<Graph>, path: Text, _flags: u32) |d| {
        let path = path.get()?;
        let written = std::fs::write(&path, d.dot(graph)?);
        written.map_err(|e| Code::OPERATING_SYSTEM.because(format!("{path}: {e}")))
    };
}
