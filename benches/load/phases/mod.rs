//! The phases, in order: each starts what it needs, loads it, and says what it measured.

mod count;
mod disconnects;
mod hostile;
mod kill;
mod rates;
mod slow;
mod squeeze;

use crate::{
    Args, Profile, Result,
    client::{Answer, Client},
    ledger::quantile,
    report::Report,
    server::Launch,
    texts::{self, Case},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How much of each phase.
struct Size {
    n_count: usize,
    n_cut: usize,
    n_rounds: usize,
    n_hostile: usize,
    /// Prompts of the realistic phases, asked in turn.
    n_long: usize,
    /// Of each rate.
    realistic: Duration,
    overload: Duration,
    slow: Duration,
    soak: Duration,
}

impl Profile {
    fn size(self) -> Size {
        let s = Duration::from_secs;
        match self {
            Self::Ci => Size {
                n_count: 1500,
                n_cut: 150,
                n_rounds: 2,
                n_hostile: 1,
                n_long: 40,
                realistic: s(5),
                overload: s(5),
                slow: s(8),
                soak: s(60),
            },
            Self::Full => Size {
                n_count: 10_000,
                n_cut: 2000,
                n_rounds: 20,
                n_hostile: 20,
                n_long: 160,
                realistic: s(180),
                overload: s(120),
                slow: s(120),
                soak: s(3600),
            },
        }
    }
}

/// What the phases share.
struct Bench<'a> {
    launch: Launch,
    size: Size,
    report: &'a mut Report,
    /// Short prompts and eight tokens on the small model: the server is under test, not its arithmetic.
    short: Vec<Case>,
    /// Longer ones on the model of the realistic phases.
    long: Vec<Case>,
    realistic: Launch,
}

pub fn run(args: &Args, launch: &Launch, report: &mut Report) -> Result<()> {
    report.phase("golden answers");
    let mut size = args.profile.size();
    if let Some(seconds) = args.seconds.map(Duration::from_secs) {
        (size.realistic, size.overload, size.slow, size.soak) = (seconds, seconds, seconds, seconds);
    }
    let model = args.model.as_deref();
    let mut bench = Bench {
        launch: launch.clone(),
        report,
        short: texts::cases(None, args.threads, 200, 1..=64, 8)?,
        long: texts::cases(model, args.threads, size.n_long, long_prompts(args.profile), 32)?,
        realistic: Launch { model: model.map(Path::to_path_buf), ..launch.clone() },
        size,
    };
    type Phase = fn(&mut Bench) -> Result<()>;
    let phases: [(&str, Phase); 9] = [
        ("count", count::run),
        ("realistic", rates::realistic),
        ("overload", rates::overload),
        ("disconnects", disconnects::run),
        ("slow", slow::run),
        ("kill", kill::run),
        ("squeeze", squeeze::run),
        ("hostile", hostile::run),
        ("soak", count::soak),
    ];
    for (name, phase) in phases {
        // The soak takes long, so it has to be asked for.
        if args.only.as_deref().map_or(name != "soak", |only| name.starts_with(only)) {
            bench.report.phase(name);
            phase(&mut bench)?;
        }
    }
    Ok(())
}

fn long_prompts(profile: Profile) -> std::ops::RangeInclusive<usize> {
    match profile {
        Profile::Ci => 32..=128,
        Profile::Full => 64..=512,
    }
}

impl Bench<'_> {
    /// Waits until no text runs or waits and no page is held, and says how long that took.
    fn is_idle_within(&mut self, client: &Client, limit: Duration) {
        let started = Instant::now();
        let names = ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"];
        let mut busy = true;
        while busy && started.elapsed() < limit + Duration::from_secs(5) {
            busy = names.iter().any(|name| client.metric(&format!("halfwarp:{name}")) != Some(0.0));
            std::thread::sleep(Duration::from_millis(10));
        }
        let after = started.elapsed();
        let measured = if busy { "never".into() } else { crate::report::ms(after) };
        self.report.row(
            "slots or pages that are not free",
            if busy { "some" } else { "none" },
            "none",
            !busy,
        );
        let bar = format!("{limit:?}");
        self.report.time("all slots and pages free after", measured, &bar, after <= limit);
    }

    /// A short request must give the right bytes still.
    fn is_alive(&mut self, client: &Client, what: &str) {
        let case = self.short[0].clone();
        self.is_right(client, what, &case);
    }

    /// `case` must give the right bytes.
    fn is_right(&mut self, client: &Client, what: &str, case: &Case) {
        let answer = client.complete(&case.body, true);
        let is_right = matches!(&answer, Answer::Text { text, .. } if *text == case.expected);
        self.report.row(what, if is_right { "right bytes" } else { "wrong" }, "right bytes", is_right);
    }
}

/// `p50 / p99` of some times.
fn percentiles(times: &[Duration]) -> String {
    let of = |q| quantile(times.iter().copied(), q);
    format!("p50 {:.1} ms, p99 {:.1} ms", of(0.5), of(0.99))
}
