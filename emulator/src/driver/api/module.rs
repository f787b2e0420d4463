//! Modules and libraries: how programs load them and ask for what they hold.

use super::{
    entries, image,
    raw::{In, Out, Text, put_text},
};
use crate::driver::{
    objects::{code::Result, function::Function, handle::Id, host::Host, module::Module},
    state::{
        Locked,
        module::{Invalid, unload},
    },
};
use std::collections::BTreeMap;

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
        let put = |(to, len): (Host, usize), text: &str| put_text(text, &to.into(), len);
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
