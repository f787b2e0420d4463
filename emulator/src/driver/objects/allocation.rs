//! Allocations: of the device, of the host, managed, and registered.

use super::{context::Context, handle::Id, pool::Pool};

/// An allocation.
#[derive(Debug, Clone, Copy)]
pub struct Allocated {
    pub context: Id<Context>,
    pub base: u64,
    pub len: u64,
    pub origin: Origin,
    /// Flags that it was made with.
    pub flags: u32,
}

/// How an allocation came about: how it may be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `cuMemAlloc`.
    Device,
    /// `cuMemAllocAsync`, from this pool.
    Pool(Id<Pool>),
    /// `cuMemAllocManaged`.
    Managed,
    /// `cuMemHostAlloc`, `cuMemAllocHost`.
    Host,
    /// `cuMemHostRegister`.
    Registered,
    /// A variable of a module.
    Variable,
}

impl Origin {
    fn what(self) -> &'static str {
        match self {
            Origin::Device => "device memory",
            Origin::Pool(_) => "pooled device memory",
            Origin::Managed => "managed memory",
            Origin::Host => "pinned host memory",
            Origin::Registered => "a registration of host memory",
            Origin::Variable => "a variable",
        }
    }
}

impl Allocated {
    /// The program made the allocation itself.
    pub fn is_explicit(&self) -> bool {
        self.origin != Origin::Variable
    }

    /// "device memory of 400 bytes at 0x10000000000".
    pub fn describe(&self) -> String {
        format!("{} of {} bytes at {:#x}", self.origin.what(), self.len, self.base)
    }
}
