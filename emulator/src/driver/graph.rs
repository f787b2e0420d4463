//! Graphs: work and its dependencies, built node by node or captured from streams.

use super::{
    code::{Code, Result},
    copy::{Copy3d, Fill},
    entries,
    exec::ExecNode,
    handle::Id,
    launch::KernelParams,
    raw::{Host, HostFunction, In, Out, Text, list},
    state::Driver,
    work::{HostCall, Work},
};
use bytemuck::{Pod, Zeroable};
use std::{fmt::Write, sync::Arc};

/// A graph.
#[derive(Debug, Default)]
pub struct Graph {
    /// Its nodes, in the order in which they were added.
    pub nodes: Vec<Id<Node>>,
    /// For a clone: the nodes of the original that these were made from.
    originals: Vec<Id<Node>>,
}

/// A node of a graph.
#[derive(Debug)]
pub struct Node {
    pub graph: Id<Graph>,
    pub work: Work,
    pub dependencies: Vec<Id<Node>>,
    /// What `cuGraphKernelNodeGetParams` shows: pointers to the parameters.
    pub pointers: Vec<u64>,
}

impl Driver {
    /// Adds a node.
    pub(super) fn add_node(
        &mut self,
        graph: Id<Graph>,
        work: Work,
        dependencies: Vec<Id<Node>>,
    ) -> Result<Id<Node>> {
        self.graphs.get(graph)?;
        for (i, &dependency) in dependencies.iter().enumerate() {
            let of = self.nodes.get(dependency).map_err(|e| Code::INVALID_VALUE.because(e.message))?.graph;
            if of != graph || dependencies[..i].contains(&dependency) {
                let message = format!("dependency {dependency:?} is of another graph or named twice");
                return Err(Code::INVALID_VALUE.because(message));
            }
        }
        let node = self.nodes.insert(Node { graph, work, dependencies, pointers: Vec::new() });
        self.graphs.get_mut(graph)?.nodes.push(node);
        Ok(node)
    }

    /// Destroys a graph with its nodes.
    pub(super) fn destroy_graph(&mut self, graph: Id<Graph>) -> Result<()> {
        for node in self.graphs.remove(graph)?.nodes {
            self.nodes.remove(node)?;
        }
        Ok(())
    }

    /// The nodes of a graph in an order that respects the dependencies, with the positions of these.
    pub(super) fn ordered(&self, graph: Id<Graph>) -> Result<(Vec<Id<Node>>, Vec<ExecNode>)> {
        let all = &self.graphs.get(graph)?.nodes;
        let (mut order, mut nodes): (Vec<Id<Node>>, Vec<ExecNode>) = Default::default();
        while order.len() < all.len() {
            let before = order.len();
            for &id in all {
                let node = self.nodes.get(id)?;
                let at = |id: &Id<Node>| order.iter().position(|o| o == id);
                let Some(dependencies) = node.dependencies.iter().map(at).collect() else { continue };
                if !order.contains(&id) {
                    order.push(id);
                    nodes.push(ExecNode { work: node.work.clone(), dependencies });
                }
            }
            if order.len() == before {
                return Err(Code::INVALID_VALUE.because("the graph has a cycle"));
            }
        }
        Ok((order, nodes))
    }

    fn clone_graph(&mut self, original: Id<Graph>) -> Result<Id<Graph>> {
        let originals = self.graphs.get(original)?.nodes.clone();
        let graph = self.graphs.insert(Graph::default());
        let mut copies: Vec<Id<Node>> = Vec::new();
        for &id in &originals {
            let work = self.nodes.get(id)?.work.clone();
            copies.push(self.add_node(graph, work, Vec::new())?);
        }
        let counterpart = |id: &Id<Node>| originals.iter().position(|o| o == id).map(|i| copies[i]);
        for (&id, &copy) in originals.iter().zip(&copies) {
            let dependencies = self.nodes.get(id)?.dependencies.iter().filter_map(counterpart).collect();
            self.nodes.get_mut(copy)?.dependencies = dependencies;
        }
        self.graphs.get_mut(graph)?.originals = originals;
        Ok(graph)
    }

    fn find_in_clone(&self, original: Id<Node>, clone: Id<Graph>) -> Result<Id<Node>> {
        let graph = self.graphs.get(clone)?;
        let at = graph.originals.iter().position(|&o| o == original);
        let found = at.and_then(|i| graph.nodes.get(i).copied());
        found.ok_or_else(|| Code::INVALID_VALUE.because("the graph has no clone of the node"))
    }

    fn edges(&self, graph: Id<Graph>) -> Result<Vec<(Id<Node>, Id<Node>)>> {
        let mut edges = Vec::new();
        for &to in &self.graphs.get(graph)?.nodes {
            edges.extend(self.nodes.get(to)?.dependencies.iter().map(|&from| (from, to)));
        }
        Ok(edges)
    }

