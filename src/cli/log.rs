//! The server's log: lines to standard error, from a thread of their own, so that a reader that has stopped to read, or a disk that
//! is full, holds up no request. What cannot be written is lost.

use super::exit::Failure;
use clap::ValueEnum;
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that wait to be written; more are lost.
const LINES_MAX: usize = 1024;
/// How long the end of the program waits for them.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
    /// No log.
    Off,
}

/// The log.
pub struct Log {
    /// Lines that wait.
    n_waiting: Arc<AtomicUsize>,
}

impl Log {
    /// Lets everything that is logged from now on go to standard error.
    pub fn start(format: LogFormat) -> Result<Self, Failure> {
        let (sender, lines) = sync_channel::<Vec<u8>>(LINES_MAX);
        let n_waiting = Arc::<AtomicUsize>::default();
        let writer = Lines { sender, n_waiting: n_waiting.clone() };
        let written = n_waiting.clone();
        let write = move || {
            for line in lines {
                let _ = io::stderr().write_all(&line);
                written.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("log".into());
        thread.spawn(write).map_err(|e| Failure::because("cannot start the log's thread", e))?;
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).log_internal_errors(false);
        match format {
            LogFormat::Plain => log.with_ansi(false).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
            LogFormat::Off => (),
        }
        Ok(Self { n_waiting })
    }

    /// Waits for the last lines, not for ever.
    pub fn finish(self) {
        let started = Instant::now();
        while self.n_waiting.load(Ordering::Relaxed) > 0 && started.elapsed() < LAST_LINES {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Hands lines, which come as a whole, to the thread. Never fails and never waits.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Vec<u8>>,
    n_waiting: Arc<AtomicUsize>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.n_waiting.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(line.to_vec()).is_err() {
            self.n_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
