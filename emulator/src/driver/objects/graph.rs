//! Graphs: work and its dependencies, and what is made of them to launch.

use super::{
    handle::Id,
    work::{ExecNode, Work},
};
use std::sync::Arc;

/// A graph.
#[derive(Debug, Default)]
pub struct Graph {
    /// Its nodes, in the order in which they were added.
    pub nodes: Vec<Id<Node>>,
    /// For a clone: the nodes of the original that these were made from.
    pub originals: Vec<Id<Node>>,
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

/// A graph that can be launched.
#[derive(Debug)]
pub struct Exec {
    /// What launches run: launches that are in streams already keep the nodes that they were submitted with.
    pub nodes: Arc<Vec<ExecNode>>,
    /// The nodes of the graph that it was made from, in the same order.
    pub origins: Vec<Id<Node>>,
    pub flags: u64,
}
