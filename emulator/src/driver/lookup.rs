//! `cuGetProcAddress`: entry points by name, and the emulator's own ones for tests and tools.

use super::{
    code::{Code, Result},
    context, copy, device_api, entries, event, launch, memory, module,
    options::Options,
    raw::{Out, Text},
    stream,
};

/// All entry points of the API.
fn all() -> impl Iterator<Item = &'static (&'static str, *const ())> {
    [
        device_api::ENTRIES,
        context::ENTRIES,
        memory::ENTRIES,
        copy::ENTRIES,
        module::ENTRIES,
        launch::ENTRIES,
        stream::ENTRIES,
        event::ENTRIES,
        ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// The newest version of an entry point: `cuMemAlloc` stands for `cuMemAlloc_v2`.
fn address(name: &str) -> Option<*const ()> {
    let newest = |suffix: &str| all().find(|(n, _)| n.strip_suffix(suffix) == Some(name)).map(|&(_, a)| a);
    ["_v3", "_v2", ""].into_iter().find_map(newest)
}

fn look_up(name: &Text, to: &Out<*const ()>) -> Result<bool> {
    let found = address(&name.get()?);
    to.set(found.unwrap_or(std::ptr::null()))?;
    Ok(found.is_some())
}

/// Copies a text to a buffer of `len` bytes, cut to fit, with a zero at the end.
pub(super) fn put_text(text: &str, to: &Out<u8>, len: usize) -> Result<()> {
    let Some(room) = len.checked_sub(1).filter(|_| !to.is_null()) else {
        return Err(Code::INVALID_VALUE.because("no room for the text"));
    };
    let n = text.len().min(room);
    to.set_all(text.as_bytes()[..n].iter().copied().chain([0]));
    Ok(())
}

entries! {
    [early] fn cuGetProcAddress(name: Text, to: Out<*const ()>, _version: i32, _flags: u64) |_d| {
        match look_up(&name, &to)? {
            true => Ok(()),
            false => Err(Code::NOT_FOUND.because("no such entry point")),
        }
    };
    [early] fn cuGetProcAddress_v2(name: Text, to: Out<*const ()>, _version: i32, _flags: u64, status: Out<u32>) |_d| {
        // 0: found; 1: not found.
        status.set_if_wanted(u32::from(!look_up(&name, &to)?));
        Ok(())
    };
    /// Forgets all state and begins anew with the options of a JSON object, as if `cuInit` was called.
    [early] fn cuda_emulator_reset(options: Text) |d| d.reset(Options::from_json(&options.get()?)?);
    /// The findings so far, one a line, as text of at most `len` bytes; they are forgotten.
    [early] fn cuda_emulator_findings(to: Out<u8>, len: usize) |d| {
        let text = d.hooks.take_findings().join("\n");
        put_text(&text, &to, len)
    };
    /// The last call that failed, and why, as text of at most `len` bytes.
    [early] fn cuda_emulator_last_error(to: Out<u8>, len: usize) |d| put_text(d.hooks.last_error().unwrap_or(""), &to, len);
}
