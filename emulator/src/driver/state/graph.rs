//! Graphs: built node by node or captured from streams, copied, and put in order.

use super::Driver;
use crate::driver::objects::{
    code::{Code, Result},
    graph::{Graph, Node},
    handle::Id,
    work::{ExecNode, Work},
};
use std::fmt::Write;

impl Driver {
    /// Adds a node.
    pub fn add_node(
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
    pub fn destroy_graph(&mut self, graph: Id<Graph>) -> Result<()> {
        for node in self.graphs.remove(graph)?.nodes {
            self.nodes.remove(node)?;
        }
        Ok(())
    }

    /// The nodes of a graph in an order that respects the dependencies, with the positions of these.
    pub fn ordered(&self, graph: Id<Graph>) -> Result<(Vec<Id<Node>>, Vec<ExecNode>)> {
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

    pub fn clone_graph(&mut self, original: Id<Graph>) -> Result<Id<Graph>> {
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

    pub fn find_in_clone(&self, original: Id<Node>, clone: Id<Graph>) -> Result<Id<Node>> {
        let graph = self.graphs.get(clone)?;
        let at = graph.originals.iter().position(|&o| o == original);
        let found = at.and_then(|i| graph.nodes.get(i).copied());
        found.ok_or_else(|| Code::INVALID_VALUE.because("the graph has no clone of the node"))
    }

    pub fn edges(&self, graph: Id<Graph>) -> Result<Vec<(Id<Node>, Id<Node>)>> {
        let mut edges = Vec::new();
        for &to in &self.graphs.get(graph)?.nodes {
            edges.extend(self.nodes.get(to)?.dependencies.iter().map(|&from| (from, to)));
        }
        Ok(edges)
    }

    pub fn connect(&mut self, graph: Id<Graph>, from: Id<Node>, to: Id<Node>) -> Result<()> {
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

    pub fn disconnect(&mut self, graph: Id<Graph>, from: Id<Node>, to: Id<Node>) -> Result<()> {
        let node = self.nodes.get_mut(to)?;
        let at = node.dependencies.iter().position(|&d| d == from).filter(|_| node.graph == graph);
        let at = at.ok_or_else(|| Code::INVALID_VALUE.because("no such edge"))?;
        node.dependencies.remove(at);
        Ok(())
    }

    pub fn destroy_node(&mut self, id: Id<Node>) -> Result<()> {
        let graph = self.nodes.remove(id)?.graph;
        self.graphs.get_mut(graph)?.nodes.retain(|&n| n != id);
        self.nodes.iter_mut().for_each(|(_, n)| n.dependencies.retain(|&d| d != id));
        Ok(())
    }

    /// Has a node do other work of the same kind.
    pub fn set_node_work(&mut self, node: Id<Node>, work: Work) -> Result<()> {
        let node = self.nodes.get_mut(node)?;
        if node.work.kind() != work.kind() {
            return Err(node.work.other_kind());
        }
        node.work = work;
        Ok(())
    }

    pub fn dot(&self, graph: Id<Graph>) -> Result<String> {
        let mut text = "digraph graph_1 {\n".to_string();
        let name = |id: Id<Node>| format!("\"{id:?}\"");
        for &id in &self.graphs.get(graph)?.nodes {
            let label = match &self.nodes.get(id)?.work {
                Work::Kernel(k) => k.program.functions[k.launch.kernel].name.clone(),
                other => other.kind_name().to_string(),
            };
            let _ = writeln!(text, "  {} [label=\"{}\"];", name(id), label.replace('"', "'"));
        }
        for (from, to) in self.edges(graph)? {
            let _ = writeln!(text, "  {} -> {};", name(from), name(to));
        }
        Ok(text + "}\n")
    }
}
