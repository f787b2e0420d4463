//! A device with one of the kernel files of `tests/kernels` loaded, and buffers that are exactly as long as the data.
//!
//! Outputs are filled with a pattern before a launch, so that an element that no thread writes is found; scratch memory is
//! left as allocated, so that the checks find reads of what nobody wrote.

use bytemuck::Pod;
use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Fault, Launch, Machine, Order, Settings},
    memory::Kind,
    program::Program,
};
use std::{marker::PhantomData, path::Path};

/// The devices that every kernel runs on.
pub const ALL: [u32; 4] = [75, 80, 90, 120];
/// Those with asynchronous copies, bf16 and tf32.
pub const FROM_80: [u32; 3] = [80, 90, 120];
/// Those with the copy engine's barriers and 8-bit floats.
pub const FROM_90: [u32; 2] = [90, 120];

/// A device with a module.
pub struct Gpu {
    pub arch: u32,
    order: Order,
    machine: Machine,
    program: Program,
}

/// Device memory of `len` elements.
pub struct Buffer<T> {
    pub base: u64,
    pub len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Buffer<T> {}

/// The bytes of an argument.
pub struct Argument(pub Vec<u8>);

impl<T> From<Buffer<T>> for Argument {
    fn from(buffer: Buffer<T>) -> Argument {
        Argument(buffer.base.to_le_bytes().to_vec())
    }
}

macro_rules! plain_arguments {
    ($($t:ty),*) => {$(
        impl From<$t> for Argument {
            fn from(value: $t) -> Argument {
                Argument(value.to_le_bytes().to_vec())
            }
        }
    )*};
}
plain_arguments!(u32, i32, u64, f32, f64);

/// Arguments of a launch, each a buffer or a number.
macro_rules! args {
    ($($x:expr),* $(,)?) => { &[$(crate::harness::Argument::from($x)),*][..] };
}
pub(crate) use args;

/// Grid, block and bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub cooperative: bool,
}

/// A launch of `blocks` blocks of `threads` threads without dynamic shared memory.
pub fn shape(blocks: u32, threads: u32) -> Shape {
    Shape { grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, cooperative: false }
}

/// A launch of one thread for each of `n` elements.
pub fn over(n: usize, threads: u32) -> Shape {
    shape((n as u32).div_ceil(threads).max(1), threads)
}

impl Shape {
    pub fn grid(self, x: u32, y: u32) -> Shape {
        Shape { grid: [x, y, 1], ..self }
    }

    pub fn shared(self, bytes: usize) -> Shape {
        Shape { shared: bytes as u32, ..self }
    }

    pub fn cooperative(self) -> Shape {
        Shape { cooperative: true, ..self }
    }
}

/// Runs `test` on each of these devices with the kernels `name`, with warps and blocks in order and in a random order.
pub fn on(arches: &[u32], name: &str, test: impl Fn(&mut Gpu)) {
    for &arch in arches {
        for order in [Order::InOrder, Order::Random(u64::from(arch))] {
            let mut gpu = Gpu::new(arch, order, name, &ptx(name, arch)).unwrap_or_else(|e| panic!("{e}"));
            test(&mut gpu);
        }
    }
}

/// The text of a compiled kernel file.
pub fn ptx(name: &str, arch: u32) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kernels/ptx/{name}.sm_{arch}.ptx"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Gpu {
    /// A device with the PTX `text`, watched by all checks.
    pub fn new(arch: u32, order: Order, name: &str, text: &[u8]) -> Result<Gpu, String> {
        let device = Device::for_arch(arch).unwrap_or_else(|| panic!("no device {arch}"));
        let settings = Settings { order, patience: 2_000_000, ..Settings::new(device) };
        let mut machine = Machine::new(settings);
        let program = machine.load(text).map_err(|e| format!("{name}.sm_{arch}: {e}"))?;
        machine.watch.observers =
            Checker::new(Options { equal_values: true, ..Options::default() }).observers();
        Ok(Gpu { arch, order, machine, program })
    }

    /// Memory that nobody has written.
    pub fn scratch<T>(&mut self, len: usize) -> Buffer<T> {
        let bytes = (len * size_of::<T>()) as u64;
        let allocation = self.machine.memory.allocate(bytes, Kind::Device).expect("the device has room");
        Buffer { base: allocation.base, len, element: PhantomData }
    }

    /// A copy of `data`.
    pub fn upload<T: Pod>(&mut self, data: &[T]) -> Buffer<T> {
        let buffer = self.scratch(data.len());
        self.write(buffer, data);
        buffer
    }

    /// Memory for results: floats in it are NaN.
    pub fn output<T: Pod>(&mut self, len: usize) -> Buffer<T> {
        let buffer: Buffer<T> = self.scratch(len);
        self.write_bytes(buffer.base, &vec![0xff; len * size_of::<T>()]);
        buffer
    }

    pub fn write<T: Pod>(&mut self, buffer: Buffer<T>, data: &[T]) {
        assert_eq!(data.len(), buffer.len, "elements written to a buffer");
        self.write_bytes(buffer.base, bytemuck::cast_slice(data));
    }

    pub fn read<T: Pod>(&self, buffer: Buffer<T>) -> Vec<T> {
        let mut data = vec![T::zeroed(); buffer.len];
        self.read_bytes(buffer.base, bytemuck::cast_slice_mut(&mut data));
        data
    }

    /// The variable `name` of the module.
    pub fn variable<T>(&self, name: &str) -> Buffer<T> {
        let &(base, bytes) = self.program.variables.get(name).unwrap_or_else(|| panic!("no variable {name}"));
        Buffer { base, len: bytes as usize / size_of::<T>(), element: PhantomData }
    }

    fn write_bytes(&mut self, base: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            let allocation = self.machine.memory.range(base, bytes.len() as u64).expect("a buffer of ours");
            allocation.write(base, bytes);
        }
    }

    fn read_bytes(&self, base: u64, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let allocation = self.machine.memory.range(base, bytes.len() as u64).expect("a buffer of ours");
            allocation.read(base, bytes);
        }
    }

    /// Runs a kernel to its end.
    pub fn launch(&mut self, kernel: &str, shape: Shape, arguments: &[Argument]) {
        let (arch, order) = (self.arch, self.order);
        self.try_launch(kernel, shape, arguments)
            .unwrap_or_else(|fault| panic!("sm_{arch}, {order:?}, {shape:?}: {fault}"));
    }

    /// Runs a kernel that may fault.
    pub fn try_launch(&mut self, kernel: &str, shape: Shape, arguments: &[Argument]) -> Result<(), Fault> {
        let number = self.program.kernel(kernel).unwrap_or_else(|| panic!("no kernel {kernel}"));
        let function = &self.program.functions[number];
        assert_eq!(function.params.len(), arguments.len(), "arguments of {kernel}");
        let mut params = vec![0; function.param_bytes as usize];
        for (p, Argument(bytes)) in function.params.iter().zip(arguments) {
            assert_eq!(p.size as usize, bytes.len(), "bytes of {} of {kernel}", p.name);
            params[p.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        let Shape { grid, block, shared, cooperative } = shape;
        let launch = Launch { kernel: number, grid, block, dynamic_shared: shared, params, cooperative };
        self.machine.launch(&self.program, &launch)
    }
}
