//! Ctrl-C while a text is generated: the first one stops the generation, a second one ends the program at once.

use super::exit::Failure;
use halfwarp::engine::CancelToken;
use signal_hook::{consts::SIGINT, flag};
use std::sync::{Arc, atomic::AtomicBool};

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C was pressed. Once this exists, Ctrl-C no longer ends the program by itself.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to watch for Ctrl-C.
    pub fn watch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        // In this order, so that the handler that ends the program sees what earlier presses have set.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED, flag.clone())
            .and_then(|_| flag::register(SIGINT, flag.clone()))
            .map_err(|e| Failure::because("cannot watch for Ctrl-C", e))?;
        Ok(Self(flag))
    }

    /// A token that Ctrl-C cancels.
    pub fn token(&self) -> CancelToken {
        CancelToken::from(self.0.clone())
    }
}