    fn connect(&mut self, graph: Id<Graph>, from: Id<Node>, to: Id<Node>) -> Result<()> {
        let of_graph = |id| self.nodes.get(id).is_ok_and(|n| n.graph == graph);
        if from == to || !of_graph(from) || !of_graph(to) {
            return Err(Code::INVALID_VALUE.because(format!("no edge from {from:?} to {to:?} can be")));
        }
        let dependencies = &mut self.nodes.get_mut(to)?.dependencies;
        if dependencies.contains(&from) {
            return Err(Code::INVALID_VALUE.because(format!("the edge from {from:?} to {to:?} exists")));
        }
        dependencies.push(from);
        Ok(())
    }

    fn disconnect(&mut self, graph: Id<Graph>, from: Id<Node>, to: Id<Node>) -> Result<()> {
        let node = self.nodes.get_mut(to)?;
        let at = node.dependencies.iter().position(|&d| d == from).filter(|_| node.graph == graph);
        let at = at.ok_or_else(|| Code::INVALID_VALUE.because("no such edge"))?;
        node.dependencies.remove(at);
        Ok(())
    }

    fn destroy_node(&mut self, id: Id<Node>) -> Result<()> {
        let graph = self.nodes.remove(id)?.graph;
        self.graphs.get_mut(graph)?.nodes.retain(|&n| n != id);
        self.nodes.iter_mut().for_each(|(_, n)| n.dependencies.retain(|&d| d != id));
        Ok(())
    }

    fn kernel_params(&mut self, id: Id<Node>) -> Result<KernelParams> {
        let node = self.nodes.get_mut(id)?;
        let Work::Kernel(kernel) = &node.work else { return Err(other_kind(&node.work)) };
        let function = &kernel.program.functions[kernel.launch.kernel];
        let base = kernel.launch.params.as_ptr() as u64;
        node.pointers = function.params.iter().map(|p| base + u64::from(p.offset)).collect();
        Ok(KernelParams::new(kernel, node.pointers.as_ptr() as u64))
    }

    fn dot(&self, graph: Id<Graph>) -> Result<String> {
        let mut text = "digraph graph_1 {\n".to_string();
        let name = |id: Id<Node>| format!("\"{id:?}\"");
        for &id in &self.graphs.get(graph)?.nodes {
            let label = match &self.nodes.get(id)?.work {
                Work::Kernel(k) => k.program.functions[k.launch.kernel].name.clone(),
                other => kind_name(other).to_string(),
            };
            let _ = writeln!(text, "  {} [label=\"{}\"];", name(id), label.replace('"', "'"));
        }
        for (from, to) in self.edges(graph)? {
            let _ = writeln!(text, "  {} -> {};", name(from), name(to));
        }
        Ok(text + "}\n")
    }
}

/// `CUgraphNodeType`.
fn kind(work: &Work) -> u32 {
    match work {
        Work::Kernel(_) => 0,
        Work::Copy(_) => 1,
        Work::Set(_) => 2,
        Work::Call(_) => 3,
        Work::Graph(_) => 4,
        Work::Empty => 5,
    }
}

fn kind_name(work: &Work) -> &'static str {
    ["kernel", "copy", "fill", "host function", "graph", "empty"][kind(work) as usize]
}

/// Whether two pieces of work are of the same kind.
pub fn same_kind(a: &Work, b: &Work) -> bool {
    kind(a) == kind(b)
}

/// The error for a node of another kind than the function is for.
pub fn other_kind(work: &Work) -> super::code::Error {
    Code::INVALID_VALUE.because(format!("the node is of another kind: {}", kind_name(work)))
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

fn set_work(d: &mut Driver, node: Id<Node>, work: Work) -> Result<()> {
    let node = d.nodes.get_mut(node)?;
    if !same_kind(&node.work, &work) {
        return Err(other_kind(&node.work));
    }
    node.work = work;
    Ok(())
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
    fn cuGraphNodeGetType(node: Id<Node>, to: Out<u32>) |d| to.fill(|| Ok(kind(&d.nodes.get(node)?.work)));
    fn cuGraphKernelNodeGetParams_v2(node: Id<Node>, params: Out<KernelParams>) |d| params.fill(|| d.kernel_params(node));
    fn cuGraphKernelNodeSetParams_v2(node: Id<Node>, params: In<KernelParams>) |d| {
        let work = d.kernel_work(&params.get()?)?;
        set_work(d, node, work)
    };
    fn cuGraphMemcpyNodeSetParams(node: Id<Node>, params: In<Copy3d>) |d| {
        let work = d.copy_work(&params.get()?)?;
        set_work(d, node, Work::Copy(work))
    };
    fn cuGraphMemsetNodeSetParams(node: Id<Node>, params: In<Fill>) |d| {
        let work = d.set_work(&params.get()?)?;
        set_work(d, node, Work::Set(work))
    };
    fn cuGraphHostNodeSetParams(node: Id<Node>, params: In<HostParams>) |d| set_work(d, node, params.get()?.call()?);
    fn cuGraphDebugDotPrint(graph: Id<Graph>, path: Text, _flags: u32) |d| {
        let path = path.get()?;
        let written = std::fs::write(&path, d.dot(graph)?);
        written.map_err(|e| Code::OPERATING_SYSTEM.because(format!("{path}: {e}")))
    };
}
