//! [`guard`]: every exported function runs in it. A panic becomes HW_E_INTERNAL, an error a status and this thread's last error.

use crate::{
    log,
    status::{Call, Failure},
    types::{hw_log_level, hw_status},
};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    ffi::{CStr, CString, c_char},
    panic::{self, AssertUnwindSafe},
    ptr,
    sync::Once,
};

thread_local! {
    /// The text of the last call that failed.
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// Exported functions that this thread is in: more than one where a callback calls.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Where and why this thread panicked last, inside of one.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `call`, the body of the exported function `name`.
pub fn guard(name: &'static str, call: impl FnOnce() -> Call) -> hw_status {
    let result = catch(|| {
        #[cfg(all(test, feature = "bundled"))]
        crate::tests::panic_if_armed(name);
        call()
    });
    let failure = match result {
        Ok(Ok(())) => return hw_status::HW_OK,
        Ok(Err(failure)) => failure,
        Err(what) => Failure::new(hw_status::HW_E_INTERNAL, format!("a bug in this library: {what}")),
    };
    let text = format!("{name}: {}", failure.text);
    if failure.status != hw_status::HW_E_TOO_SMALL {
        // A panic in there would be one of the callback's, which is caught there.
        log::write(hw_log_level::HW_LOG_ERROR, &text);
    }
    // NUL is replaced, so the conversion cannot fail.
    let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    failure.status
}

/// Runs `call`; a panic in it is an error with its text.
pub fn catch<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(record_panics);
    // Of a panic that somebody else has caught.
    let _ = PANIC.try_with(|panic| panic.borrow_mut().clear());
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
    // What a panic can leave halfway is behind a mutex: the session's, which is poisoned then and refuses further use
    // (`handle::Slot`), or the engine's, whose page tables change in steps that do not panic.
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
    result.map_err(|payload| {
        let fallback = text_of(&*payload);
        // A payload of a callback's own type could panic when it is dropped.
        std::mem::forget(payload);
        let recorded = PANIC.try_with(RefCell::take).unwrap_or_default();
        if recorded.is_empty() { fallback } else { recorded }
    })
}

/// This thread's last error: empty at first, valid until the next call that fails.
pub fn last_error() -> *const c_char {
    const NOTHING: &CStr = c"";
    // Only a thread that is ending has none.
    LAST_ERROR.try_with(|last| last.try_borrow().map_or(NOTHING.as_ptr(), |text| text.as_ptr())).unwrap_or(
        // The same as for a thread in which nothing has failed.
        ptr::from_ref(NOTHING).cast(),
    )
}

/// Keeps what panics inside of our functions say, instead of printing it; other panics go where they went before.
fn record_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
            return before(info);
        }
        let place = info.location().map(|l| format!(", at {}:{}", l.file(), l.line())).unwrap_or_default();
        let text = text_of(info.payload()) + &place;
        let _ = PANIC.try_with(|panic| panic.replace(text));
    }));
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".into())
}
