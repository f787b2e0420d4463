//! `cuGetProcAddress`: entry points by name, and the emulator's own ones for tests and tools.

use super::{
    capture, context, copy, device, entries, event, exec, function, graph, launch, memory, module, pointer,
    pool,
    raw::{Out, Text, put_text},
    stream,
};
use crate::driver::{
    objects::code::{Code, Result},
    state::options::Options,
};

/// All entry points of the API.
fn all() -> impl Iterator<Item = &'static (&'static str, *const ())> {
    [
        device::ENTRIES,
        context::ENTRIES,
        memory::ENTRIES,
        copy::ENTRIES,
        module::ENTRIES,
        launch::ENTRIES,
        stream::ENTRIES,
        event::ENTRIES,
        capture::ENTRIES,
        graph::ENTRIES,
        exec::ENTRIES,
        function::ENTRIES,
        pointer::ENTRIES,
        pool::ENTRIES,
        ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// Names whose newest version is not the one of the highest number: those changed their prototype for programs of CUDA 13 only.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("cuCtxCreate", "cuCtxCreate_v2"),
    ("cuGraphInstantiate", "cuGraphInstantiateWithFlags"),
    ("cuMemAdvise", "cuMemAdvise"),
    ("cuMemPrefetchAsync", "cuMemPrefetchAsync"),
];
/// From this version on programs that ask for the exceptions mean the newest.
const NEW_PROTOTYPES: i32 = 13_000;

/// The newest version of an entry point that programs of a CUDA version mean: `cuMemAlloc` stands for `cuMemAlloc_v2`.
fn address(name: &str, version: i32) -> Option<*const ()> {
    let named = |wanted: &str| all().find(|(n, _)| *n == wanted).map(|&(_, a)| a);
    let old = EXCEPTIONS.iter().find(|(n, _)| *n == name).map(|&(_, old)| old);
    match old {
        Some(old) if version < NEW_PROTOTYPES || name == "cuGraphInstantiate" => named(old),
        _ => ["_v4", "_v3", "_v2", ""].iter().find_map(|suffix| named(&format!("{name}{suffix}"))),
    }
}

fn look_up(name: &Text, version: i32, to: &Out<*const ()>) -> Result<bool> {
    let found = address(&name.get()?, version);
    to.set(found.unwrap_or(std::ptr::null()))?;
    Ok(found.is_some())
}

entries! {
    [early] fn cuGetProcAddress(name: Text, to: Out<*const ()>, version: i32, _flags: u64) |_d| {
        match look_up(&name, version, &to)? {
            true => Ok(()),
            false => Err(Code::NOT_FOUND.because("no such entry point")),
        }
    };
    [early] fn cuGetProcAddress_v2(name: Text, to: Out<*const ()>, version: i32, _flags: u64, status: Out<u32>) |_d| {
        // 0: found; 1: not found.
        status.set_if_wanted(u32::from(!look_up(&name, version, &to)?));
        Ok(())
    };
    /// Forgets all state and begins anew with the options of a JSON object, as if `cuInit` was called.
    [early] fn cuda_emulator_reset(options: Text) |d| d.reset(Options::from_json(&options.get()?)?);
    /// The findings so far, one a line, as text of at most `len` bytes; they are forgotten.
    [early] fn cuda_emulator_findings(to: Out<u8>, len: usize) |d| {
        let text = d.hooks.take_findings().join("\n");
        put_text(&text, &to, len)
    };
    /// The counters of the launches so far, as the JSON that `CUDA_EMULATOR_COUNTERS` writes; they are forgotten. Fails if it
    /// is not shorter than `len` bytes.
    [early] fn cuda_emulator_counters(to: Out<u8>, len: usize) |d| {
        let json = d.hooks.counters(d.machine.settings.device.name)?;
        if json.len() >= len {
            return Err(Code::INVALID_VALUE.because(format!("the counters are {} bytes", json.len())));
        }
        put_text(&json, &to, len)?;
        d.hooks.forget_counters();
        Ok(())
    };
    /// The last call that failed, and why, as text of at most `len` bytes.
    [early] fn cuda_emulator_last_error(to: Out<u8>, len: usize) |d| put_text(d.hooks.last_error().unwrap_or(""), &to, len);
}
