//! What the program does when a weights file is cut while it is mapped: one line and [`EXIT`], not a bare "Bus error".
//!
//! Reading a mapped page that is no longer in the file raises SIGBUS, and nothing can be returned from there. The library
//! leaves signals alone; the program installs this handler before it opens a model. Tested in `tests/sources.rs`.

/// The exit code: `EX_IOERR` of sysexits.h.
const EXIT: i32 = 74;

/// Installs the handler. If that fails, a cut file ends the program with the system's own message.
#[cfg(unix)]
pub fn install() {
    // SAFETY: all fields of `sigaction` are integers, pointers or masks of bits, for which zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let previous = PREVIOUS.0.get();
    // SAFETY: `handle` has the signature that SA_SIGINFO asks for and calls only what POSIX allows in a handler.
    // `previous` is written here alone, before the handler that reads it can run, by the program's first thread.
    unsafe { libc::sigaction(libc::SIGBUS, &action, previous.cast()) };
}

/// There is no SIGBUS.
#[cfg(not(unix))]
pub fn install() {}

/// The action before ours: Rust's own, which reports a stack that is full.
#[cfg(unix)]
struct Previous(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::sigaction>>);

// SAFETY: written once, by `install`, before any other thread starts; only read afterwards.
#[cfg(unix)]
unsafe impl Sync for Previous {}

#[cfg(unix)]
static PREVIOUS: Previous = Previous(std::cell::UnsafeCell::new(std::mem::MaybeUninit::zeroed()));

/// Ends the program if the fault is in a mapped weights file; otherwise puts the previous action back and returns to the
/// access, which faults again.
#[cfg(unix)]
extern "C" fn handle(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the system passes a valid `info`, and that of SIGBUS holds an address.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: the access that raised this signal is under way; the path is used before the handler ends.
    if let Some(path) = unsafe { halfwarp::format::mapped::find(address) } {
        let parts = [b"error: weights file changed while mapped: ", path, b"\n"];
        let parts = parts.map(|p| libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: p.len() });
        // SAFETY: both calls are allowed in a signal handler; `parts` are three live byte strings, only read.
        unsafe {
            libc::writev(2, parts.as_ptr(), 3);
            libc::_exit(EXIT);
        }
    }
    // SAFETY: `sigaction` is allowed in a handler; `install` filled `PREVIOUS`, and its zeros are the default action.
    unsafe { libc::sigaction(libc::SIGBUS, PREVIOUS.0.get().cast(), std::ptr::null_mut()) };
}
