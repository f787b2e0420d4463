//! Ctrl-C while a text is generated. `generate`: the first one stops the generation, a second one ends the program at once.
//! `repl`: it stops the answer under way, however often it is pressed.

use super::exit::Failure;
use halfwarp::engine::CancelToken;
use signal_hook::{consts::SIGINT, flag};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Watches for Ctrl-C, which no longer ends the program by itself.
pub struct Interrupt {
    /// Whether it was pressed.
    pressed: Arc<AtomicBool>,
    /// Whether the next one ends the program.
    ends: Arc<AtomicBool>,
}

impl Interrupt {
    /// The first Ctrl-C stops the generation, the second one ends the program.
    pub fn watch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        Self { pressed: flag.clone(), ends: flag }.register()
    }

    /// Ctrl-C ends the program, but from [`answer_begins`](Self::answer_begins) to [`answer_ends`](Self::answer_ends) it
    /// stops the answer.
    pub fn between_answers() -> Result<Self, Failure> {
        Self { pressed: Arc::new(AtomicBool::new(false)), ends: Arc::new(AtomicBool::new(true)) }.register()
    }

    fn register(self) -> Result<Self, Failure> {
        // In this order, so that the handler that ends the program sees what earlier presses have set.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED, self.ends.clone())
            .and_then(|_| flag::register(SIGINT, self.pressed.clone()))
            .map_err(|e| Failure::because("cannot watch for Ctrl-C", e))?;
        Ok(self)
    }

    /// A token that Ctrl-C cancels.
    pub fn token(&self) -> CancelToken {
        CancelToken::from(self.pressed.clone())
    }

    /// A token for one answer, that Ctrl-C cancels from now on.
    pub fn answer_begins(&self) -> CancelToken {
        self.pressed.store(false, Ordering::SeqCst);
        self.ends.store(false, Ordering::SeqCst);
        self.token()
    }

    /// Ctrl-C ends the program again.
    pub fn answer_ends(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}
