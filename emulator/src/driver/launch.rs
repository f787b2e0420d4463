//! Launches.

use super::{
    code::{Code, Result},
    entries,
    handle::Id,
    module::Function,
    raw::{Host, In},
    run,
    state::{Driver, Locked},
    stream::Stream,
    work::{KernelWork, Op, Work},
};
use crate::{
    device::{BLOCK, BLOCK_THREADS, GRID, SHARED_DEFAULT},
    machine::Launch,
};

/// The shape of a launch.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub cooperative: bool,
}

impl Driver {
    /// Checks the shape of a launch, and makes it one.
    fn prepare(&self, function: Id<Function>, shape: Shape, params: Vec<u8>) -> Result<KernelWork> {
        let f = self.functions.get(function)?;
        let kernel = &f.program.functions[f.kernel];
        let invalid =
            |message: String| Err(Code::INVALID_VALUE.because(format!("{}: {message}", kernel.name)));
        let within = |is: [u32; 3], limit: [u32; 3]| (0..3).all(|i| (1..=limit[i]).contains(&is[i]));
        if !within(shape.grid, GRID) {
            return invalid(format!("grid {:?}, expected 1 to {GRID:?}", shape.grid));
        }
        let threads: u64 = shape.block.iter().map(|&n| u64::from(n)).product();
        if !within(shape.block, BLOCK) || threads > BLOCK_THREADS.into() {
            return invalid(format!(
                "block {:?}, expected 1 to {BLOCK:?} and at most {BLOCK_THREADS} threads",
                shape.block
            ));
        }
        let allowed = f.dynamic_shared.unwrap_or(SHARED_DEFAULT.saturating_sub(kernel.shared));
        if shape.dynamic_shared > allowed {
            return invalid(format!(
                "{} bytes of dynamic shared memory, at most {allowed}",
                shape.dynamic_shared
            ));
        }
        let launch = Launch {
            kernel: f.kernel,
            grid: shape.grid,
            block: shape.block,
            dynamic_shared: shape.dynamic_shared,
            params,
            cooperative: shape.cooperative,
        };
        Ok(KernelWork { program: f.program.clone(), launch })
    }

    /// The parameters of a launch, from an array of pointers to them.
    fn parameters(&self, function: Id<Function>, pointers: &In<Host>) -> Result<Vec<u8>> {
        let f = self.functions.get(function)?;
        let kernel = &f.program.functions[f.kernel];
        let mut bytes = vec![0; kernel.param_bytes as usize];
        for (i, p) in kernel.params.iter().enumerate() {
            let from = pointers.at(i)?;
            if from.0 == 0 {
                return Err(Code::INVALID_VALUE.because(format!("{}: argument {i} is null", kernel.name)));
            }
            from.read(&mut bytes[p.offset as usize..][..p.size as usize]);
        }
        Ok(bytes)
    }
}

fn launch(
    d: &mut Locked,
    function: Id<Function>,
    shape: Shape,
    stream: Id<Stream>,
    params: In<Host>,
) -> Result<()> {
    let stream = d.stream(stream)?;
    let params = d.parameters(function, &params)?;
    let work = d.prepare(function, shape, params)?;
    d.submit(stream, Op::Work(Work::Kernel(work)))?;
    run::limit(d, stream)
}

entries! {
    fn cuLaunchKernel(
        function: Id<Function>, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        dynamic_shared: u32, stream: Id<Stream>, params: In<Host>, _extra: In<Host>
    ) |d| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(d, function, Shape { grid, block, dynamic_shared, cooperative: false }, stream, params)
    };
}
