//! Initialisation, errors, and what programs ask of devices.

use super::{
    code::{Code, Result},
    entries,
    raw::Out,
    state::Driver,
};
use std::ffi::c_char;

fn attribute(d: &Driver, attribute: u32, device: i32) -> Result<i32> {
    d.check_device(device)?;
    let device = d.device();
    Ok(match attribute {
        75 => device.capability.0 as i32,
        76 => device.capability.1 as i32,
        115 => 1,
        _ => 0,
    })
}

fn text(
    code: u32,
    to: Out<*const c_char>,
    pick: fn((&'static std::ffi::CStr, &'static std::ffi::CStr)) -> *const c_char,
) -> Result<()> {
    match Code(code).describe() {
        Some(texts) => to.set(pick(texts)),
        None => {
            to.set_if_wanted(std::ptr::null());
            Err(Code::INVALID_VALUE.because(format!("no error has the code {code}")))
        }
    }
}

entries! {
    [early] fn cuInit(flags: u32) |d| match flags {
        0 => d.initialise(),
        _ => Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0"))),
    };
    [early] fn cuDriverGetVersion(version: Out<i32>) |_d| version.set(13_050);
    [early] fn cuGetErrorName(code: u32, to: Out<*const c_char>) |_d| text(code, to, |(name, _)| name.as_ptr());
    [early] fn cuGetErrorString(code: u32, to: Out<*const c_char>) |_d| text(code, to, |(_, text)| text.as_ptr());
    fn cuDeviceGetCount(count: Out<i32>) |_d| count.set(1);
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) |d| {
        d.check_device(ordinal)?;
        device.set(ordinal)
    };
    fn cuDeviceGetAttribute(value: Out<i32>, which: u32, device: i32) |d| value.fill(|| attribute(d, which, device));
}
