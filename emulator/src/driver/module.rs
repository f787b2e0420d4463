//! Modules: PTX that was loaded, its kernels and its variables. A library is a module that no context was asked for.

use super::{
    code::{Code, Error, Result},
    context::Context,
    entries,
    function::Function,
    handle::Id,
    image,
    memory::{Allocated, Origin},
    raw::{Host, In, Out, Text, put_text},
    run,
    state::{Driver, Locked},
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

/// A loaded module.
pub struct Module {
    pub context: Id<Context>,
    pub program: Arc<Program>,
    /// Its kernels by name.
    pub functions: BTreeMap<String, Id<Function>>,
    /// It was loaded as a library.
    as_library: bool,
}

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
struct Invalid {
    error: Error,
    log: String,
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
    fn load(&mut self, text: &[u8], library: bool) -> std::result::Result<Id<Module>, Invalid> {
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

    fn find_function(&self, module: Id<Module>, name: &str) -> Result<Id<Function>> {
        let found = self.modules.get(module)?.functions.get(name).copied();
        found.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no kernel {name}")))
    }

    fn find_variable(&self, module: Id<Module>, name: &str) -> Result<(u64, u64)> {
        let variables = &self.modules.get(module)?.program.variables;
        let found = variables.get(name).copied();
        found.ok_or_else(|| Code::NOT_FOUND.because(format!("the module has no variable {name}")))
    }
}

/// Loads an image; `options` takes the log.
fn load(d: &mut Locked, image: Host, options: &Options, library: bool) -> Result<Id<Module>> {
    d.current()?;
    d.check_unsafe("loading a module")?;
    let arch = d.device().compute_capability();
    let loaded = image::ptx(image, arch).map_err(Invalid::from).and_then(|text| d.load(&text, library));
    options.put_log(loaded.as_ref().err().map_or("", |i| &i.log))?;
    loaded.map_err(|i| i.error)
}

fn load_file(d: &mut Locked, path: &str) -> Result<Id<Module>> {
    d.current()?;
    d.check_unsafe("loading a module")?;
    let text = image::from_file(path, d.device().compute_capability())?;
    d.load(&text, false).map_err(|i| i.error)
}

fn unload(d: &mut Locked, module: Id<Module>, library: bool) -> Result<()> {
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

/// `CU_JIT_...`: the options that give something back; the others tune a compiler that is not here.
#[derive(Default)]
struct Options {
    /// Buffers for the information and the error log: address and length.
    info: Option<(Host, usize)>,
    error: Option<(Host, usize)>,
}

const INFO_LOG: u32 = 3;
const INFO_LOG_SIZE: u32 = 4;
const ERROR_LOG: u32 = 5;
const ERROR_LOG_SIZE: u32 = 6;

impl Options {
    fn read(count: u32, keys: &In<u32>, values: &In<Host>) -> Result<Options> {
        let mut found = BTreeMap::new();
        for i in 0..count as usize {
            found.insert(keys.at(i)?, values.at(i)?);
        }
        let log = |buffer: u32, size: u32| {
            let (to, len) = (*found.get(&buffer)?, found.get(&size)?.address() as usize);
            (!to.is_null() && len > 0).then_some((to, len))
        };
        Ok(Options { info: log(INFO_LOG, INFO_LOG_SIZE), error: log(ERROR_LOG, ERROR_LOG_SIZE) })
    }

    /// Writes the log of what was wrong, empty if nothing was.
    fn put_log(&self, log: &str) -> Result<()> {
        let put = |(to, len): (Host, usize), text: &str| put_text(text, &to.results(), len);
        self.info.map_or(Ok(()), |buffer| put(buffer, ""))?;
        self.error.map_or(Ok(()), |buffer| put(buffer, log))
    }
}

entries! {
    fn cuModuleLoadData(module: Out<Id<Module>>, image: Host) |d| {
        module.fill(|| load(d, image, &Options::default(), false))
    };
    fn cuModuleLoadDataEx(module: Out<Id<Module>>, image: Host, count: u32, keys: In<u32>, values: In<Host>) |d| {
        let options = Options::read(count, &keys, &values)?;
        module.fill(|| load(d, image, &options, false))
    };
    fn cuModuleLoadFatBinary(module: Out<Id<Module>>, image: Host) |d| {
        module.fill(|| load(d, image, &Options::default(), false))
    };
    fn cuModuleLoad(module: Out<Id<Module>>, path: Text) |d| module.fill(|| load_file(d, &path.get()?));
    fn cuModuleUnload(module: Id<Module>) |d| unload(d, module, false);
    fn cuModuleGetLoadingMode(mode: Out<u32>) |_d| mode.set(1);
    fn cuModuleGetFunction(function: Out<Id<Function>>, module: Id<Module>, name: Text) |d| {
        d.current()?;
        function.fill(|| d.find_function(module, &name.get()?))
    };
    fn cuModuleGetFunctionCount(count: Out<u32>, module: Id<Module>) |d| {
        count.fill(|| Ok(d.modules.get(module)?.functions.len() as u32))
    };
    fn cuModuleEnumerateFunctions(functions: Out<Id<Function>>, count: u32, module: Id<Module>) |d| {
        functions.set_all(d.modules.get(module)?.functions.values().copied().take(count as usize));
        Ok(())
    };
    fn cuModuleGetGlobal_v2(address: Out<u64>, len: Out<usize>, module: Id<Module>, name: Text) |d| {
        d.current()?;
        let (base, size) = d.find_variable(module, &name.get()?)?;
        address.set_if_wanted(base);
        len.set_if_wanted(size as usize);
        Ok(())
    };
    fn cuLibraryLoadData(
        library: Out<Id<Module>>, image: Host, keys: In<u32>, values: In<Host>, count: u32,
        _library_keys: Host, _library_values: Host, _library_count: u32
    ) |d| {
        let options = Options::read(count, &keys, &values)?;
        library.fill(|| load(d, image, &options, true))
    };
    fn cuLibraryUnload(library: Id<Module>) |d| unload(d, library, true);
    fn cuLibraryGetModule(module: Out<Id<Module>>, library: Id<Module>) |d| {
        d.modules.get(library)?;
        module.set(library)
    };
    fn cuLibraryGetKernel(kernel: Out<Id<Function>>, library: Id<Module>, name: Text) |d| {
        kernel.fill(|| d.find_function(library, &name.get()?))
    };
    fn cuLibraryGetGlobal(address: Out<u64>, len: Out<usize>, library: Id<Module>, name: Text) |d| {
        let (base, size) = d.find_variable(library, &name.get()?)?;
        address.set_if_wanted(base);
        len.set_if_wanted(size as usize);
        Ok(())
    };
    fn cuLibraryGetKernelCount(count: Out<u32>, library: Id<Module>) |d| {
        count.fill(|| Ok(d.modules.get(library)?.functions.len() as u32))
    };
    fn cuKernelGetFunction(function: Out<Id<Function>>, kernel: Id<Function>) |d| {
        d.functions.get(kernel)?;
        function.set(kernel)
    };
}
