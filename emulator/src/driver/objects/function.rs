//! Kernels: their attributes and limits.

use super::{
    code::{Code, Result},
    context::Context,
    handle::Id,
    module::Module,
};
use crate::{
    device::{self, BLOCK_THREADS, Device, SHARED_DEFAULT},
    program::{Function as Layout, Program},
};
use std::{ffi::CString, sync::Arc};

/// A kernel of a module.
pub struct Function {
    pub context: Id<Context>,
    pub module: Id<Module>,
    pub program: Arc<Program>,
    /// Index into the program's functions.
    pub kernel: usize,
    /// Bytes of dynamic shared memory that launches may ask for, if the program opted in to more than usual.
    dynamic_shared: Option<u32>,
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`, percent; -1 for none.
    carveout: i32,
    pub name: CString,
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

    pub fn attribute(&self, device: &Device, attribute: u32) -> Result<i32> {
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

    pub fn set_attribute(&mut self, device: &Device, attribute: u32, value: i32) -> Result<()> {
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
