//! The CUDA driver API: what programs load as `libcuda.so.1`.
//!
//! One [`Driver`] behind one lock holds everything; C callers hold [`handle::Id`]s, which are looked up and never followed.
//! Each entry point is a few lines in a table (`entries!`) that turn C arguments into a call of a method; [`enter`] turns its
//! `Result` into a code and a panic into 999. Streams are queues that run when somebody waits ([`run`]). The checks, the
//! counters and the report plug in at [`hooks`]; what users can set is read in [`options`]. All `unsafe` of the crate's
//! driver is in [`raw`] and in the few calls of C functions. Tests: `tests/driver_*.rs`.

#![allow(non_snake_case, reason = "entry points have the names of the API")]

mod capture;
mod code;
mod context;
mod copy;
mod device_api;
mod event;
mod exec;
mod function;
mod graph;
mod handle;
mod hooks;
mod image;
mod launch;
mod lookup;
mod memory;
mod module;
mod options;
mod pointer;
mod pool;
mod raw;
mod run;
mod state;
mod stream;
mod transfer;
mod work;

pub use state::{Driver, Locked};

use code::{Code, Result};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What must be true for a call to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// `cuInit` was called.
    Init,
}

thread_local! {
    /// This thread is inside a host function that a stream called.
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Runs an entry point: takes the lock, checks what is needed, and turns the outcome into a code.
pub(crate) fn enter(name: &'static str, needs: Needs, body: impl FnOnce(&mut Locked) -> Result<()>) -> Code {
    let call = || {
        if IN_HOST_FUNCTION.get() {
            return Err(Code::NOT_PERMITTED.because("host functions may not call the driver"));
        }
        let mut driver = Locked::take();
        let Driver { hooks, options, .. } = &mut *driver;
        hooks.call(options, name);
        let result = match needs {
            Needs::Init if driver.ended => Err(Code::DEINITIALIZED.because("the process ends")),
            Needs::Init if !driver.initialised => Err(Code::NOT_INITIALIZED.because("cuInit was not called")),
            _ => body(&mut driver),
        };
        result.inspect_err(|e| {
            let Driver { hooks, options, .. } = &mut *driver;
            hooks.failed_call(options, name, e);
        })
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Code::SUCCESS,
        Ok(Err(error)) => error.code,
        Err(_) => Code::UNKNOWN,
    }
}

/// Defines entry points, and `ENTRIES`, the table of their names and addresses. `fn name(x: T) |d| body` needs `cuInit`; the body is a
/// `Result<()>` over the locked driver `d`. With `early fn` it needs nothing.
macro_rules! entries {
    (@needs) => { $crate::driver::Needs::Init };
    (@needs early) => { $crate::driver::Needs::Nothing };
    ($($(#[$doc:meta])* $([$early:ident])? fn $name:ident($($arg:ident: $ty:ty),* $(,)?) |$d:ident| $body:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($arg: $ty),*) -> $crate::driver::code::Code {
                $crate::driver::enter(stringify!($name), entries!(@needs $($early)?), |$d| $body)
            }
        )*

        /// Names and addresses of the entry points of this file.
        pub(super) const ENTRIES: &[(&str, *const ())] = &[$((stringify!($name), $name as *const ()),)*];
    };
}
use entries;
