//! The caller's functions, as closures that return errors.

use crate::{
    args::Args,
    guard,
    status::{Call, Failure},
    types::*,
};
use halfwarp::engine::Step;
use std::{
    ffi::{c_char, c_void},
    marker::PhantomData,
    ptr,
};

/// A function of the caller's that can be called while the call lasts.
pub struct Callback<'a, F> {
    function: Option<F>,
    user_data: *mut c_void,
    args: PhantomData<&'a Args>,
}

type ProgressFunction = unsafe extern "C-unwind" fn(f32, *mut c_void) -> i32;
type StepFunction = unsafe extern "C-unwind" fn(*const hw_step, *mut c_void) -> i32;
type LogFunction = unsafe extern "C-unwind" fn(i32, *const c_char, usize, *mut c_void);

impl Args {
    /// The caller's function, which need not be there.
    pub fn callback<F>(&self, function: Option<F>, user_data: *mut c_void) -> Callback<'_, F> {
        Callback { function, user_data, args: PhantomData }
    }
}

impl Callback<'_, ProgressFunction> {
    /// Tells how far the loading is; true asks to stop.
    pub fn call(&self, fraction: f32) -> Call<bool> {
        let Some(function) = self.function else { return Ok(false) };
        // SAFETY: by the contract of `Args::new` the pointer is NULL or a function of this type.
        caught(|| unsafe { function(fraction, self.user_data) != 0 })
    }
}

impl Callback<'_, StepFunction> {
    /// Hands out a step; true asks to stop. `top` is memory that is used again.
    pub fn call(&self, step: &Step, top: &mut Vec<hw_token_logprob>) -> Call<bool> {
        let Some(function) = self.function else { return Ok(false) };
        top.clear();
        if let Some(logprobs) = &step.logprobs {
            top.extend(logprobs.top.iter().map(|&(token, logprob)| hw_token_logprob { token, logprob }));
        }
        let step = hw_step {
            size: size_of::<hw_step>(),
            // Rust's pointer to an empty text points to nothing.
            text: if step.text.is_empty() { c"".as_ptr() } else { step.text.as_ptr().cast() },
            text_len: step.text.len(),
            top: if top.is_empty() { ptr::null() } else { top.as_ptr() },
            n_top: top.len(),
            token: step.token_id.unwrap_or(HW_NO_TOKEN),
            logprob: step.logprobs.as_ref().map_or(f32::NAN, |logprobs| logprobs.logprob),
            is_prompt: step.is_prompt.into(),
            reserved: 0,
        };
        // SAFETY: by the contract of `Args::new` the pointer is NULL or a function of this type. What the step points to
        // lives until it returns.
        caught(|| unsafe { function(&step, self.user_data) != 0 })
    }
}

/// The caller's function for messages, for as long as the program runs.
#[derive(Clone, Copy)]
pub struct LogSink {
    function: LogFunction,
    user_data: *mut c_void,
}

// SAFETY: the header says that the function is called from any thread, so what `user_data` points to is ready for that.
unsafe impl Send for LogSink {}
// SAFETY: as above; a sink is only called, never changed.
unsafe impl Sync for LogSink {}

impl LogSink {
    /// A sink that calls `function`.
    ///
    /// # Safety
    /// The function is of this type and can be called, from any thread, until the sink is dropped.
    pub unsafe fn new(function: LogFunction, user_data: *mut c_void) -> Self {
        Self { function, user_data }
    }

    /// Hands out a message. There is nobody to tell if the function panics.
    pub fn call(&self, level: hw_log_level, text: &str) {
        // SAFETY: by the contract of `LogSink::new`.
        let _ = guard::catch(|| unsafe {
            (self.function)(level as i32, text.as_ptr().cast(), text.len(), self.user_data);
        });
    }
}

/// Calls a function of the caller's, whose panics are errors if they come from this copy of Rust's library; others end
/// the program, as C++'s exceptions do.
fn caught<T>(call: impl FnOnce() -> T) -> Call<T> {
    guard::catch(call)
        .map_err(|text| Failure::new(hw_status::HW_E_CALLBACK, format!("the callback panicked: {text}")))
}
