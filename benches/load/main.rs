//! Load and faults: a server under thousands of requests, clients that vanish or crawl, overload, crashes and hostile bytes.
//!
//!     cargo run --release --example load                     the bounded profile: two minutes, times are not judged
//!     cargo run --release --example load -- --profile full --model GPT2-FOLDER --record benches/record
//!     cargo run --release --example load -- --against URL --model FOLDER     throughput beside another server of the same model
//!
//! Every answer is compared with what the library gives alone. Each request ends in exactly one of: the whole text, an error, a
//! connection that closed without a terminator. The exit status is 1 if any bar is missed.

mod client;
mod ledger;
mod phases;
mod report;
mod server;
mod texts;
mod throughput;

use clap::Parser;
use report::Report;
use server::Launch;
use std::{path::PathBuf, process::ExitCode};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Parser)]
struct Args {
    /// How long: `ci` takes two minutes, and shows times without judging them; `full` takes a quarter of an hour
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// The model of the realistic phases [default: the bundled one, which the others use anyway]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Threads of the server
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only the phases whose name begins so: count, realistic, overload, disconnects, slow, kill, squeeze, hostile, soak
    #[arg(long)]
    only: Option<String>,
    /// Seconds of each phase that has no number of requests [default: 5 to 8, or 120 to 180 in the full profile, where the soak has 3600]
    #[arg(long)]
    seconds: Option<u64>,
    /// Where to write the report and its plot
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Measures throughput beside the server at this address, HOST:PORT, instead
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<std::net::SocketAddr>,
    /// The `halfwarp` to start [default: built first]
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    #[default]
    Ci,
    Full,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<bool> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let launch = Launch {
        program,
        model: None,
        threads: args.threads,
        port: server::free_port()?,
        args: Vec::new(),
        before: None,
    };
    let mut report = Report::new(&args.record, args.profile == Profile::Full || args.against.is_some());
    if let Some(other) = args.against {
        throughput::compare(&launch, args.model.as_deref(), other, &mut report)?;
    } else {
        phases::run(&args, &launch, &mut report)?;
    }
    report.finish()
}

/// Builds the program and returns where it is.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status =
        std::process::Command::new(cargo).args(["build", "--release", "--bin", "halfwarp"]).status()?;
    if !status.success() {
        return Err(format!("cargo build: {status}").into());
    }
    // target/release/examples/load -> target/release/halfwarp
    let program = std::env::current_exe()?.with_file_name("../halfwarp");
    Ok(program.canonicalize()?)
}
