//! Where messages go: to the function that hw_log_set was given, or nowhere.

use crate::{
    callback::LogSink,
    status::{Call, Failure},
    types::{hw_log_level, hw_status},
};
use std::{
    cell::Cell,
    sync::{PoisonError, RwLock},
};

static SINK: RwLock<Option<LogSink>> = RwLock::new(None);

thread_local! {
    /// Whether this thread is inside of the sink.
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Sends messages to `sink` from now on. Waits until those that are on their way to the old one have arrived.
pub fn set(sink: Option<LogSink>) -> Call {
    if IS_LOGGING.get() {
        return Err(Failure::new(hw_status::HW_E_BUSY, "the log's own callback cannot replace it"));
    }
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
    Ok(())
}

/// Sends a message, unless it is about what the sink itself does.
pub fn write(level: hw_log_level, text: &str) {
    if IS_LOGGING.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    if let Some(sink) = &*SINK.read().unwrap_or_else(PoisonError::into_inner) {
        let _ = IS_LOGGING.try_with(|is_logging| is_logging.set(true));
        sink.call(level, text);
        let _ = IS_LOGGING.try_with(|is_logging| is_logging.set(false));
    }
}
