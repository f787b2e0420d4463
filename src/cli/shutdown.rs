//! SIGTERM and SIGINT while the server runs: the first one lets it end, the second one ends the program at once.

use super::exit::Failure;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often the flag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Watches for signals that ask the program to end.
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// Signals no longer end the program by themselves, but the second one does, with the exit code that shells give it.
    pub fn watch() -> Result<Self, Failure> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order, so that the first signal does not find what it sets itself.
            flag::register_conditional_shutdown(signal, 128 + signal, requested.clone())
                .and_then(|_| flag::register(signal, requested.clone()))
                .map_err(|e| Failure::because("cannot watch for signals", e))?;
        }
        Ok(Self(requested))
    }

    /// Waits for the first one.
    pub async fn requested(self) {
        while !self.0.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
