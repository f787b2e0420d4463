//! Launches: their checks, and the forms in which programs ask for them.

use super::{entries, raw::In};
use crate::driver::{
    objects::{
        code::{Code, Result},
        function::Function,
        handle::Id,
        host::Host,
        stream::Stream,
        work::{KernelWork, Op, Work},
    },
    state::{Driver, Locked, run},
};
use crate::{
    device::{BLOCK, BLOCK_THREADS, GRID},
    machine::Launch,
};
use bytemuck::{AnyBitPattern, Pod, Zeroable};

/// `CUDA_KERNEL_NODE_PARAMS`, which holds what every form of a launch says.
#[repr(C)]
#[derive(Debug, Clone, Copy, AnyBitPattern)]
pub struct KernelParams {
    function: Id<Function>,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    /// An array of pointers to the parameters.
    params: Host,
    /// Or a list of keys and values that names a buffer with all of them.
    extra: Host,
    /// The kernel of a library, in place of a function.
    kernel: Id<Function>,
    context: u64,
}

impl KernelParams {
    /// What a node shows of its launch; `pointers` is the address of an array of pointers to the parameters.
    pub fn new(work: &KernelWork, pointers: u64) -> KernelParams {
        let launch = &work.launch;
        let (grid, block, dynamic_shared) = (launch.grid, launch.block, launch.dynamic_shared);
        let params = bytemuck::cast(pointers);
        KernelParams { function: work.function, grid, block, dynamic_shared, params, ..Zeroable::zeroed() }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Debug, Clone, Copy, AnyBitPattern)]
pub struct Config {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    stream: Id<Stream>,
    attributes: Host,
    count: u32,
}

/// `CUlaunchAttribute`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

/// What the attributes of a launch add.
#[derive(Debug, Clone, Copy, Default)]
struct Extras {
    cooperative: bool,
    programmatic: bool,
}

impl Config {
    /// Reads the attributes. One that the emulator does not have is refused, because ignoring it could change results.
    fn extras(&self) -> Result<Extras> {
        let mut extras = Extras::default();
        for Attribute { id, value, .. } in In::<Attribute>::from(self.attributes).take(self.count as usize)? {
            match id {
                // Ignored, as its name says; access policy, synchronisation policy, priority, memory domains, carve-out: hints.
                0 | 1 | 3 | 8 | 9 | 10 | 14 => {}
                2 => extras.cooperative = value[0] != 0,
                4 if value[..3].iter().any(|&n| n > 1) => {
                    let message = format!("clusters of {:?} blocks: only clusters of one block", &value[..3]);
                    return Err(Code::NOT_SUPPORTED.because(message));
                }
                4 | 5 => {}
                6 => extras.programmatic = value[0] != 0,
                7 | 11 | 12 | 13 => {
                    return Err(
                        Code::NOT_SUPPORTED.because(format!("launch attribute {id} is not supported"))
                    );
                }
                _ => return Err(Code::INVALID_VALUE.because(format!("launch attribute {id} does not exist"))),
            }
        }
        Ok(extras)
    }
}

impl Config {
    /// The emulator has all attributes.
    pub fn check_attributes(&self) -> Result<()> {
        self.extras().map(|_| ())
    }
}

impl Driver {
    /// Checks a launch and makes it work for a stream or graph.
    pub fn kernel_work(&self, params: &KernelParams) -> Result<Work> {
        let function = if params.function.is_null() { params.kernel } else { params.function };
        Ok(Work::Kernel(self.kernel(function, params, Extras::default())?))
    }

    fn kernel(&self, function: Id<Function>, params: &KernelParams, extras: Extras) -> Result<KernelWork> {
        let f = self.functions.get(function)?;
        self.check_shape(f, params)?;
        let launch = Launch {
            kernel: f.kernel,
            grid: params.grid,
            block: params.block,
            dynamic_shared: params.dynamic_shared,
            params: parameters(f, params.params, params.extra)?,
            cooperative: extras.cooperative,
        };
        if extras.cooperative {
            self.check_residency(f, &launch)?;
        }
        if extras.programmatic && self.device().compute_capability() < 90 {
            return Err(Code::NOT_SUPPORTED.because("programmatic launches need compute capability 9.0"));
        }
        let (program, programmatic) = (f.program.clone(), extras.programmatic);
        Ok(KernelWork { function, program, launch, programmatic })
    }

    /// Whether what is put into `stream` next follows a launch that may still run: nobody waited for it, and nothing else stands
    /// between.
    fn may_overlap(&self, stream: Id<Stream>) -> Result<bool> {
        let stream = self.streams.get(stream)?;
        Ok(stream.capture.is_some() || matches!(stream.queue.back(), Some((_, Op::Work(Work::Kernel(_))))))
    }

