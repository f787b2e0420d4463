//! The rows X05 and F01 to F04 of the reliability plan, from inside: here panics can be provoked, and callbacks can panic.
//! `capi/tests` has those rows again from outside, in C and with a memory checker.

mod calls;
mod panics;
mod sequences;
mod structs;
mod threads;
mod tour;

use crate::{
    chat::*, decode::*, engine::*, generate::*, library::*, session::*, text::*, types::hw_status::*,
    types::*,
};
use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_void},
    ptr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

thread_local! {
    /// The function that panics in this thread.
    static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// What every exported function calls first.
pub fn panic_if_armed(name: &str) {
    if ARMED.get() == Some(name) {
        panic!("armed in {name}");
    }
}

/// There is one log: tests that set it take turns.
fn log_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const CPU: i32 = hw_device::HW_DEVICE_CPU as i32;
const MODEL: &CStr = c"tales";
const PROMPT: &CStr = c"Once upon a time";

fn open(n_cache: u64) -> hw_engine {
    let params = hw_engine_params { n_cache, device: CPU, ..default(hw_engine_params_default) };
    let mut engine = 0;
    // SAFETY: the pointers are to locals.
    let status = unsafe { hw_engine_open(MODEL.as_ptr(), HW_NTS, &params, &mut engine) };
    assert_eq!(status, HW_OK, "{}", last_error());
    engine
}

/// One engine for all tests that need no full cache.
fn engine() -> hw_engine {
    static ENGINE: OnceLock<hw_engine> = OnceLock::new();
    *ENGINE.get_or_init(|| open(64 * 512))
}

fn session_of(engine: hw_engine) -> hw_session {
    let mut session = 0;
    // SAFETY: the pointer is to a local.
    assert_eq!(unsafe { hw_session_open(engine, &mut session) }, HW_OK, "{}", last_error());
    session
}

fn session() -> hw_session {
    session_of(engine())
}

/// What a function fills in.
fn default<T: crate::args::Growing>(fill: unsafe extern "C" fn(*mut T, usize) -> hw_status) -> T {
    let mut params = T::DEFAULT;
    // SAFETY: the pointer is to a local of that size.
    assert_eq!(unsafe { fill(&mut params, size_of::<T>()) }, HW_OK);
    params
}

fn last_error() -> String {
    // SAFETY: the text is valid until this thread's next call that fails.
    unsafe { CStr::from_ptr(hw_last_error()) }.to_str().expect("errors are UTF-8").into()
}

type Each<'a> = &'a mut dyn FnMut(&hw_step) -> i32;

unsafe extern "C-unwind" fn each_step(step: *const hw_step, user_data: *mut c_void) -> i32 {
    // SAFETY: `generate` passes an `Each`, and the library a step.
    let (each, step) = unsafe { (&mut *user_data.cast::<Each>(), &*step) };
    each(step)
}

fn generate(
    session: hw_session,
    prompt: &CStr,
    params: hw_generate_params,
    each: Each,
) -> (hw_status, hw_stats) {
    let (mut each, mut stats) = (each, default_stats());
    let user_data = ptr::from_mut(&mut each).cast();
    let params = hw_generate_params { callback: Some(each_step), user_data, ..params };
    // SAFETY: the pointers are to locals and what `params` was made of.
    let status =
        unsafe { hw_generate(session, prompt.as_ptr(), HW_NTS, &params, &mut stats, size_of::<hw_stats>()) };
    (status, stats)
}

fn default_stats() -> hw_stats {
    <hw_stats as crate::args::Growing>::DEFAULT
}

fn at_most(max_tokens: usize) -> hw_generate_params {
    hw_generate_params { max_tokens, ..default(hw_generate_params_default) }
}

fn text_of(step: &hw_step) -> &str {
    // SAFETY: the library's text is UTF-8 of that length.
    unsafe {
        str::from_utf8(std::slice::from_raw_parts(step.text.cast(), step.text_len)).expect("text is UTF-8")
    }
}

fn tokens_of(session: hw_session) -> Vec<u32> {
    let (mut tokens, mut n) = (vec![0; 512], 0);
    // SAFETY: the pointers are to locals of that size.
    let status = unsafe { hw_session_tokens(session, tokens.as_mut_ptr(), tokens.len(), &mut n) };
    assert_eq!(status, HW_OK, "{}", last_error());
    tokens.truncate(n);
    tokens
}

fn decode(turns: &[(hw_session, &[u32], hw_rows)]) -> hw_status {
    let turns: Vec<_> = turns
        .iter()
        .map(|&(session, tokens, rows)| hw_turn {
            session,
            tokens: tokens.as_ptr(),
            n_tokens: tokens.len(),
            rows: rows as i32,
            phase: hw_phase::HW_PHASE_PROMPT as i32,
        })
        .collect();
    // SAFETY: the pointers are to locals.
    unsafe { hw_decode(turns.as_ptr(), turns.len(), size_of::<hw_turn>()) }
}

fn logits_of(session: hw_session, row: usize) -> Vec<f32> {
    let (mut logits, mut n) = (vec![0.0; 4096], 0);
    // SAFETY: the pointers are to locals of that size.
    let status = unsafe { hw_session_logits(session, row, logits.as_mut_ptr(), logits.len(), &mut n) };
    assert_eq!((status, n), (HW_OK, 4096), "{}", last_error());
    logits
}
