//! Writing to standard output and standard error.

use super::exit::Failure;
use std::{
    fmt::{Arguments, Display},
    io::{self, Write},
    time::Duration,
};

/// Writes a line to standard error. A closed standard error is nobody's problem.
pub fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Standard output, buffered until [`flush`](Self::flush).
pub struct Out(io::BufWriter<io::StdoutLock<'static>>);

impl Out {
    /// Locks standard output.
    pub fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Writes `text`.
    pub fn write(&mut self, text: impl Display) -> Result<(), Failure> {
        write!(self.0, "{text}").map_err(|e| Failure::writing("standard output", &e))
    }

    /// Writes `text` and ends the line.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        self.write(format_args!("{text}\n"))
    }

    /// Makes what was written visible.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|e| Failure::writing("standard output", &e))
    }
}

/// Writes `text` as the whole output.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(text)?;
    out.flush()
}

/// Writes `value` as the whole output, indented.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format_args!("{value:#}"))
}

/// `11.8 MB`: decimal units, as memory bandwidth is given.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// `5.9 M`: a number of parameters.
pub fn count(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.1} K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `n` per second of `time`; `None` where there was nothing to count or no time.
pub fn per_second(n: usize, time: Duration) -> Option<f64> {
    (n > 0 && !time.is_zero()).then(|| n as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_short() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(11_844_840), "11.8 MB");
        assert_eq!(bytes(3_112_000_000), "3.11 GB");
        assert_eq!(count(5_919_744), "5.9 M");
    }

    #[test]
    fn nothing_in_no_time_has_no_rate() {
        assert_eq!(per_second(0, Duration::from_secs(1)), None);
        assert_eq!(per_second(5, Duration::ZERO), None);
        assert_eq!(per_second(5, Duration::from_secs(2)), Some(2.5));
    }
}