    /// The limits of the device and of the kernel.
    fn check_shape(&self, f: &Function, params: &KernelParams) -> Result<()> {
        let kernel = f.layout();
        let (grid, block, dynamic) = (params.grid, params.block, params.dynamic_shared);
        let because = |code: Code, message: String| Err(code.because(format!("{}: {message}", kernel.name)));
        let within = |is: [u32; 3], limit: [u32; 3]| (0..3).all(|i| (1..=limit[i]).contains(&is[i]));
        if !within(grid, GRID) {
            return because(Code::INVALID_VALUE, format!("grid {grid:?}, expected 1 to {GRID:?}"));
        }
        if grid.iter().map(|&n| u64::from(n)).product::<u64>() > u32::MAX.into() {
            return because(
                Code::NOT_SUPPORTED,
                format!("grid {grid:?}: the emulator counts blocks in 32 bits"),
            );
        }
        let threads: u32 = if within(block, BLOCK) { block.iter().product() } else { u32::MAX };
        if threads > BLOCK_THREADS {
            let message =
                format!("block {block:?}, expected 1 to {BLOCK:?}, and at most {BLOCK_THREADS} threads");
            return because(Code::INVALID_VALUE, message);
        }
        if kernel.exact_threads && kernel.max_threads != Some(block) {
            let message = format!("block {block:?}, but the kernel requires {:?}", kernel.max_threads);
            return because(Code::INVALID_VALUE, message);
        }
        let most = f.max_threads();
        if threads > most {
            let message =
                format!("{threads} threads a block, at most {most} fit its registers and launch bounds");
            return because(Code::LAUNCH_OUT_OF_RESOURCES, message);
        }
        let allowed = f.dynamic_shared_limit();
        if dynamic > allowed {
            let message = format!(
                "{dynamic} bytes of dynamic shared memory, at most {allowed} without opting in to more"
            );
            return because(Code::INVALID_VALUE, message);
        }
        Ok(())
    }

    /// All blocks of a cooperative launch must fit on the device at once.
    fn check_residency(&self, f: &Function, launch: &Launch) -> Result<()> {
        let blocks: u64 = launch.grid.iter().map(|&n| u64::from(n)).product();
        let fit = self.device().resident_blocks(&f.program, launch);
        if blocks > fit.into() {
            let message =
                format!("{}: a cooperative launch of {blocks} blocks, {fit} fit at once", f.layout().name);
            return Err(Code::COOPERATIVE_LAUNCH_TOO_LARGE.because(message));
        }
        Ok(())
    }
}

/// The parameters of a launch, laid out as the kernel declares them.
fn parameters(f: &Function, pointers: Host, extra: Host) -> Result<Vec<u8>> {
    let kernel = f.layout();
    let mut bytes = vec![0; kernel.param_bytes as usize];
    if !extra.is_null() {
        if !pointers.is_null() {
            return Err(
                Code::INVALID_VALUE.because(format!("{}: parameters given in both ways", kernel.name))
            );
        }
        return buffer(f, extra);
    }
    for (i, p) in kernel.params.iter().enumerate() {
        if pointers.is_null() {
            let message = format!("{} takes {} parameters, got none", kernel.name, kernel.params.len());
            return Err(Code::INVALID_VALUE.because(message));
        }
        let from = In::<Host>::from(pointers).at(i)?;
        if from.is_null() {
            return Err(Code::INVALID_VALUE.because(format!("{}: parameter {i} is null", kernel.name)));
        }
        from.read(&mut bytes[p.offset as usize..][..p.size as usize]);
    }
    Ok(bytes)
}

/// `CU_LAUNCH_PARAM_...`: keys of the list `extra`.
const END: u64 = 0;
const BUFFER: u64 = 1;
const BUFFER_SIZE: u64 = 2;
/// Keys after which the list must have ended.
const KEYS: usize = 8;

/// The parameters in a buffer that the list `extra` names.
fn buffer(f: &Function, extra: Host) -> Result<Vec<u8>> {
    let (mut at, mut len) = (None, None);
    for i in 0..KEYS {
        let field = |k: usize| In::<Host>::from(extra).at(k);
        match field(2 * i)?.address() {
            END => break,
            BUFFER => at = Some(field(2 * i + 1)?),
            BUFFER_SIZE => len = Some(In::<u64>::from(field(2 * i + 1)?).get()?),
            key => {
                return Err(Code::INVALID_VALUE.because(format!("key {key} in the list of extra arguments")));
            }
        }
    }
    let kernel = f.layout();
    match (at, len) {
        (Some(at), Some(len)) if !at.is_null() && len == u64::from(kernel.param_bytes) => {
            Ok(at.bytes(len as usize))
        }
        _ => {
            let message =
                format!("{}: a buffer of {len:?} bytes, expected {}", kernel.name, kernel.param_bytes);
            Err(Code::INVALID_VALUE.because(message))
        }
    }
}

fn launch(
    d: &mut Locked,
    function: Id<Function>,
    params: &KernelParams,
    extras: Extras,
    stream: Id<Stream>,
) -> Result<()> {
    let stream = d.stream(stream)?;
    let mut work = d.kernel(function, params, extras)?;
    work.programmatic &= d.may_overlap(stream)?;
    run::work(d, stream, Work::Kernel(work)).map(|_| ())
}

fn launch_with(
    d: &mut Locked,
    config: &Config,
    function: Id<Function>,
    params: Host,
    extra: Host,
) -> Result<()> {
    let Config { grid, block, dynamic_shared, .. } = *config;
    let params = KernelParams { grid, block, dynamic_shared, params, extra, ..Zeroable::zeroed() };
    launch(d, function, &params, config.extras()?, config.stream)
}

entries! {
    fn cuLaunchKernel(
        function: Id<Function>, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        dynamic_shared: u32, stream: Id<Stream>, params: Host, extra: Host
    ) |d| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let params = KernelParams { grid, block, dynamic_shared, params, extra, ..Zeroable::zeroed() };
        launch(d, function, &params, Extras::default(), stream)
    };
    fn cuLaunchCooperativeKernel(
        function: Id<Function>, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        dynamic_shared: u32, stream: Id<Stream>, params: Host
    ) |d| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let params = KernelParams { grid, block, dynamic_shared, params, ..Zeroable::zeroed() };
        launch(d, function, &params, Extras { cooperative: true, programmatic: false }, stream)
    };
    fn cuLaunchKernelEx(config: In<Config>, function: Id<Function>, params: Host, extra: Host) |d| {
        launch_with(d, &config.get()?, function, params, extra)
    };
}
