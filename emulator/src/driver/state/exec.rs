//! Graphs made ready to launch: copies of a graph, whose parameters can be changed as long as the shape stays.

use super::Driver;
use crate::driver::objects::{
    code::{Code, Result},
    graph::{Exec, Graph, Node},
    handle::Id,
    work::{CopyWork, Place, Work},
};
use std::{mem::discriminant, sync::Arc};

/// Flags of `cuGraphInstantiate`: free on launch, upload, on the device, with node priorities.
const FLAGS: u64 = 0b1111;
/// `CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH`.
const DEVICE_LAUNCH: u64 = 4;

/// `CUgraphExecUpdateResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    Success = 0,
    TopologyChanged = 2,
    TypeChanged = 3,
    ParametersChanged = 5,
}

impl Driver {
    pub fn instantiate(&mut self, graph: Id<Graph>, flags: u64) -> Result<Id<Exec>> {
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
    pub fn update_node(&mut self, exec: Id<Exec>, node: Id<Node>, work: Work) -> Result<()> {
        let exec = self.execs.get_mut(exec)?;
        let at = exec.origins.iter().position(|&o| o == node);
        let at = at.ok_or_else(|| Code::INVALID_VALUE.because("the graph was not made with this node"))?;
        let old = &exec.nodes[at].work;
        if old.kind() != work.kind() {
            return Err(old.other_kind());
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
    pub fn update_all(&mut self, exec: Id<Exec>, graph: Id<Graph>) -> Result<(Outcome, Id<Node>)> {
        let (origins, nodes) = self.ordered(graph)?;
        let exec = self.execs.get_mut(exec)?;
        if nodes.len() != exec.nodes.len() {
            return Ok((Outcome::TopologyChanged, Id::NULL));
        }
        for ((new, old), &node) in nodes.iter().zip(&*exec.nodes).zip(&origins) {
            let outcome = match () {
                () if new.work.kind() != old.work.kind() => Outcome::TypeChanged,
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
