//! What became of many requests, counted, and many clients at once.

use crate::{
    client::{Answer, Client},
    texts::Case,
};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Counts and times of the requests of one phase.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub n_right: usize,
    pub n_refused: usize,
    pub n_broken: usize,
    /// What must not be: other bytes, answers that are none, valid requests refused with 4xx, invalid ones accepted.
    pub wrong: Vec<String>,
    /// Statuses of those refused.
    pub statuses: Vec<u16>,
    /// When a text's first token came, and how long that took.
    pub firsts: Vec<(Instant, Duration)>,
    pub gaps: Vec<Duration>,
    /// How long a refusal took, and whether each said when to try again.
    pub refusals: Vec<Duration>,
    pub all_say_retry: bool,
    pub n_tokens: usize,
}

impl Ledger {
    pub fn new() -> Self {
        Self { all_say_retry: true, ..Self::default() }
    }

    /// Counts the answer to a request whose text must be `expected`; none where it must be refused.
    pub fn count(&mut self, expected: Option<&str>, answer: Answer) {
        match (expected, answer) {
            (_, Answer::Wrong(what)) => self.wrong.push(what),
            (_, Answer::Broken) => self.n_broken += 1,
            (Some(expected), Answer::Text { text, n_tokens, first, gaps, .. }) => {
                if text != expected {
                    return self.wrong.push(format!("{text:?} in place of {expected:?}"));
                }
                self.n_right += 1;
                self.n_tokens += n_tokens;
                self.firsts.push((Instant::now(), first));
                self.gaps.extend(gaps);
            }
            (None, Answer::Text { text, .. }) => self.wrong.push(format!("an invalid request got {text:?}")),
            (expected, Answer::Refused { status, retry_after, after }) => {
                let is_busy = status == 429 || status == 503;
                if expected.is_some() != is_busy {
                    return self.wrong.push(format!("status {status}"));
                }
                self.n_refused += 1;
                self.statuses.push(status);
                if is_busy {
                    self.refusals.push(after);
                    self.all_say_retry &= retry_after;
                }
            }
        }
    }

    pub fn add(&mut self, other: Ledger) {
        self.n_right += other.n_right;
        self.n_refused += other.n_refused;
        self.n_broken += other.n_broken;
        self.wrong.extend(other.wrong);
        self.statuses.extend(other.statuses);
        self.firsts.extend(other.firsts);
        self.gaps.extend(other.gaps);
        self.refusals.extend(other.refusals);
        self.all_say_retry &= other.all_say_retry;
        self.n_tokens += other.n_tokens;
    }

    pub fn n_ended(&self) -> usize {
        self.n_right + self.n_refused + self.n_broken + self.wrong.len()
    }

    /// Milliseconds to the first token, of which a share `q` is shorter.
    pub fn first_ms(&self, q: f64) -> f64 {
        quantile(self.firsts.iter().map(|&(_, first)| first), q)
    }
}

/// The value in milliseconds that a share `q` of `times` does not exceed; not a number where there are none.
pub fn quantile(times: impl Iterator<Item = Duration>, q: f64) -> f64 {
    let mut ms: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let last = ms.len().wrapping_sub(1);
    ms.get((last as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A request: its body, the text it must get or none where it must be refused, and whether it is streamed.
pub struct Ask<'a> {
    pub body: &'a serde_json::Value,
    pub expected: Option<&'a str>,
    pub stream: bool,
}

impl<'a> Ask<'a> {
    pub fn of(case: &'a Case, stream: bool) -> Self {
        Self { body: &case.body, expected: Some(&case.expected), stream }
    }
}

/// Sends `n` requests over `n_clients` connections, each as soon as the one before is answered. `done` counts them.
pub fn closed_loop<'a>(
    addr: SocketAddr,
    n_clients: usize,
    n: usize,
    done: &AtomicUsize,
    ask: impl Fn(usize) -> Ask<'a> + Sync,
) -> Ledger {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Ledger::new());
    std::thread::scope(|scope| {
        for _ in 0..n_clients {
            scope.spawn(|| {
                let (client, mut ledger) = (Client::new(addr), Ledger::new());
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n {
                        break;
                    }
                    let Ask { body, expected, stream } = ask(i);
                    ledger.count(expected, client.complete(body, stream));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                if let Ok(mut all) = all.lock() {
                    all.add(ledger);
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}

/// Sends requests at random times, `rate` a second on average for `time`, whether or not earlier ones are answered.
pub fn open_loop(addr: SocketAddr, rate: f64, time: Duration, cases: &[Case]) -> Ledger {
    let all = Mutex::new(Ledger::new());
    let mut random = fastrand::Rng::with_seed(17);
    std::thread::scope(|scope| {
        let started = Instant::now();
        let mut at = Duration::ZERO;
        for case in cases.iter().cycle() {
            at += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
            if at > time {
                break;
            }
            std::thread::sleep(at.saturating_sub(started.elapsed()));
            let all = &all;
            scope.spawn(move || {
                let answer = Client::new(addr).complete(&case.body, true);
                if let Ok(mut all) = all.lock() {
                    all.count(Some(&case.expected), answer);
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}
