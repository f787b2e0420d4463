//! Kernels: their attributes, and how many blocks of them fit.

use super::{
    code::{Code, Result},
    context::Context,
    entries,
    handle::Id,
    launch::Config,
    module::Module,
    raw::{HostFunction, In, Out},
    state::{Driver, Locked},
};
use crate::{
    device::{self, BLOCK_THREADS, Device, SHARED_DEFAULT},
    program::{Function as Layout, Program},
};
use std::{ffi::CString, sync::Arc};

/// A kernel of a module.
pub struct Function {
    pub context: Id<Context>,
    module: Id<Module>,
    pub program: Arc<Program>,
    /// Index into the program's functions.
    pub kernel: usize,
    /// Bytes of dynamic shared memory that launches may ask for, if the program opted in to more than usual.
    dynamic_shared: Option<u32>,
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`, percent; -1 for none.
    carveout: i32,
    name: CString,
}

/// `CU_FUNC_ATTRIBUTE_...` that can be set.
const MAX_DYNAMIC_SHARED: u32 = 8;
const CARVEOUT: u32 = 9;

impl Function {
    pub fn new(context: Id<Context>, module: Id<Module>, program: Arc<Program>, kernel: usize) -> Function {
        let name = CString::new(program.functions[kernel].name.clone()).unwrap_or_default();
        Function { context, module, program, kernel, dynamic_shared: None, carveout: -1, name }
    }

    pub fn layout(&self) -> &Layout {
        &self.program.functions[self.kernel]
    }

    /// Threads of a block at most: by launch bounds and by registers.
    pub fn max_threads(&self) -> u32 {
        let bounds = self.layout().max_threads.map_or(BLOCK_THREADS, |t| t.iter().product());
        bounds.min(device::threads_by_registers(self.layout())).min(BLOCK_THREADS)
    }

    /// Bytes of dynamic shared memory that a launch may ask for.
    pub fn dynamic_shared_limit(&self) -> u32 {
        self.dynamic_shared.unwrap_or(SHARED_DEFAULT.saturating_sub(self.layout().shared))
    }

    fn attribute(&self, device: &Device, attribute: u32) -> Result<i32> {
        let layout = self.layout();
        let value = match attribute {
            0 => self.max_threads(),
            1 => layout.shared,
            // The bank of constants is not counted by function.
            2 => 0,
            3 => layout.local,
            4 => device::registers(layout),
            5 => self.program.version,
            6 => device.compute_capability(),
            7 => 0,
            MAX_DYNAMIC_SHARED => self.dynamic_shared_limit(),
            CARVEOUT => return Ok(self.carveout),
            // Clusters: none required, none beyond the portable size, no preference.
            10..=15 => 0,
            _ => {
                return Err(
                    Code::INVALID_VALUE.because(format!("function attribute {attribute} does not exist"))
                );
            }
        };
        Ok(value as i32)
    }

    fn set_attribute(&mut self, device: &Device, attribute: u32, value: i32) -> Result<()> {
        let wrong = |expected: String| {
            Code::INVALID_VALUE
                .because(format!("function attribute {attribute} set to {value}, expected {expected}"))
        };
        match attribute {
            MAX_DYNAMIC_SHARED => {
                let most = device.sm.shared_optin.saturating_sub(self.layout().shared);
                let value = u32::try_from(value).ok().filter(|&v| v <= most);
                self.dynamic_shared = Some(value.ok_or_else(|| wrong(format!("0 to {most}")))?);
            }
            CARVEOUT => match value {
                -1..=100 => self.carveout = value,
                _ => return Err(wrong("-1 to 100".to_string())),
            },
            14 if value == 0 => {}
            10..=13 if value == 0 => {}
            10..=15 => return Err(Code::NOT_SUPPORTED.because("clusters of more than one block")),
            _ => return Err(wrong("one that can be set: 8 or 9".to_string())),
        }
        Ok(())
    }
}

impl Driver {
    fn shared_with(&self, f: &Function, dynamic: u64) -> Option<u32> {
        let kernel = f.layout();
        let total =
            if dynamic == 0 { kernel.shared.into() } else { u64::from(kernel.dynamic_shared()) + dynamic };
        u32::try_from(total).ok().filter(|&s| s <= self.device().sm.shared_optin)
    }

    /// Blocks of `threads` threads that fit on a multiprocessor.
    fn blocks(&self, f: &Function, threads: u32, dynamic: u64) -> u32 {
        if threads > f.max_threads() {
            return 0;
        }
        let shared = self.shared_with(f, dynamic);
        shared.map_or(0, |s| self.device().blocks_per_multiprocessor(f.layout(), threads, s))
    }

    fn occupancy(&self, function: Id<Function>, threads: i32, dynamic: usize) -> Result<i32> {
        let f = self.functions.get(function)?;
        match u32::try_from(threads) {
            Ok(threads) if threads > 0 => Ok(self.blocks(f, threads, dynamic as u64) as i32),
            _ => Err(Code::INVALID_VALUE.because(format!("a block of {threads} threads"))),
        }
    }

    /// The most dynamic shared memory with which `blocks` blocks of `threads` threads fit on a multiprocessor.
    fn available_shared(&self, function: Id<Function>, blocks: i32, threads: i32) -> Result<usize> {
        let f = self.functions.get(function)?;
        let (Ok(blocks), Ok(threads)) = (u32::try_from(blocks), u32::try_from(threads)) else {
            return Err(Code::INVALID_VALUE.because(format!("{blocks} blocks of {threads} threads")));
        };
        if blocks == 0 || threads == 0 || self.blocks(f, threads, 0) < blocks {
            let message = format!("{blocks} blocks of {threads} threads do not fit on a multiprocessor");
            return Err(Code::INVALID_VALUE.because(message));
        }
        let sm = self.device().sm;
        let each = (sm.shared / blocks) & !(sm.shared_unit - 1);
        let most = each.saturating_sub(sm.shared_reserved).min(sm.shared_optin);
        Ok(most.saturating_sub(f.layout().dynamic_shared()) as usize)
    }
}

/// The block with which most threads fit on a multiprocessor, the largest of equals, and the blocks that then fill the device.
fn potential_block(
    d: &mut Locked,
    function: Id<Function>,
    by_threads: HostFunction,
    fixed: usize,
    limit: i32,
) -> Result<(i32, i32)> {
    let most = d.functions.get(function)?.max_threads();
    let limit = u32::try_from(limit).ok().filter(|&l| l > 0).map_or(most, |l| l.min(most));
    let (mut best, mut best_blocks, mut best_threads) = (0, 0, 0);
    let sizes: Vec<u32> = (1..=limit.div_ceil(32)).rev().map(|w| (32 * w).min(limit)).collect();
    for threads in sizes {
        let shared = match by_threads.is_null() {
            true => fixed,
            false => d.unlocked(|| by_threads.shared_for_block(threads as i32)),
        };
        let blocks = d.blocks(d.functions.get(function)?, threads, shared as u64);
        if blocks * threads > best {
            (best, best_blocks, best_threads) = (blocks * threads, blocks, threads);
        }
    }
    Ok(((best_blocks * d.device().multiprocessors) as i32, best_threads as i32))
}

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
