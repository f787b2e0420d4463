//! Where variables and parameters lie.

use super::layout::{Function, Parameter, Program, align_up};
use crate::{
    memory::{FUNCTION_BASE, GlobalMemory, Kind},
    ptx::{
        Error,
        ast::{self, Init, Space},
    },
};
use std::collections::HashMap;

/// Bytes of the workspace of cooperative launches: its size, and the barrier of the grid, 0 at first. The headers of cooperative
/// groups (CUDA 9 to 13) know of these two words, and leave the barrier fit for the next launch.
const WORKSPACE: u32 = 8;

/// Where a symbol lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this address of the global space (`.global` and `.const` variables, functions).
    Address(u64),
    /// At this offset of the block's shared memory.
    Shared(u32),
    /// At this offset of the function's frame in local memory (`.local` variables, `.param` variables of calls).
    Frame(u32),
    /// At this offset of the kernel's parameters.
    Kernel(u32),
}

impl Program {
    /// Allocates the variables of a module.
    pub(super) fn place_variables(
        &mut self,
        module: &ast::Module,
        memory: &mut GlobalMemory,
    ) -> Result<HashMap<String, Place>, Error> {
        let mut places = HashMap::new();
        for v in &module.variables {
            let kind = match v.space {
                Space::Global => Kind::Variable,
                Space::Const => Kind::Constant,
                _ => continue,
            };
            if v.external {
                return Err(module.error_at(
                    v.line,
                    format!("variable {} is external: linking of modules is not supported", v.name),
                ));
            }
            let allocation = memory.allocate(v.size.max(1) as u64, kind).ok_or_else(|| {
                module.error_at(v.line, format!("no device memory left for {} of {} bytes", v.name, v.size))
            })?;
            self.variables.insert(v.name.clone(), (allocation.base, v.size as u64));
            places.insert(v.name.clone(), Place::Address(allocation.base));
        }
        Ok(places)
    }

    /// Allocates the workspace of cooperative launches, if a function asks for it.
    pub(super) fn place_workspace(
        &mut self,
        module: &ast::Module,
        memory: &mut GlobalMemory,
    ) -> Result<(), Error> {
        if self.functions.iter().any(|f| f.reads_workspace) {
            let allocation = memory.allocate(WORKSPACE.into(), Kind::Variable).ok_or_else(|| {
                module.error_at(1, "no device memory left for the workspace of cooperative launches".into())
            })?;
            allocation.write(allocation.base, &WORKSPACE.to_le_bytes());
            self.workspace = allocation.base;
        }
        Ok(())
    }

    /// Writes the initial values of variables.
    pub(super) fn initialise(&self, module: &ast::Module, memory: &GlobalMemory) -> Result<(), Error> {
        for v in &module.variables {
            let Some(&(base, size)) = self.variables.get(&v.name) else { continue };
            let Some(allocation) = memory.range(base, size) else { continue };
            for (offset, init) in &v.init {
                let bytes = match init {
                    Init::Bytes(bytes) => bytes.clone(),
                    Init::Symbol { name, offset, .. } => {
                        let function = self.names.get(name).map(|&f| FUNCTION_BASE + f as u64);
                        let address = function.or_else(|| self.variables.get(name).map(|&(base, _)| base));
                        let address =
                            address.ok_or_else(|| module.error_at(v.line, format!("unknown name {name}")))?;
                        let address = address.wrapping_add_signed(*offset).to_le_bytes();
                        address[..v.ty.size().min(8)].to_vec()
                    }
                };
                if (*offset + bytes.len()) as u64 > size {
                    return Err(module.error_at(
                        v.line,
                        format!("initial value of {} is longer than its {size} bytes", v.name),
                    ));
                }
                allocation.write(base + *offset as u64, &bytes);
            }
        }
        Ok(())
    }
}

/// Static shared variables at module scope come first: (bytes, alignment).
pub(super) fn place_shared(module: &ast::Module, places: &mut HashMap<String, Place>) -> (u32, u32) {
    let (mut bytes, mut align) = (0, 16);
    for v in module.variables.iter().filter(|v| v.space == Space::Shared && v.size > 0) {
        let offset = align_up(bytes, v.align);
        places.insert(v.name.clone(), Place::Shared(offset));
        (bytes, align) = (offset.saturating_add(v.size as u32), align.max(v.align as u32));
    }
    (bytes, align)
}

pub(super) fn place_parameters(
    f: &ast::Function,
    layout: &mut Function,
    places: &mut HashMap<String, Place>,
) {
    let mut place = |v: &ast::Variable, offset: &mut u32| {
        let at = align_up(*offset, if f.entry { v.align } else { v.align.max(4) });
        *offset = at + v.size as u32;
        places.insert(v.name.clone(), if f.entry { Place::Kernel(at) } else { Place::Frame(at) });
        Parameter { name: v.name.clone(), offset: at, size: v.size as u32 }
    };
    let mut offset = 0;
    layout.returns = f.returns.iter().map(|v| place(v, &mut offset)).collect();
    layout.params = f.params.iter().map(|v| place(v, &mut offset)).collect();
    if f.entry { layout.param_bytes = offset } else { layout.local = offset }
}

pub(super) fn checked(module: &ast::Module, v: &ast::Variable, end: u64) -> Result<u32, Error> {
    // Both windows are 16 MiB.
    u32::try_from(end).ok().filter(|&end| end < 1 << 24).ok_or_else(|| {
        module.error_at(v.line, format!("variable {} of {} bytes does not fit its space", v.name, v.size))
    })
}

pub(super) fn directives(f: &ast::Function, layout: &mut Function) {
    for (name, values) in &f.directives {
        let first = values.first().copied();
        let triple =
            || [first.unwrap_or(1), values.get(1).copied().unwrap_or(1), values.get(2).copied().unwrap_or(1)];
        match name.as_str() {
            "maxntid" => layout.max_threads = Some(triple()),
            "reqntid" => (layout.max_threads, layout.exact_threads) = (Some(triple()), true),
            "minnctapersm" => layout.min_blocks = first,
            "maxnreg" => layout.max_registers = first,
            _ => {}
        }
    }
}
