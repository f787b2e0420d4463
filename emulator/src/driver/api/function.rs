//! Kernels: their attributes, and how many blocks of them fit.

use super::{
    entries,
    launch::Config,
    raw::{In, Out},
};
use crate::driver::{
    objects::{
        code::{Code, Result},
        function::Function,
        handle::Id,
        host::HostFunction,
        module::Module,
    },
    state::{Driver, occupancy::potential_block},
};

/// Clusters of one block: as many as blocks.
fn clusters(d: &Driver, function: Id<Function>, config: &Config) -> Result<i32> {
    if d.device().compute_capability() < 90 {
        return Err(Code::NOT_SUPPORTED.because("clusters need compute capability 9.0"));
    }
    config.check_attributes()?;
    let threads = config.block.iter().product::<u32>() as i32;
    Ok(d.occupancy(function, threads, config.dynamic_shared as usize)? * d.device().multiprocessors as i32)
}

entries! {
    fn cuFuncGetAttribute(value: Out<i32>, attribute: u32, function: Id<Function>) |d| {
        d.current()?;
        value.fill(|| d.functions.get(function)?.attribute(d.device(), attribute))
    };
    fn cuFuncSetAttribute(function: Id<Function>, attribute: u32, value: i32) |d| {
        d.current()?;
        let device = d.device().clone();
        d.functions.get_mut(function)?.set_attribute(&device, attribute, value)
    };
    fn cuKernelGetAttribute(value: Out<i32>, attribute: u32, function: Id<Function>, device: i32) |d| {
        d.check_device(device)?;
        value.fill(|| d.functions.get(function)?.attribute(d.device(), attribute))
    };
    fn cuKernelSetAttribute(attribute: u32, value: i32, function: Id<Function>, device: i32) |d| {
        d.check_device(device)?;
        let device = d.device().clone();
        d.functions.get_mut(function)?.set_attribute(&device, attribute, value)
    };
    /// The caches have no sizes here.
    fn cuFuncSetCacheConfig(function: Id<Function>, config: u32) |d| match config {
        0..=3 => d.functions.get(function).map(|_| ()),
        _ => Err(Code::INVALID_VALUE.because(format!("cache configuration {config}, expected 0 to 3"))),
    };
    fn cuFuncGetModule(module: Out<Id<Module>>, function: Id<Function>) |d| module.fill(|| Ok(d.functions.get(function)?.module));
    fn cuFuncGetName(name: Out<u64>, function: Id<Function>) |d| {
        name.fill(|| Ok(d.functions.get(function)?.name.as_ptr() as u64))
    };
    fn cuKernelGetName(name: Out<u64>, function: Id<Function>) |d| {
        name.fill(|| Ok(d.functions.get(function)?.name.as_ptr() as u64))
    };
    fn cuFuncGetParamInfo(function: Id<Function>, index: usize, offset: Out<usize>, len: Out<usize>) |d| {
        let layout = d.functions.get(function)?.layout();
        let p = layout.params.get(index).ok_or_else(|| Code::INVALID_VALUE.because(format!("no parameter {index}")))?;
        len.set_if_wanted(p.size as usize);
        offset.set(p.offset as usize)
    };
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Out<i32>, function: Id<Function>, threads: i32, dynamic: usize) |d| {
        blocks.fill(|| d.occupancy(function, threads, dynamic))
    };
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<i32>, function: Id<Function>, threads: i32, dynamic: usize, flags: u32
    ) |d| match flags {
        0 | 1 => blocks.fill(|| d.occupancy(function, threads, dynamic)),
        _ => Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0 or 1"))),
    };
    fn cuOccupancyAvailableDynamicSMemPerBlock(len: Out<usize>, function: Id<Function>, blocks: i32, threads: i32) |d| {
        len.fill(|| d.available_shared(function, blocks, threads))
    };
    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: Id<Function>, by_threads: HostFunction, dynamic: usize, limit: i32
    ) |d| {
        let (blocks, threads) = potential_block(d, function, by_threads, dynamic, limit)?;
        grid.set(blocks)?;
        block.set(threads)
    };
    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, function: Id<Function>, by_threads: HostFunction, dynamic: usize, limit: i32, _flags: u32
    ) |d| {
        let (blocks, threads) = potential_block(d, function, by_threads, dynamic, limit)?;
        grid.set(blocks)?;
        block.set(threads)
    };
    fn cuOccupancyMaxActiveClusters(count: Out<i32>, function: Id<Function>, config: In<Config>) |d| {
        count.fill(|| clusters(d, function, &config.get()?))
    };
    fn cuOccupancyMaxPotentialClusterSize(size: Out<i32>, function: Id<Function>, config: In<Config>) |d| {
        size.fill(|| clusters(d, function, &config.get()?).map(|_| 1))
    };
}
