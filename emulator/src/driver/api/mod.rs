//! The entry points: from C's types to calls of the driver, and its results back to codes.
//!
//! A table (`entries!`) in each file turns C arguments into calls; [`enter`] turns their `Result` into a code and a panic into 999.

mod capture;
mod context;
mod copy;
mod device;
mod event;
mod exec;
mod function;
mod graph;
mod guarded;
mod image;
mod launch;
mod lookup;
mod memory;
mod module;
mod pointer;
mod pool;
mod raw;
mod stream;

use super::{
    objects::code::{Code, Result},
    state::{Driver, Locked, run},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What must be true for a call to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// `cuInit` was called.
    Init,
}

/// Runs an entry point: takes the lock, checks what is needed, and turns the outcome into a code.
fn enter(name: &'static str, needs: Needs, body: impl FnOnce(&mut Locked) -> Result<()>) -> Code {
    let call = || {
        if run::in_host_function() {
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
    (@needs) => { $crate::driver::api::Needs::Init };
    (@needs early) => { $crate::driver::api::Needs::Nothing };
    ($($(#[$doc:meta])* $([$early:ident])? fn $name:ident($($arg:ident: $ty:ty),* $(,)?) |$d:ident| $body:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($arg: $ty),*) -> $crate::driver::objects::code::Code {
                $crate::driver::api::enter(stringify!($name), entries!(@needs $($early)?), |$d| $body)
            }
        )*

        /// Names and addresses of the entry points of this file.
        pub(super) const ENTRIES: &[(&str, *const ())] = &[$((stringify!($name), $name as *const ()),)*];
    };
}
use entries;
