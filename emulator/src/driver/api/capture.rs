//! Captures: how programs begin, end and ask for them.

use super::{entries, raw::Out};
use crate::driver::{
    objects::{
        capture::Mode,
        code::Result,
        graph::{Graph, Node},
        handle::Id,
        stream::Stream,
    },
    state::{
        Locked,
        capture::{begin, end, exchange_mode, status},
    },
};

/// Where `cuStreamGetCaptureInfo` puts its results.
struct Info {
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<Id<Graph>>,
    dependencies: Out<*const Id<Node>>,
    count: Out<usize>,
}

fn info(d: &mut Locked, handle: Id<Stream>, to: &Info) -> Result<()> {
    let status = status(d, handle)?;
    to.status.set(status)?;
    let stream = d.stream(handle)?;
    let s = d.streams.get(stream)?;
    if let (1, Some(capture)) = (status, s.capture) {
        to.id.set_if_wanted(capture.0);
        to.graph.set_if_wanted(d.captures.get(capture)?.graph);
        to.dependencies.set_if_wanted(s.tails.as_ptr());
        to.count.set_if_wanted(s.tails.len());
    }
    Ok(())
}

entries! {
    fn cuStreamBeginCapture_v2(stream: Id<Stream>, mode: u32) |d| begin(d, stream, Mode::new(mode)?);
    fn cuStreamEndCapture(stream: Id<Stream>, graph: Out<Id<Graph>>) |d| {
        let ended = end(d, stream);
        graph.set_if_wanted(*ended.as_ref().unwrap_or(&Id::NULL));
        ended.map(|_| ())
    };
    fn cuStreamIsCapturing(stream: Id<Stream>, to: Out<u32>) |d| to.fill(|| status(d, stream));
    fn cuStreamGetCaptureInfo_v2(
        stream: Id<Stream>, status: Out<u32>, id: Out<u64>, graph: Out<Id<Graph>>,
        dependencies: Out<*const Id<Node>>, count: Out<usize>
    ) |d| info(d, stream, &Info { status, id, graph, dependencies, count });
    fn cuThreadExchangeStreamCaptureMode(mode: Out<u32>) |_d| {
        let new = Mode::new(mode.get()?)?;
        mode.set(exchange_mode(new) as u32)
    };
}
