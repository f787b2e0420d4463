//! Sessions: opening, what they hold, and rewinding.

use crate::{args::Args, guard::guard, handle, types::*};
use std::sync::atomic::Ordering;

/// Starts an empty session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_open(engine: hw_engine, session: *mut hw_session) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_open", || {
        let output = args.output("session", session)?;
        output.write(handle::add_session(handle::engine(engine)?.session()));
        Ok(())
    })
}

/// Starts a session `fork` with the text of `session`: whole pages of keys and values are shared, and the tokens beyond them, which
/// hw_session_tokens of the fork lacks, are for its user to give again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_fork(session: hw_session, fork: *mut hw_session) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_fork", || {
        let output = args.output("fork", fork)?;
        let slot = handle::session(session)?;
        output.write(handle::add_session(slot.hold(session)?.get().session.fork()?));
        Ok(())
    })
}

/// Frees a session. HW_E_BUSY while a call has it: cancel the generation, wait until its call has returned, free again. 0 is
/// ignored.
#[unsafe(no_mangle)]
pub extern "C" fn hw_session_free(session: hw_session) -> hw_status {
    guard("hw_session_free", || if session == 0 { Ok(()) } else { handle::free_session(session) })
}

/// Ends the generation that another thread, or the callback's caller, runs on `session`, within one forward call. Does nothing
/// if there is none: a later one is not ended.
#[unsafe(no_mangle)]
pub extern "C" fn hw_session_cancel(session: hw_session) -> hw_status {
    guard("hw_session_cancel", || {
        handle::session(session)?.cancel.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// The tokens whose keys and values are cached, the prompt's and those generated; the last one that was generated is not among
/// them until something follows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_tokens(
    session: hw_session,
    tokens: *mut u32,
    capacity: usize,
    n_tokens: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_tokens", || {
        let output = args.buffer("tokens", tokens, capacity, n_tokens)?;
        let slot = handle::session(session)?;
        output.write(&slot.hold(session)?.get().session.tokens()?)
    })
}

/// Rewinds a session to its first `n_tokens` tokens at most; 0 empties it. `n_kept`, which may be NULL, gets how many are left:
/// fewer than asked for where the cut goes through a page that a fork shares.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_session_truncate(
    session: hw_session,
    n_tokens: usize,
    n_kept: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_session_truncate", || {
        let output = if n_kept.is_null() { None } else { Some(args.output("n_kept", n_kept)?) };
        let slot = handle::session(session)?;
        let mut held = slot.hold(session)?;
        let open = held.get();
        open.logits.clear();
        let kept = open.session.truncate(n_tokens)?;
        if let Some(output) = output {
            output.write(kept);
        }
        Ok(())
    })
}
