//! Modules: PTX that was loaded, its kernels and its variables.

use super::{
    code::{Code, Result},
    context::Context,
    entries,
    handle::Id,
    memory::{Allocated, Origin},
    raw::{Host, Out, Text},
    run,
    state::{Driver, Locked},
};
use crate::{program::Program, ptx};
use std::{collections::HashMap, sync::Arc};

/// A loaded module.
pub struct Module {
    pub context: Id<Context>,
    pub program: Arc<Program>,
    /// Kernels that were asked for, by name.
    pub functions: HashMap<String, Id<Function>>,
}

/// A kernel of a module.
pub struct Function {
    pub context: Id<Context>,
    pub module: Id<Module>,
    pub program: Arc<Program>,
    /// Index into the program's functions.
    pub kernel: usize,
    /// Bytes of dynamic shared memory that launches may ask for, if the program opted in.
    pub dynamic_shared: Option<u32>,
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`, percent.
    pub carveout: i32,
}

/// The newest PTX that the driver takes, and its own version: CUDA 13.5.
const PTX_VERSION: u32 = 95;

impl Driver {
    /// Loads PTX text into the current context. `log` takes what is wrong with it.
    pub(super) fn load(&mut self, text: &[u8], log: &mut String) -> Result<Id<Module>> {
        let context = self.current()?;
        let before: Vec<u64> = self.machine.memory.allocations().iter().map(|a| a.base).collect();
        let program = self.compile(text, log)?;
        for allocation in self.machine.memory.allocations() {
            let (base, len) = (allocation.base, allocation.len);
            if before.binary_search(&base).is_err() {
                let allocated = Allocated { context, base, len, origin: Origin::Variable, flags: 0 };
                self.allocations.insert(base, allocated);
            }
        }
        Ok(self.modules.insert(Module { context, program: Arc::new(program), functions: HashMap::new() }))
    }

    fn compile(&mut self, text: &[u8], log: &mut String) -> Result<Program> {
        let mut invalid = |e: ptx::Error| {
            *log = e.to_string();
            Code::INVALID_PTX.because(e.to_string())
        };
        let module = ptx::parse(text).map_err(&mut invalid)?;
        let version = module.version.0 * 10 + module.version.1;
        if version > PTX_VERSION {
            let message = format!("PTX version {}.{}, at most 9.5", module.version.0, module.version.1);
            *log = message.clone();
            return Err(Code::UNSUPPORTED_PTX_VERSION.because(message));
        }
        self.machine.load(text).map_err(invalid)
    }

    fn function(&mut self, module: Id<Module>, name: &str) -> Result<Id<Function>> {
        let m = self.modules.get(module)?;
        if let Some(&function) = m.functions.get(name) {
            return Ok(function);
        }
        let kernel = m.program.kernel(name);
        let kernel =
            kernel.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no kernel {name}")))?;
        let (context, program) = (m.context, m.program.clone());
        let function = Function { context, module, program, kernel, dynamic_shared: None, carveout: -1 };
        let function = self.functions.insert(function);
        self.modules.get_mut(module)?.functions.insert(name.to_string(), function);
        Ok(function)
    }

    fn global(&self, module: Id<Module>, name: &str) -> Result<(u64, u64)> {
        let variables = &self.modules.get(module)?.program.variables;
        let found = variables.get(name).copied();
        found.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no variable {name}")))
    }
}

fn load_data(d: &mut Locked, image: Host, log: &mut String) -> Result<Id<Module>> {
    d.current()?;
    if image.0 == 0 {
        return Err(Code::INVALID_VALUE.because("the image is null"));
    }
    let len = (0..).take_while(|&i| image.byte(i) != 0).count();
    let mut text = vec![0; len];
    image.read(&mut text);
    d.load(&text, log)
}

fn unload(d: &mut Locked, module: Id<Module>) -> Result<()> {
    d.current()?;
    let context = d.modules.get(module)?.context;
    run::drain(d, context)?;
    let module = d.modules.remove(module)?;
    for function in module.functions.into_values() {
        d.functions.remove(function)?;
    }
    module.program.variables.values().for_each(|&(base, _)| d.release(base));
    Ok(())
}

entries! {
    fn cuModuleLoadData(module: Out<Id<Module>>, image: Host) |d| module.fill(|| load_data(d, image, &mut String::new()));
    fn cuModuleUnload(module: Id<Module>) |d| unload(d, module);
    fn cuModuleGetFunction(function: Out<Id<Function>>, module: Id<Module>, name: Text) |d| {
        d.current()?;
        function.fill(|| d.function(module, &name.get()?))
    };
    fn cuModuleGetGlobal_v2(address: Out<u64>, len: Out<usize>, module: Id<Module>, name: Text) |d| {
        d.current()?;
        let (base, size) = d.global(module, &name.get()?)?;
        address.set_if_wanted(base);
        len.set_if_wanted(size as usize);
        Ok(())
    };
}
