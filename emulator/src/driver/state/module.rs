//! Modules: how PTX text becomes one, and what is kept of earlier loads.

use super::{Driver, Locked, run};
use crate::driver::objects::{
    allocation::{Allocated, Origin},
    code::{Code, Error, Result},
    function::Function,
    handle::Id,
    module::Module,
};
use crate::{
    fatbin,
    program::{self, Program},
    ptx,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The newest PTX that the driver takes: that of its own version, CUDA 13.5.
const PTX_VERSION: (u32, u32) = (9, 5);

/// A program that does not depend on where the device's memory lies, because its module has no variables: whoever loads the same
/// text again, as tests do that begin anew, gets it without the work.
struct Known {
    text: Box<[u8]>,
    options: program::Options,
    program: Arc<Program>,
}

/// The one used last comes last.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// Programs kept at most.
const MOST_KNOWN: usize = 32;

/// An error in PTX text, with the log that the program may ask for.
pub struct Invalid {
    pub error: Error,
    pub log: String,
}

impl From<Error> for Invalid {
    fn from(error: Error) -> Invalid {
        Invalid { log: error.message.to_string(), error }
    }
}

impl From<ptx::Error> for Invalid {
    fn from(error: ptx::Error) -> Invalid {
        Code::INVALID_PTX.because(error.to_string()).into()
    }
}

impl Driver {
    /// Loads PTX text into the current context.
    pub fn load(&mut self, text: &[u8], library: bool) -> std::result::Result<Id<Module>, Invalid> {
        let context = self.current()?;
        let before: Vec<u64> = self.machine.memory.allocations().iter().map(|a| a.base).collect();
        let program = self.known_or_compiled(text);
        let new = |base: &u64| before.binary_search(base).is_err();
        let made: Vec<(u64, u64)> = self
            .machine
            .memory
            .allocations()
            .iter()
            .map(|a| (a.base, a.len))
            .filter(|(b, _)| new(b))
            .collect();
        let program = match program {
            Ok(program) => program,
            Err(invalid) => {
                made.into_iter().for_each(|(base, _)| drop(self.machine.memory.free(base)));
                return Err(invalid);
            }
        };
        for (base, len) in made {
            let origin = Origin::Variable;
            self.allocations.insert(base, Allocated { context, base, len, origin, flags: 0 });
        }
        let functions = BTreeMap::new();
        let module =
            self.modules.insert(Module { context, program: program.clone(), functions, as_library: library });
        for (kernel, layout) in program.functions.iter().enumerate().filter(|(_, f)| f.entry) {
            let function = self.functions.insert(Function::new(context, module, program.clone(), kernel));
            self.modules.get_mut(module)?.functions.insert(layout.name.clone(), function);
        }
        Ok(module)
    }

    /// The program of a text, from an earlier load if there was one.
    fn known_or_compiled(&mut self, text: &[u8]) -> std::result::Result<Arc<Program>, Invalid> {
        let options = self.machine.lowering();
        let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = lock();
        if let Some(at) = known.iter().position(|k| k.options == options && *k.text == *text) {
            let found = known.remove(at);
            known.push(found);
            return Ok(known[known.len() - 1].program.clone());
        }
        drop(known);
        let program = Arc::new(self.compile(text)?);
        if program.variables.is_empty() && program.workspace == 0 {
            let mut known = lock();
            if known.len() == MOST_KNOWN {
                known.remove(0);
            }
            known.push(Known { text: text.into(), options, program: program.clone() });
        }
        Ok(program)
    }

    fn compile(&mut self, text: &[u8]) -> std::result::Result<Program, Invalid> {
        let module = ptx::parse(text)?;
        let (major, minor) = module.version;
        if module.version > PTX_VERSION {
            let (most_major, most_minor) = PTX_VERSION;
            let message = format!("PTX version {major}.{minor}, at most {most_major}.{most_minor}");
            return Err(Code::UNSUPPORTED_PTX_VERSION.because(message).into());
        }
        let arch = self.device().compute_capability();
        if !fatbin::runs_on(&module.target, arch) {
            let (target, suffix) = &module.target;
            let message = format!("PTX for sm_{target}{suffix} does not run on compute capability {arch}");
            return Err(Code::INVALID_PTX.because(message).into());
        }
        Ok(self.machine.lower(&module)?)
    }

    pub fn find_function(&self, module: Id<Module>, name: &str) -> Result<Id<Function>> {
        let found = self.modules.get(module)?.functions.get(name).copied();
        found.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no kernel {name}")))
    }

    pub fn find_variable(&self, module: Id<Module>, name: &str) -> Result<(u64, u64)> {
        let variables = &self.modules.get(module)?.program.variables;
        let found = variables.get(name).copied();
        found.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no variable {name}")))
    }
}

pub fn unload(d: &mut Locked, module: Id<Module>, library: bool) -> Result<()> {
    d.current()?;
    d.check_unsafe("unloading a module")?;
    let m = d.modules.get(module)?;
    if m.as_library != library {
        return Err(Code::NOT_PERMITTED.because("libraries are unloaded as libraries, modules as modules"));
    }
    let context = m.context;
    run::drain(d, context)?;
    let module = d.modules.remove(module)?;
    for function in module.functions.into_values() {
        d.functions.remove(function)?;
    }
    let variables = module.program.variables.values().map(|&(base, _)| base);
    variables.chain([module.program.workspace]).for_each(|base| d.release(base));
    Ok(())
}
